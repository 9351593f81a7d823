"""A folder of pictures, with a mask of entities for each where there is a folder of those too."""

from pathlib import PurePosixPath
from typing import Literal

import numpy as np

from viral.data.sources.source import Item, Needs, Reader, Source, choose, is_picture, read_numbers, read_picture
from viral.storage import Storage
from viral.tasks import Labelled


class ImageFolder(Source):
    """Pictures in a folder and below."""

    kind: Literal["images"]
    path: str

    @property
    def gives(self) -> frozenset[str]:
        return frozenset()

    def items(self, count: int, seed: int, needs: Needs) -> list[Item]:
        """Every file that is named as a picture."""
        names = [name for name in Storage(self.path).walk() if is_picture(name)]
        if not names:
            raise ValueError(f"{self.path} holds no file named as a picture")
        return choose([Item(name, f"{self.path}/{name}") for name in names], count, seed)

    def reader(self, device: str) -> Reader:
        """Reads a file."""
        folder = Storage(self.path)
        return lambda item, size: Labelled(read_picture(folder, item.id))


class EntityFolder(Source):
    """Pictures and, under the same names with any ending, masks in which every colour is an entity; black is none.

    EntityV2's masks have this form once its JSON is painted; take kind `coco` for the JSON itself.
    """

    kind: Literal["entities"]
    images: str
    masks: str
    suffix: str = ""
    """What stands at the end of the masks' names before the ending, e.g. `__target`."""
    smallest: float = 0.0005
    """Share of the picture below which a mask's colour is a rim left by resampling and counts as none."""

    @property
    def gives(self) -> frozenset[str]:
        return frozenset({"entities"})

    def items(self, count: int, seed: int, needs: Needs) -> list[Item]:
        """Every picture that has a mask."""
        masks = {_stem(name).removesuffix(self.suffix): name for name in Storage(self.masks).walk() if is_picture(name)}
        names = [name for name in Storage(self.images).walk() if is_picture(name) and _stem(name) in masks]
        if not names:
            raise ValueError(f"no picture in {self.images} has a mask of its name{self.suffix} in {self.masks}")
        items = [Item(name, f"{self.images}/{name}", {"mask": masks[_stem(name)]}) for name in names]
        return choose(items, count, seed)

    def reader(self, device: str) -> Reader:
        """Reads a picture and its mask."""
        images, masks = Storage(self.images), Storage(self.masks)

        def read(item: Item, size: int) -> Labelled:
            numbers = read_numbers(masks, item.data["mask"])
            return Labelled(read_picture(images, item.id), entities=_entities(numbers, self.smallest))

        return read


def _entities(numbers: np.ndarray, smallest: float) -> np.ndarray:
    """Colours numbered 1, 2, …, without those that cover too little."""
    colours, which, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    keep = (colours > 0) & (counts >= smallest * numbers.size)
    return np.where(keep, np.cumsum(keep), 0)[which].reshape(numbers.shape).astype(np.int32)


def _stem(name: str) -> str:
    return PurePosixPath(name).stem
