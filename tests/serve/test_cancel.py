"""An editor does not paint what nobody waits for."""

import time

import httpx
import pytest

from tests.serve.load import Asker

STEPS = 100


@pytest.fixture
def whole(server, parts) -> float:
    """Seconds of an edit of `STEPS` steps by an editor that is warm."""
    asker = Asker(str(server.base_url), parts, steps=STEPS)
    return min(asker.once(0).seconds for _ in range(2))


def seconds_of_one_step(server, parts) -> float:
    answer = Asker(str(server.base_url), parts, steps=1).once(0)
    assert answer.status == 200
    return answer.seconds


def test_client_that_leaves_frees_the_editor(server, parts, whole):
    asker = Asker(str(server.base_url), parts, steps=STEPS)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{asker.url}/v1/analogies", files=asker.files, data=asker.fields, timeout=whole / 8)
    assert seconds_of_one_step(server, parts) < whole / 2


def test_cancelled_job_frees_the_editor(server, parts, whole):
    job = Asker(str(server.base_url), parts, steps=STEPS).later(0)
    time.sleep(whole / 8)
    assert server.delete(f"/v1/jobs/{job}").json()["status"] == "cancelled"
    assert seconds_of_one_step(server, parts) < whole / 2
