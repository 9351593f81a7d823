"""A picture with what is known of it: what sources yield, annotators add to, and tasks render pairs from."""

from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Int32, Shaped, UInt8

Image = UInt8[np.ndarray, "y x 3"]
Mask = Bool[np.ndarray, "y x"]
Box = tuple[float, float, float, float]

JOINTS = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle",
)  # fmt: skip
"""COCO's keypoints, in COCO's order."""

LABELS = ("depth", "normals", "entities", "boxes", "masks", "keypoints", "target", "instruction", "caption")
"""Names by which a task says what it needs and an annotator what it gives."""


@dataclass(frozen=True)
class Instance:
    """One object."""

    category: str
    box: Box
    """Left, top, right, bottom in pixels; right and bottom lie outside."""
    mask: Mask | None = None
    keypoints: Float32[np.ndarray, "17 3"] | None = None
    """x, y and visibility (0 unknown, 1 hidden, 2 seen) of each of `JOINTS`."""
    crowd: bool = False
    """Whether it stands for many that were not told apart."""


@dataclass(frozen=True)
class Labelled:
    """One picture and its labels, pixel on pixel; None is a label that nobody gave. `ValueError` where sizes differ."""

    image: Image
    depth: Float32[np.ndarray, "_ _"] | None = None
    """Inverse depth on any scale: larger is nearer, 0 is not known."""
    normals: Float32[np.ndarray, "_ _ 3"] | None = None
    """Unit vectors, x right, y up, z towards the viewer; 0 0 0 is not known."""
    entities: Int32[np.ndarray, "_ _"] | None = None
    """A number for each entity; 0 belongs to none."""
    instances: tuple[Instance, ...] | None = None
    target: UInt8[np.ndarray, "_ _ 3"] | None = None
    """What the picture becomes, where the pair itself is given."""
    changed: Bool[np.ndarray, "_ _"] | None = None
    """Where picture and target differ."""
    instruction: str | None = None
    """The change in words."""
    caption: str | None = None
    maps: dict[str, Image] = field(default_factory=dict)
    """Targets that an annotator painted, by the task they are for."""
    about: dict = field(default_factory=dict)
    """What made it, JSON-able: the source's parameters, the annotators' models."""

    def __post_init__(self) -> None:
        arrays = {name: getattr(self, name) for name in ("depth", "normals", "entities", "target", "changed")}
        arrays |= {f"mask of a {item.category}": item.mask for item in self.instances or ()} | self.maps
        for name, array in arrays.items():
            if array is not None and array.shape[:2] != self.image.shape[:2]:
                raise ValueError(f"{name} is {_size(array)} where the picture is {_size(self.image)}; they must agree")

    @property
    def labels(self) -> frozenset[str]:
        """Which of `LABELS` are there; instances that are known to be none count."""
        whole = ("depth", "normals", "entities", "target", "instruction", "caption")
        there = {name for name in whole if getattr(self, name) is not None}
        if self.instances is not None:
            there |= {"boxes"}
            there |= {"masks", "entities"} if all(item.mask is not None for item in self.instances) else set()
            there |= (
                {"keypoints"} if not self.instances or any(i.keypoints is not None for i in self.instances) else set()
            )
        return frozenset(there)


def fit(labelled: Labelled, size: int) -> Labelled:
    """The central square at `size` pixels a side, labels with it; objects that are cut away go.

    Pictures are averaged or interpolated; labels are read at the nearest pixel, so that none is mixed.
    """
    height, width = labelled.image.shape[:2]
    if height == width == size:
        return labelled
    side = min(height, width)
    window = _Window((width - side) // 2, (height - side) // 2, side, size)
    return replace(
        labelled,
        image=window.picture(labelled.image),
        depth=window.nearest(labelled.depth),
        normals=window.nearest(labelled.normals),
        entities=window.nearest(labelled.entities),
        instances=window.instances(labelled.instances),
        target=None if labelled.target is None else window.picture(labelled.target),
        changed=window.nearest(labelled.changed),
        maps={task: window.picture(image) for task, image in labelled.maps.items()},
    )


@dataclass(frozen=True)
class _Window:
    left: int
    top: int
    side: int
    size: int

    def picture(self, image: Image) -> UInt8[np.ndarray, "s s 3"]:
        square = image[self.top : self.top + self.side, self.left : self.left + self.side]
        way = cv2.INTER_AREA if self.side > self.size else cv2.INTER_CUBIC
        return np.ascontiguousarray(cv2.resize(square, (self.size, self.size), interpolation=way))

    def nearest(self, array: Shaped[np.ndarray, "y x ..."] | None) -> Shaped[np.ndarray, "s s ..."] | None:
        if array is None:
            return None
        at = ((np.arange(self.size) + 0.5) * self.side / self.size).astype(int)
        return np.ascontiguousarray(array[self.top + at][:, self.left + at])

    def instances(self, instances: tuple[Instance, ...] | None) -> tuple[Instance, ...] | None:
        if instances is None:
            return None
        moved = [self._instance(item) for item in instances]
        return tuple(item for item in moved if item.box[2] - item.box[0] >= 1 and item.box[3] - item.box[1] >= 1)

    def _instance(self, item: Instance) -> Instance:
        low, scale = np.array([self.left, self.top]), self.size / self.side
        corners = np.clip((np.reshape(item.box, (2, 2)) - low) * scale, 0, self.size)
        left, top, right, bottom = map(float, corners.ravel())
        mask, points = self.nearest(item.mask), self._keypoints(item.keypoints)
        return Instance(item.category, (left, top, right, bottom), mask, points, item.crowd)

    def _keypoints(self, points: Float32[np.ndarray, "17 3"] | None) -> Float32[np.ndarray, "17 3"] | None:
        if points is None:
            return None
        moved = (points[:, :2] - [self.left, self.top]) * (self.size / self.side)
        inside = ((moved >= 0) & (moved < self.size)).all(axis=1) & (points[:, 2] > 0)
        return np.where(inside[:, None], np.column_stack([moved, points[:, 2]]), 0).astype(np.float32)


def _size(array: Shaped[np.ndarray, "y x ..."]) -> str:
    return f"{array.shape[1]}x{array.shape[0]}"
