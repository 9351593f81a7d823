"""COCO's annotations: boxes, masks and keypoints of its instances, and its panoptic pictures."""

import json
from collections import defaultdict
from typing import Any, Literal

import cv2
import numpy as np

from viral.data.sources.source import Item, Needs, Reader, Source, choose, read_numbers, read_picture
from viral.storage import Storage
from viral.tasks import Instance, Labelled, Mask

LICENCES = {
    1: "CC BY-NC-SA 2.0", 2: "CC BY-NC 2.0", 3: "CC BY-NC-ND 2.0", 4: "CC BY 2.0", 5: "CC BY-SA 2.0",
    6: "CC BY-ND 2.0", 7: "no known copyright restrictions", 8: "United States Government Work",
}  # fmt: skip
"""The pictures' licences by COCO's numbers; a file's own `licenses` go before."""
LEAST_JOINTS = 5
"""Joints that somebody in a picture shows, for it to be taken where keypoints are needed."""


class Coco(Source):
    """Pictures with annotations in COCO's JSON: instances (which EntityV2 uses too), keypoints, panoptic."""

    kind: Literal["coco"]
    images: str
    """Folder of the pictures."""
    instances: str | None = None
    """JSON file of instances, as `instances_train2017.json`; boxes, masks, categories."""
    keypoints: str | None = None
    """JSON file of people's keypoints, as `person_keypoints_train2017.json`."""
    panoptic: str | None = None
    """JSON file of segments, as `panoptic_train2017.json`; their pictures lie in the folder of its name."""

    @property
    def gives(self) -> frozenset[str]:
        given = {"boxes", "masks", "entities"} if self.instances else set()
        given |= {"boxes", "keypoints"} if self.keypoints else set()
        return frozenset(given | ({"entities"} if self.panoptic else set()))

    def items(self, count: int, seed: int, needs: Needs) -> list[Item]:
        """Every picture with the labels asked for."""
        pictures: dict[int, dict[str, Any]] = {}
        files = {
            key: _read_json(file) for key in ("keypoints", "instances", "panoptic") if (file := getattr(self, key))
        }
        if not files:
            raise ValueError("a source of kind coco needs instances, keypoints or panoptic: a JSON file of annotations")
        for key, content in files.items():
            _gather(pictures, key, content, self)
        items = [_item(self, number, picture) for number, picture in pictures.items() if _has(picture, needs)]
        return choose(items, count, seed)

    def reader(self, device: str) -> Reader:
        """Reads a picture and turns its annotations into labels."""
        images = Storage(self.images)

        def read(item: Item, size: int) -> Labelled:
            image = read_picture(images, item.data["file"])
            height, width = image.shape[:2]
            instances = item.data.get("instances")
            found = None if instances is None else tuple(_instance(one, height, width) for one in instances)
            return Labelled(image, entities=self._segments(item), instances=found, about={"coco": item.id})

        return read

    def _segments(self, item: Item) -> np.ndarray | None:
        if "segments" not in item.data or self.panoptic is None:
            return None
        folder = Storage(self.panoptic.removesuffix(".json"))
        painted = read_numbers(folder, item.data["segments"])
        numbers = [0, *sorted(item.data["numbers"])]
        known = np.isin(painted, numbers)
        return np.where(known, np.searchsorted(numbers, np.where(known, painted, 0)), 0).astype(np.int32)


def _gather(pictures: dict[int, dict[str, Any]], key: str, content: dict[str, Any], source: Coco) -> None:
    """Add one annotation file's knowledge to the pictures it speaks of."""
    names = {category["id"]: category["name"] for category in content["categories"]}
    licences = LICENCES | {licence["id"]: licence["name"] for licence in content.get("licenses", ())}
    by_picture: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for annotation in content["annotations"]:
        by_picture[annotation["image_id"]].append(annotation)
    for image in content["images"]:
        picture = pictures.setdefault(
            image["id"], {"file": image["file_name"], "licence": licences.get(image.get("license"))}
        )
        for annotation in by_picture[image["id"]]:
            _add(picture, key, annotation, names)
        if key != "panoptic":
            picture.setdefault("instances", {})


