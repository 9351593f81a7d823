"""Crops of the photographs on one side of the committed split."""

from typing import Literal

import numpy as np
from jaxtyping import UInt8

from viral.data.crops import Box, cut
from viral.data.proof_split import Part, files_of, read_listed, read_split
from viral.data.sources.source import Item, Needs, Reader, Source, choose
from viral.storage import Storage
from viral.tasks import Image, Labelled


class SplitPhotographs(Source):
    """Random squares of the photographs that `viral.data.proof_split` puts in `part`, as many as are asked for."""

    kind: Literal["split"]
    path: str
    """Folder of the collection."""
    part: Part = "train"
    licences: tuple[str, ...] = ("permissive",)
    """Licence classes that are taken."""
    under: str = "photos/"
    """What the paths of the files begin with."""

    @property
    def gives(self) -> frozenset[str]:
        """Pictures alone."""
        return frozenset()

    def items(self, count: int, seed: int, needs: Needs) -> list[Item]:
        """One square of every photograph, then a second one of each, and so on."""
        found = [one for licence in self.licences for one in files_of(self.part, licence, self.under)]
        if not found:
            raise ValueError(
                f"no photograph of part {self.part} has a licence of {list(self.licences)} and a path that begins with "
                f"{self.under!r}; correct licences or under"
            )
        photos = [Item(one.file, f"photograph/{one.scene}", {"file": one.file}, one.licence) for one in found]
        photos = choose(photos, len(photos), seed)
        return [_square(photos[i % len(photos)], i // len(photos), seed) for i in range(count)]

    def reader(self, device: str) -> Reader:
        """Reads a photograph and cuts a square out of it."""
        return _SquareReader(Storage(self.path))


class _SquareReader:
    """Keeps the photograph that it was asked for last."""

    def __init__(self, folder: Storage) -> None:
        self._folder, self._file = folder, ""
        self._listed = {one.file: one for one in read_split()}

    def __call__(self, item: Item, size: int) -> Labelled:
        if item.data["file"] != self._file:
            self._file = item.data["file"]
            self._pixels = read_listed(self._folder, self._listed[self._file])
        return Labelled(random_square(self._pixels, size, np.random.default_rng([item.data["seed"], item.data["nth"]])))


def random_square(pixels: Image, size: int, rng: np.random.Generator) -> UInt8[np.ndarray, "s s 3"]:
    """A square of any side from `size` to the whole photograph at `size` pixels; half of them are mirrored."""
    height, width = pixels.shape[:2]
    largest = min(height, width)
    if largest < size:
        raise ValueError(f"too small: {largest} pixels, a square takes {size}")
    side = round(float(np.exp(rng.uniform(np.log(size), np.log(largest)))))
    box = Box(int(rng.integers(width - side + 1)), int(rng.integers(height - side + 1)), side)
    square = cut(pixels, box, size)
    return np.ascontiguousarray(square[:, ::-1]) if rng.random() < 0.5 else square


def _square(photo: Item, nth: int, seed: int) -> Item:
    return Item(f"{photo.id}#{nth}", photo.source_id, {**photo.data, "nth": nth, "seed": seed}, photo.licence)
