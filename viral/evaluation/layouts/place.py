"""Where a benchmark lies: in the folder that the configuration names, else drawn by the scene world beside the run."""

import hashlib
import json
from collections.abc import Callable, Iterable
from typing import TypeVar

from viral.config import RunConfig, fingerprint
from viral.storage import Storage

WRITTEN = "written.json"
"""The last file of a drawn layout: without it the layout is drawn again, with the same bytes."""
VERSION = 1
"""Of what the writers draw."""


Write = Callable[[Storage, int, int, int], None]
"""Fills a layout with so many cases from the scene world, with sides of so many pixels, by a seed."""


def layout_of(config: RunConfig, name: str, write: Write) -> Storage:
    """`protocol.layout`, or what `write` draws under the run's storage, once."""
    if config.protocol.layout is not None:
        return Storage(config.protocol.layout)
    drawn = {"cases": config.protocol.cases, "size": config.data.size, "seed": config.seed, "version": VERSION}
    place = Storage(config.storage).join("layouts", f"{name}-{fingerprint(drawn)}")
    if not place.exists(WRITTEN):
        write(place, drawn["cases"], drawn["size"], drawn["seed"])
        place.write(WRITTEN, json.dumps(drawn).encode())
    return place


Name = TypeVar("Name", str, tuple)


def choose(names: Iterable[Name], count: int, seed: int) -> list[Name]:
    """At most `count` of the names, in an order of their own, so that more of them never exchange the first."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())[:count]
