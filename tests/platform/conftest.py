"""The rack that the tests of one file share."""

from collections.abc import Iterator

import pytest

from tests.platform.rack import Rack, running_rack


@pytest.fixture(scope="module")
def rack() -> Iterator[Rack]:
    """A running head; its worker is started by the tests that need one."""
    with running_rack() as rack:
        yield rack
