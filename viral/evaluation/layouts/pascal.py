"""Pascal-5i: PASCAL VOC's segmentations in four folds of five classes, as object detection by example.

    JPEGImages/ID.jpg            SegmentationClass/ID.png     numbers of classes from 1, in a palette
    ImageSets/Segmentation/val.txt   names, one a line        SegmentationObject/ID.png    numbers of objects from 1
    classes.txt                  names of the classes, one a line, where they are not VOC's own

Fold i has the classes 5i + 1 to 5i + 5. Masks become boxes: white, filled, on black, one round each object of the
class, as VIRAL asks for it; the paper does not say how it does. Object 255 is VOC's void and belongs to none.
"""

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image as Pillow

from viral.data.sources.source import read_picture
from viral.evaluation.layouts.drawing import ATTEMPTS, encode, unseen_scene
from viral.evaluation.layouts.place import choose
from viral.evaluation.protocols.case import Case, Image
from viral.evaluation.protocols.known_pairs import number_of
from viral.scenes import Labelled, render
from viral.storage import Storage

VOC = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
DRAWN = (
    "person", "car", "tree", "cup", "tent", "dog", "boat", "house", "lamp", "bottle", "horse", "truck", "table",
    "umbrella", "cactus", "cat", "chair", "snowman", "ball", "box",
)  # fmt: skip
"""Classes of a layout drawn from scenes."""
FOLDS, CLASSES = 4, 5
VOID = 255
LEAST_SHARE = 0.01
"""Share of the picture that a class covers at least to be asked for (ours)."""
TASK = "detection"
NUMBER = 3
LIST, NAMES = "val.txt", "classes.txt"
Numbers = np.ndarray


def read_pascal(place: Storage, count: int, seed: int) -> Iterator[Case]:
    """At most `count` questions, as many of each fold and class as can be, each with another picture of its class."""
    names = place.read(NAMES).decode().split() if place.exists(NAMES) else list(VOC)
    shown = _pictures_of_classes(place, len(names))
    queries = {number: choose(pictures, len(pictures), seed) for number, pictures in shown.items() if len(pictures) > 1}
    asked = [(rank, number) for number, pictures in queries.items() for rank in range(len(pictures))]
    for rank, number in sorted(asked)[:count]:
        query = queries[number][rank]
        others = [picture for picture in queries[number] if picture != query]
        example = others[number_of("example", seed, number, query) % len(others)]
        yield _case(place, query, example, number, names[number - 1], seed)


def _case(place: Storage, query: str, example: str, number: int, category: str, seed: int) -> Case:
    image, truth, boxes = _detected(place, query, number)
    return Case(
        case_id=f"pascal/{category}/{query}",
        task=TASK,
        source_id=f"pascal/{query}",
        examples=(_detected(place, example, number)[:2],),
        query=image,
        truth=truth,
        seed=number_of("noise", seed, number, query),
        instruction=f"Draw a filled white box for each {category} on black.",
        labels={"fold": (number - 1) // CLASSES, "category": category, "boxes": boxes, "example": example},
    )


def _pictures_of_classes(place: Storage, classes: int) -> dict[int, list[str]]:
    """Names of the pictures in which each class is large enough."""
    shown: dict[int, list[str]] = {number: [] for number in range(1, classes + 1)}
    for name in place.join("ImageSets", "Segmentation").read(LIST).decode().split():
        numbers, counts = np.unique(_numbers(place, "SegmentationClass", name), return_counts=True)
        for number, pixels in zip(numbers.tolist(), counts.tolist(), strict=True):
            if number in shown and pixels >= LEAST_SHARE * counts.sum():
                shown[number].append(name)
    return shown


def _detected(place: Storage, name: str, number: int) -> tuple[Image, Image, list[list[int]]]:
    """A picture, the boxes of a class in white on black, and the boxes as left, top, right, bottom, ends excluded."""
    image = read_picture(place.join("JPEGImages"), f"{name}.jpg")
    objects = _numbers(place, "SegmentationObject", name)
    objects = np.where(_numbers(place, "SegmentationClass", name) == number, objects, 0)
    boxes = [_box(objects == one) for one in np.unique(objects).tolist() if one not in (0, VOID)]
    target = np.zeros_like(image)
    for left, top, right, bottom in boxes:
        target[top:bottom, left:right] = 255
    return image, target, boxes


def _box(mask: np.ndarray) -> list[int]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]


def _numbers(place: Storage, folder: str, name: str) -> Numbers:
    """The numbers that a picture's palette shows in colours."""
    return np.asarray(Pillow.open(io.BytesIO(place.join(folder).read(f"{name}.png")))).astype(int)


def write_pascal(place: Storage, count: int, size: int, seed: int) -> None:
    """Scenes with one of 20 categories, two or more of each, so that `count` questions can be asked."""
    names, each = [], max(2, -(-count // len(DRAWN)))
    for number in range(each * len(DRAWN)):
        name, category = f"scene_{number:06d}", DRAWN[number % len(DRAWN)]
        seen = _large_enough(category, number, size, seed)
        place.join("JPEGImages").write(f"{name}.jpg", encode(seen.image, "JPEG"))
        classes, objects = _labelled(seen)
        place.join("SegmentationClass").write(f"{name}.png", encode(classes, palette=_palette()))
        place.join("SegmentationObject").write(f"{name}.png", encode(objects, palette=_palette()))
        names.append(name)
    place.write(NAMES, "\n".join(DRAWN).encode())
    place.join("ImageSets", "Segmentation").write(LIST, "\n".join(names).encode())


def _large_enough(category: str, number: int, size: int, seed: int) -> Labelled:
    """A scene in which the category covers more than is asked for."""
    for attempt in range(ATTEMPTS):
        seen = render(unseen_scene(NUMBER, seed, number * ATTEMPTS + attempt, (category,)), size)
        if sum(thing.area for thing in seen.things if thing.category == category) >= 2 * LEAST_SHARE * size**2:
            return seen
    raise ValueError(f"in no scene of {ATTEMPTS} is a {category} large enough")


def _labelled(seen: Labelled) -> tuple[Numbers, Numbers]:
    """Numbers of classes and of objects."""
    classes, objects = (np.zeros(seen.instances.shape, np.uint8) for _ in range(2))
    for one, thing in enumerate((thing for thing in seen.things if thing.category in DRAWN), start=1):
        mask = seen.mask(thing.id)
        classes[mask], objects[mask] = DRAWN.index(thing.category) + 1, one
    return classes, objects


def _palette() -> bytes:
    """VOC's colours: the bits of a number spread over red, green and blue."""
    bits = lambda number, channel: sum(((number >> (3 * i + channel)) & 1) << (7 - i) for i in range(8))
    return bytes(bits(number, channel) for number in range(256) for channel in range(3))
