"""Objects found and told apart: boxes of one category, the object in a red box, all entities in colours."""

from colorsys import hsv_to_rgb

import cv2
import numpy as np
from jaxtyping import Int32, UInt8

from viral.tasks.labelled import Image, Instance, Labelled
from viral.tasks.task import Rendering, Task

LEAST_SHARE = 0.005
"""Share of the picture that an object covers at least to be asked for."""
RED = (255, 0, 0)


def render_detection(labelled: Labelled, rng: np.random.Generator) -> Rendering:
    """White boxes, filled, on black: all objects of one category, which both pairs of an analogy share."""
    found = _askable(labelled)
    category = str(rng.choice(sorted({item.category for item in found})))
    crowds = {item.category for item in labelled.instances or () if item.crowd}
    if category in crowds:
        raise ValueError(f"a crowd of {category} has no box for each of them")
    boxes = [_pixels(item, labelled.image) for item in labelled.instances or () if item.category == category]
    target = np.zeros_like(labelled.image)
    for left, top, right, bottom in boxes:
        target[top:bottom, left:right] = 255
    return Rendering(labelled.image, target, params={"category": category, "boxes": boxes}, group=category)


def render_interactive(labelled: Labelled, rng: np.random.Generator) -> Rendering:
    """A red box round one object of the picture; its mask, white on black."""
    masked = [item for item in _askable(labelled) if item.mask is not None and item.mask.mean() >= LEAST_SHARE / 2]
    if not masked:
        raise ValueError("no object with a mask is large enough")
    item = masked[rng.integers(len(masked))]
    assert item.mask is not None
    left, top, right, bottom = box = _pixels(item, labelled.image)
    source = labelled.image.copy()
    cv2.rectangle(source, (left, top), (right - 1, bottom - 1), RED, max(1, round(min(source.shape[:2]) / 128)))
    target = np.repeat(item.mask.astype(np.uint8)[..., None] * 255, 3, axis=2)
    return Rendering(source, target, params={"category": item.category, "box": box})


def render_entities(labelled: Labelled, rng: np.random.Generator) -> Rendering:
    """Every entity in a colour of its own, distinct and drawn at random; black belongs to none."""
    entities = labelled.entities if labelled.entities is not None else entities_of(labelled)
    numbers = np.unique(entities[entities > 0])
    if len(numbers) < 2:
        raise ValueError(f"{len(numbers)} entity in the picture, at least 2 are needed to tell apart")
    palette = np.zeros((int(numbers[-1]) + 1, 3), np.uint8)
    palette[numbers] = distinct_colours(len(numbers), rng)
    return Rendering(labelled.image, palette[np.maximum(entities, 0)], params={"entities": len(numbers)})


def entities_of(labelled: Labelled) -> Int32[np.ndarray, "y x"]:
    """The instances' masks as numbers 1, 2, …; smaller ones lie on larger ones."""
    masks = [item.mask for item in labelled.instances or () if item.mask is not None]
    entities = np.zeros(labelled.image.shape[:2], np.int32)
    for number, mask in enumerate(sorted(masks, key=lambda mask: -int(mask.sum())), start=1):
        entities[mask] = number
    return entities


def distinct_colours(count: int, rng: np.random.Generator) -> UInt8[np.ndarray, "n 3"]:
    """Colours spread evenly over the hues, in three strengths, in random order; none is dark."""
    start = rng.random()
    strengths = ((1.0, 1.0), (0.55, 1.0), (1.0, 0.65))
    colours = [hsv_to_rgb((start + i / count) % 1, *strengths[i % 3]) for i in range(count)]
    return (np.array(rng.permutation(colours)).reshape(count, 3) * 255).round().astype(np.uint8)


def _askable(labelled: Labelled) -> list[Instance]:
    """Objects large enough to be asked for; `ValueError` where there is none."""
    area = labelled.image.shape[0] * labelled.image.shape[1]
    found = [item for item in labelled.instances or () if not item.crowd and _area(item) >= LEAST_SHARE * area]
    if not found:
        raise ValueError("no object is large enough")
    return found


def _area(item: Instance) -> float:
    left, top, right, bottom = item.box
    return (right - left) * (bottom - top)


def _pixels(item: Instance, image: Image) -> list[int]:
    """The box in whole pixels, at least one wide and high."""
    height, width = image.shape[:2]
    left, top = min(int(item.box[0]), width - 1), min(int(item.box[1]), height - 1)
    right, bottom = min(int(np.ceil(item.box[2])), width), min(int(np.ceil(item.box[3])), height)
    return [left, top, max(right, left + 1), max(bottom, top + 1)]


DETECTION = Task(
    "detection", "Object detection", render_detection, "iou", higher_is_better=True, needs=("boxes",),
    meets="category", weight=1.5, instruction="Draw a filled white box for each object of the category on black.",
)  # fmt: skip
INTERACTIVE = Task(
    "interactive", "Interactive segmentation", render_interactive, "iou", higher_is_better=True,
    needs=("boxes", "masks"), instruction="Segment the object inside the red box.",
)  # fmt: skip
ENTITY = Task(
    "entity", "Entity segmentation", render_entities, "entity_iou", higher_is_better=True, needs=("entities",),
    instruction="Paint every entity in a colour of its own.",
)  # fmt: skip
