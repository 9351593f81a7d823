"""What every source of labelled pictures is: a list of items that any node can turn into pictures."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from viral.data.images import SUFFIXES, decode
from viral.data_config import Config
from viral.storage import Storage
from viral.tasks import Image, Labelled

Needs = frozenset[str]
"""Labels that pictures must have, all of them among what their source gives."""


@dataclass(frozen=True)
class Item:
    """One picture to come: small, picklable, and the same whenever it is listed."""

    id: str
    source_id: str
    """What the pictures of one photograph or scene share; the split goes by it."""
    data: dict[str, Any] = field(default_factory=dict)
    """What the reader needs, JSON-able."""
    licence: str | None = None
    """Where it differs from the source's."""


Reader = Callable[[Item, int], Labelled]
"""Makes the picture of an item, with sides of `size` where it can choose them; `ValueError` says what is wrong."""


class Source(Config, ABC):
    """Where pictures come from. Its fields are its configuration."""

    licence: str = "as given"
    """Licence of the pictures, kept with every row."""

    @property
    @abstractmethod
    def gives(self) -> frozenset[str]:
        """The labels that its pictures can have."""

    @abstractmethod
    def items(self, count: int, seed: int, needs: Needs) -> list[Item]:
        """At most `count` items that have the labels of `needs`, always the same; `ValueError` if there is no list."""

    @abstractmethod
    def reader(self, device: str) -> Reader:
        """What turns items into pictures, built once on every actor."""


def choose(items: Collection[Item], count: int, seed: int) -> list[Item]:
    """`count` of the items in an order of their own, so that more of them never exchange the first."""
    return sorted(items, key=lambda item: hashlib.sha256(f"{seed}/{item.id}".encode()).digest())[:count]


def split_of(source_id: str, seed: int, test_share: float) -> str:
    """The side on which all pictures of a source lie: a function of its name alone, so that nothing ever moves."""
    digest = hashlib.sha256(f"split/{seed}/{source_id}".encode()).digest()
    return "test" if int.from_bytes(digest[:8]) < test_share * 2**64 else "train"


def read_picture(folder: Storage, name: str) -> Image:
    """The pixels of a file, upright and in sRGB; `ValueError` names it where it is missing or damaged."""
    return np.asarray(decode(folder.read(name), name))


def read_numbers(folder: Storage, name: str) -> np.ndarray:
    """A picture whose colours are numbers: one integer per pixel, 0 for black."""
    pixels = read_picture(folder, name).astype(np.int32)
    return pixels[..., 0] + 256 * pixels[..., 1] + 65536 * pixels[..., 2]


def is_picture(name: str) -> bool:
    """Whether a file is named as a picture."""
    return PurePosixPath(name).suffix.lower() in SUFFIXES
