"""The table of labelled pictures, row by row: everything as PNG or plain values, small and open to any reader."""

import hashlib
import io
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float32, Int32, Shaped
from PIL import Image as Pillow

from viral.data.duplicates import perceptual_hash
from viral.data.images import encode_png, pixels_of
from viral.schema import LABELLED
from viral.tasks import Instance, Labelled, Mask
from viral.tasks.geometry import normal_picture, read_normals

_FULL = 65535
_FEW_VALUES = ["split", "source_id", "licence"]


def labelled_row(row: dict[str, Any], labelled: Labelled, with_image: bool = True) -> dict[str, Any]:
    """A good row of `schema.LABELLED`; without its image, of labels alone. `row` holds its id and where it is from."""
    pictures = {
        "image": encode_png(labelled.image) if with_image else None,
        "target": None if labelled.target is None else encode_png(labelled.target),
        "changed": None if labelled.changed is None else _bits(labelled.changed),
        "depth": None if labelled.depth is None else _depth_png(labelled.depth),
        "normals": None if labelled.normals is None else encode_png(normal_picture(labelled.normals)),
        "entities": None if labelled.entities is None else _entity_png(labelled.entities),
    }
    plain = {
        "instances": None if labelled.instances is None else [_instance_row(item) for item in labelled.instances],
        "maps": [{"task": task, "picture": encode_png(image)} for task, image in sorted(labelled.maps.items())],
        "instruction": labelled.instruction,
        "caption": labelled.caption,
        "about": json.dumps(labelled.about, sort_keys=True),
        "pixels": hashlib.sha256(labelled.image.tobytes()).hexdigest() if with_image else None,
        "look": perceptual_hash(labelled.image) if with_image else None,
        "error": None,
    }
    return {**row, **{name: _struct(data) for name, data in pictures.items()}, **plain}


def rejected_row(row: dict[str, Any], error: str) -> dict[str, Any]:
    """A row of `schema.LABELLED` that says why it has no picture, or no labels."""
    return {**dict.fromkeys(LABELLED.names), **row, "error": error}


def read_row(row: dict[str, Any]) -> Labelled:
    """The labelled picture of a good row."""
    data = {
        name: row[name]["bytes"] for name in ("image", "target", "changed", "depth", "normals", "entities") if row[name]
    }
    return Labelled(
        image=pixels_of(data["image"]),
        target=pixels_of(data["target"]) if "target" in data else None,
        changed=_grey(data["changed"]) > 0 if "changed" in data else None,
        depth=_grey(data["depth"]).astype(np.float32) if "depth" in data else None,
        normals=read_normals(pixels_of(data["normals"])) if "normals" in data else None,
        entities=_grey(data["entities"]).astype(np.int32) if "entities" in data else None,
        instances=None if row["instances"] is None else tuple(_instance(item) for item in row["instances"]),
        maps={item["task"]: pixels_of(item["picture"]) for item in row["maps"] or ()},
        instruction=row["instruction"],
        caption=row["caption"],
        about=json.loads(row["about"]),
    )


def with_labels(row: dict[str, Any], labels: dict[str, Any] | None) -> dict[str, Any]:
    """A row whose labels an annotator's row adds to; an error of either is the row's."""
    if labels is None or row["error"] is not None:
        return row
    if labels["error"] is not None:
        return {**row, "error": labels["error"]}
    return {**row, **{name: value for name, value in labels.items() if value not in (None, [])}}


def labelled_parquet(rows: list[dict[str, Any]]) -> bytes:
    """Parquet bytes of rows of `schema.LABELLED`, in small row groups."""
    sink = pa.BufferOutputStream()
    table = pa.Table.from_pylist(rows, schema=LABELLED)
    # PNGs are compressed already
    pq.write_table(table, sink, row_group_size=100, compression="none", use_dictionary=_FEW_VALUES)
    return sink.getvalue().to_pybytes()


def _struct(data: bytes | None) -> dict[str, Any] | None:
    return None if data is None else {"bytes": data, "path": None}


def _instance_row(item: Instance) -> dict[str, Any]:
    return {
        "category": item.category,
        "box": list(item.box),
        "mask": None if item.mask is None else _bits(item.mask),
        "keypoints": None if item.keypoints is None else item.keypoints.ravel().tolist(),
        "crowd": item.crowd,
    }


def _instance(row: dict[str, Any]) -> Instance:
    mask = None if row["mask"] is None else _grey(row["mask"]) > 0
    points = None if row["keypoints"] is None else np.array(row["keypoints"], np.float32).reshape(17, 3)
    return Instance(row["category"], tuple(row["box"]), mask, points, row["crowd"])


def _depth_png(depth: Float32[np.ndarray, "y x"]) -> bytes:
    """Inverse depth scaled to 16 bits; what is known stays above 0."""
    known = depth > 0
    scaled = 1 + depth.astype(np.float64) / max(float(depth.max()), 1e-12) * (_FULL - 1)
    return _png(np.where(known, scaled.round(), 0).astype(np.uint16))


def _entity_png(entities: Int32[np.ndarray, "y x"]) -> bytes:
    """Entities numbered 1, 2, … in the order of their numbers, so that 16 bits hold them."""
    numbers, dense = np.unique(np.maximum(entities, 0), return_inverse=True)
    return _png((dense.reshape(entities.shape) + (numbers[0] != 0)).astype(np.uint16))


def _bits(mask: Mask) -> bytes:
    return _png(mask)


def _png(array: Shaped[np.ndarray, "y x"]) -> bytes:
    buffer = io.BytesIO()
    Pillow.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def _grey(data: bytes) -> Shaped[np.ndarray, "y x"]:
    with Pillow.open(io.BytesIO(data), formats=("PNG",)) as image:
        return np.array(image)
