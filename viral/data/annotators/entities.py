"""Salient objects with categories and boxes, as a vision-language model names them in JSON."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, ClassVar, Literal

from PIL import Image as Pillow

from viral.data.annotators.annotator import Annotator, Labeller
from viral.data.annotators.talker import Talker
from viral.data.annotators.words import ENTITIES
from viral.tasks import Instance, Labelled

CATEGORY_KEYS = ("category", "label", "name")
BOX_KEYS = ("box", "bbox_2d", "bbox")
"""Qwen2.5-VL answers in its own words, whatever it is asked for."""
LONGEST = 40
STEP = 28
"""Qwen2.5-VL rounds sides to multiples of this and counts its boxes' pixels after that."""


class Entities(Annotator):
    """Objects of a picture by a vision-language model; what it says of each is checked, mended or left out."""

    gives: ClassVar[tuple[str, ...]] = ("boxes",)
    kind: Literal["vlm_entities"]
    talker: Talker
    max_side: int = 504
    """The picture is shown with sides of at most this many pixels."""

    def record(self) -> dict[str, Any]:
        """The model and the wording."""
        return {**self.talker.record(), **ENTITIES.record}

    def labeller(self, device: str) -> Labeller:
        """The model, loaded or reached."""
        model = self.talker.load(device)

        def label(labelled: Labelled) -> Labelled:
            shown = _shown(Pillow.fromarray(labelled.image), self.max_side)
            width, height = shown.size
            answer = model.answer(ENTITIES.fill(picture=shown, width=str(width), height=str(height)))
            said = read_entities(answer, width, height)
            across, down = labelled.image.shape[1] / width, labelled.image.shape[0] / height
            instances = tuple(
                replace(item, box=(item.box[0] * across, item.box[1] * down, item.box[2] * across, item.box[3] * down))
                for item in said.instances
            )
            about = {**labelled.about, "rejected_entities": said.rejected} if said.rejected else labelled.about
            return replace(labelled, instances=(*(labelled.instances or ()), *instances), about=about)

        return label


@dataclass(frozen=True)
class Said:
    """What an answer is worth: objects, and why each other one was left out."""

    instances: tuple[Instance, ...]
    rejected: tuple[str, ...]


def read_entities(answer: str, width: int, height: int) -> Said:
    """The objects in an answer; `ValueError` where none of it can be used.

    Whatever stands around the objects is skipped, and an array that was cut off keeps its whole ones. Boxes with
    exchanged corners are turned, those that reach outside are cut, those without an area and doubles go.
    """
    found: dict[tuple[Any, ...], Instance] = {}
    rejected = []
    for said in _objects(answer):
        try:
            item = _instance(said, width, height)
            found.setdefault((item.category, *item.box), item)
        except ValueError as error:
            rejected.append(str(error))
    if not found:
        why = "; ".join(rejected) or f"no JSON object in {answer[:120]!r}"
        raise ValueError(f"the model named no usable object: {why}")
    return Said(tuple(found.values()), tuple(rejected))


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """The innermost JSON objects of a text, in order."""
    decoder, at = json.JSONDecoder(), text.find("{")
    while at >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
        except (json.JSONDecodeError, RecursionError):
            at = text.find("{", at + 1)
            continue
        lists = [inner for inner in value.values() if isinstance(inner, list)]
        nested = [one for inner in lists for one in inner if isinstance(one, dict)]
        yield from nested or [value]
        at = text.find("{", end)


def _instance(said: dict[str, Any], width: int, height: int) -> Instance:
    category = next((said[key] for key in CATEGORY_KEYS if isinstance(said.get(key), str)), "")
    category = " ".join(category.lower().split())
    if not category or len(category) > LONGEST:
        raise ValueError(f"no category in {str(said)[:80]}")
    box = next((said[key] for key in BOX_KEYS if key in said), None)
    if not isinstance(box, list) or len(box) != 4 or not all(_is_number(value) for value in box):
        raise ValueError(f"no box of four numbers for {category}")
    left, right = sorted(min(max(float(box[i]), 0.0), float(width)) for i in (0, 2))
    top, bottom = sorted(min(max(float(box[i]), 0.0), float(height)) for i in (1, 3))
    if right - left < 1 or bottom - top < 1:
        raise ValueError(f"the box of {category} has no area inside the picture")
    return Instance(category, (left, top, right, bottom))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _shown(picture: Pillow.Image, max_side: int) -> Pillow.Image:
    """The picture in a size that the model does not change any more."""
    scale = min(1.0, max_side / max(picture.size))
    width, height = (max(STEP, round(side * scale / STEP) * STEP) for side in picture.size)
    return picture.resize((width, height), Pillow.Resampling.BICUBIC)
