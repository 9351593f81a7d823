"""Which photographs may be trained on and which only prove: a committed list, by hashes of file and look.

Photographs that look alike, and those that one is made from the other, lie in one part. What the embedded models may be
trained on decides: the part of a permissive photograph is `train`, that of a photograph of the demo is `demo`, all
others are `proof`.
"""

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

from viral.data.duplicates import Link, Look, find_links, join_sources, perceptual_hash
from viral.data.images import decode
from viral.data.photographs import shipped_files
from viral.storage import Storage

Part = Literal["train", "proof", "demo"]
LIST = Path(__file__).with_name("proof_split.csv")
PERMISSIVE, DEMO = "permissive", "demo"
PICTURED = frozenset({"deraining", "low_light", "watermark_removal", "colorization", "edit", "style_transfer"})
"""Tasks of a collection whose targets are pictures of what the source shows."""


@dataclass(frozen=True)
class Listed:
    """One file of the list."""

    part: Part
    scene: str
    """The least file name among the pictures it lies in one part with."""
    licence: str
    """`permissive`, `research-nc` or `unknown`."""
    sha256: str
    """Of the file."""
    look: str
    """Its perceptual hash, in hex digits."""
    file: str
    """Its path in the collection."""


@cache
def read_split() -> tuple[Listed, ...]:
    """The committed list, by file."""
    return tuple(Listed(**row) for row in csv.DictReader(LIST.read_text().splitlines()))  # pyright: ignore


def files_of(part: Part, licence: str | None = None, under: str = "") -> tuple[Listed, ...]:
    """The files of a part whose path begins with `under`; of one licence class where one is named."""
    return tuple(
        one
        for one in read_split()
        if one.part == part and one.file.startswith(under) and licence in (None, one.licence)
    )


def read_listed(folder: Storage, listed: Listed) -> np.ndarray:
    """The pixels of a listed file; `ValueError` where `folder` has another file under its name."""
    data = folder.read(listed.file)
    if hashlib.sha256(data).hexdigest() != listed.sha256:
        raise ValueError(f"{folder}/{listed.file} is not the file of the list: its sha256 differs; take the original")
    return np.asarray(decode(data, listed.file))


def make_split(folder: Storage) -> list[Listed]:
    """The list of a collection with a `manifest.jsonl`, and of the photographs that the demo is made from."""
    rows = [json.loads(line) for line in folder.read("manifest.jsonl").decode().splitlines()]
    licences = {file: row["licence_class"] for row in rows for file in _pictures(row)}
    read = [_unplaced(file, folder.read(file), licence) for file, licence in sorted(licences.items())]
    demo = [_unplaced(f"{file.package}/{file.name}", file.read(), DEMO) for file in shipped_files()]
    return _placed([*read, *demo], [_pictures(row) for row in rows])


def write_split(listed: Sequence[Listed]) -> bytes:
    """The list as CSV."""
    sink = io.StringIO()
    table = csv.DictWriter(sink, [field.name for field in fields(Listed)], lineterminator="\n")
    table.writeheader()
    table.writerows(asdict(one) for one in sorted(listed, key=lambda one: one.file))
    return sink.getvalue().encode()


def _pictures(row: dict) -> list[str]:
    """The files of a row that show its scene."""
    keys = ("source", "clean", "target") if row["task"] in PICTURED else ("source", "clean")
    return [row[key] for key in keys if row.get(key)]


def _unplaced(file: str, data: bytes, licence: str) -> Listed:
    look = perceptual_hash(np.asarray(decode(data, file)))
    return Listed("proof", file, licence, hashlib.sha256(data).hexdigest(), look, file)


def _placed(listed: list[Listed], together: list[list[str]]) -> list[Listed]:
    """The pictures with scene and part; each of `together` names files of one scene."""
    looks = {one.file: Look(one.file, one.file, "", one.sha256, one.look) for one in listed}
    rows = [Link(looks[first], looks[other], 0) for first, *others in together for other in others if first != other]
    scenes = join_sources([*find_links(list(looks.values())), *rows])
    members: dict[str, list[Listed]] = {}
    for one in listed:
        members.setdefault(scenes.get(one.file, one.file), []).append(one)
    return list(_parts(members))


def _parts(members: dict[str, list[Listed]]) -> Iterator[Listed]:
    for scene, same in members.items():
        licences = {one.licence for one in same}
        part: Part = "demo" if DEMO in licences else "train" if PERMISSIVE in licences else "proof"
        yield from (Listed(part, scene, one.licence, one.sha256, one.look, one.file) for one in same)
