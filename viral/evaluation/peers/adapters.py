"""Adapters as descriptions name them: where they lie, what they are under, what names them for good."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from viral.config import RunConfig
from viral.data_config import absolute
from viral.model.attach import sha256_of
from viral.model.licences import Licence, accept
from viral.storage import Storage, local_folder

OURS = "ours"
"""The adapter that training leaves under `storage`."""
Adapter = Annotated[str, AfterValidator(lambda place: absolute(place) if "/" in place else place)]
"""A name in the run's `adapters`, `ours`, a folder or address, the authors' released file, or models:/NAME@ALIAS."""


@contextmanager
def local_adapter(adapter: str, config: RunConfig) -> Iterator[Path]:
    """The adapter on this node for the length of the block; `ValueError` where there is none."""
    place = _place(adapter, config)
    if isinstance(place, Storage):
        if not place.is_folder:
            raise ValueError(f"there is no adapter at {place}; train one, or name its folder in adapters.{OURS}")
        with local_folder(place) as folder:
            yield folder
    else:
        yield place


def _place(adapter: str, config: RunConfig) -> Path | Storage:
    place = config.adapters.get(adapter, adapter)
    if place == OURS:
        return Storage(config.storage).join("adapter")
    if place.startswith("models:/"):
        from viral.tracking import resolve  # takes seconds, needed only here

        return resolve(place, config.tracking.uri)[0]
    if "/" not in place:
        there = ", ".join((OURS, *config.adapters))
        raise ValueError(f"there is no adapter called {place!r}, only {there}; name a folder in adapters.{place}")
    if not place.endswith(".safetensors"):
        return Storage(place)
    if not Path(place).is_file():
        raise ValueError(f"there is no file {place}; download the released adapter, or correct the path")
    return Path(place)


def adapter_sha256(adapter: str, config: RunConfig) -> str:
    """One hash for its weights and what its card says of them."""
    with local_adapter(adapter, config) as path:
        return sha256_of(path)


def adapter_licence(adapter: str, config: RunConfig) -> Licence:
    """By its model card or its place in the hub's cache; `ValueError` where it restricts use and is not accepted."""
    with local_adapter(adapter, config) as path:
        return accept(path if path.is_dir() else path.parent, config.model.accept_licences)