def _add(picture: dict[str, Any], key: str, annotation: dict[str, Any], names: dict[int, str]) -> None:
    if key == "panoptic":
        picture["segments"] = annotation["file_name"]
        picture["numbers"] = [segment["id"] for segment in annotation["segments_info"]]
        return
    found = picture.setdefault("instances", {}).setdefault(annotation["id"], {})
    found["category"], found["box"] = names[annotation["category_id"]], annotation["bbox"]
    found["crowd"] = bool(annotation.get("iscrowd"))
    found |= {"mask": annotation["segmentation"]} if annotation.get("segmentation") else {}
    found |= {"keypoints": annotation["keypoints"]} if any(annotation.get("keypoints", ())[2::3]) else {}


def _has(picture: dict[str, Any], needs: Needs) -> bool:
    instances = picture.get("instances", {}).values()
    there = {"boxes"} if any(not item["crowd"] for item in instances) else set()
    there |= {"masks", "entities"} if instances and all("mask" in item for item in instances) else set()
    there |= {"entities"} if "segments" in picture else set()
    seen = (sum(v > 0 for v in item.get("keypoints", ())[2::3]) for item in instances)
    there |= {"keypoints"} if any(count >= LEAST_JOINTS for count in seen) else set()
    return needs <= there


def _item(source: Coco, number: int, picture: dict[str, Any]) -> Item:
    data = {key: picture[key] for key in ("file", "segments", "numbers") if key in picture}
    data |= {"instances": list(picture["instances"].values())} if "instances" in picture else {}
    # COCO's number alone: all parts that use a picture must agree on its side of the split
    return Item(str(number), f"coco/{number}", data, picture["licence"])


def _instance(found: dict[str, Any], height: int, width: int) -> Instance:
    left, top, breadth, depth = map(float, found["box"])
    points = np.array(found["keypoints"], np.float32).reshape(17, 3) if "keypoints" in found else None
    mask = decode_mask(found["mask"], height, width) if "mask" in found else None
    return Instance(found["category"], (left, top, left + breadth, top + depth), mask, points, found["crowd"])


def decode_mask(segmentation: Any, height: int, width: int) -> Mask:
    """The mask of COCO's polygons, or of its run lengths, compressed or not; `ValueError` for another form or size."""
    if isinstance(segmentation, list):
        canvas = np.zeros((height, width), np.uint8)
        rings = [np.reshape(ring, (-1, 2)) for ring in segmentation]
        cv2.fillPoly(canvas, [(ring * 16).round().astype(np.int32) for ring in rings], 1, shift=4)
        return canvas > 0
    if not isinstance(segmentation, dict) or {"size", "counts"} - set(segmentation):
        raise ValueError("a segmentation is neither polygons nor run lengths")
    counts = segmentation["counts"]
    runs = np.array(_read_counts(counts) if isinstance(counts, str) else counts)
    if tuple(segmentation["size"]) != (height, width) or runs.sum() != height * width:
        raise ValueError(f"run lengths for {segmentation['size']} pixels, the picture has {[height, width]}")
    values = np.arange(len(runs)) % 2 == 1
    return np.ascontiguousarray(np.repeat(values, runs).reshape(width, height).T)


def _read_counts(text: str) -> list[int]:
    """COCO's compressed run lengths: 5 bits a character, the sixth says that more follow, from the third run on
    relative to the run before the last."""
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return runs


def _read_json(file: str) -> dict[str, Any]:
    folder, _, name = file.rpartition("/")
    try:
        content = json.loads(Storage(folder or ".").read(name))
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    if missing := [key for key in ("images", "annotations", "categories") if key not in content]:
        raise ValueError(f"{file} has no key {', '.join(missing)}; expected COCO's JSON of annotations")
    return content
