"""A table of pairs as other tools take it: Hugging Face's layout, WebDataset's tar files, a folder of images."""

import io
import json
import tarfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from viral.data.card import Files, write_card
from viral.data.census import Census
from viral.data.pair_table import PairTable, pairs_parquet
from viral.data.versions import version_name
from viral.schema import IMAGE, PAIRS
from viral.storage import Storage

SPLITS = ("train", "test")
FILE_BYTES = 128 << 20
"""Bytes of images after which another file begins."""
IMAGES = tuple(field.name for field in PAIRS if field.type == IMAGE)
Row = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """Good pairs of one task and split that share a file; `number` counts the files."""

    task: str
    split: str
    number: int
    rows: list[Row]

    @property
    def name(self) -> str:
        return f"{self.task}/{self.split}-{self.number:05d}"


def export(table: PairTable, to: Storage, form: str) -> list[str]:
    """Write the good pairs of a table to `to` in one of `FORMS`, with a card; the names of the files.

    Again it is the same bytes, in the place of what was there.
    """
    names = [name for cell in cells(table) for name in FORMS[form](cell, to)]
    if form == "folder":
        names += _write_folder_lists(table, to)
    census = Census(table)
    write_card(to, version_name(table.manifest), table.manifest, census, _files(census, form))
    return names


def cells(table: PairTable) -> Iterator[Cell]:
    """The good pairs by task and split, in the table's order, at most about `FILE_BYTES` together."""
    kept: dict[tuple[str, str], list[Row]] = defaultdict(list)
    sizes: dict[tuple[str, str], int] = defaultdict(int)
    numbers: dict[tuple[str, str], int] = defaultdict(int)
    for shard in table.manifest.shards:
        for row in (row for row in table.read(shard).to_pylist() if row["error"] is None):
            key = row["task"], row["split"]
            kept[key].append(row)
            sizes[key] += sum(len(data) for _, data in images_of(row))
            if sizes[key] >= FILE_BYTES:
                yield Cell(*key, numbers[key], kept.pop(key))
                numbers[key], sizes[key] = numbers[key] + 1, 0
    for key, rows in sorted(kept.items()):
        yield Cell(*key, numbers[key], rows)


def images_of(row: Row) -> list[tuple[str, bytes]]:
    """The images of a row that are there, by column."""
    return [(name, row[name]["bytes"]) for name in IMAGES if row[name] is not None]


def signs_of(row: Row) -> dict[str, str]:
    """All of a row but its images, as strings; what is not there is empty, as readers infer types from few rows."""
    return {name: row[name] or "" for name in row if name not in IMAGES and name != "error"}


def write_parquet(cell: Cell, to: Storage) -> list[str]:
    """One Parquet file, its images decoded by `datasets`."""
    to.join(cell.task).write(f"{cell.split}-{cell.number:05d}.parquet", pairs_parquet(cell.rows))
    return [f"{cell.name}.parquet"]


def write_tar(cell: Cell, to: Storage) -> list[str]:
    """One tar file: `<pair_id>.source.png`, `.target.png`, `.mask.png` where there is one, and `.json`."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for row in cell.rows:
            signs = json.dumps(signs_of(row), sort_keys=True, ensure_ascii=False).encode()
            for ending, data in [*((f"{name}.png", data) for name, data in images_of(row)), ("json", signs)]:
                entry = tarfile.TarInfo(f"{row['pair_id']}.{ending}")
                entry.size, entry.mode = len(data), 0o644
                tar.addfile(entry, io.BytesIO(data))
    to.join(cell.task).write(f"{cell.split}-{cell.number:05d}.tar", sink.getvalue())
    return [f"{cell.name}.tar"]


def write_files(cell: Cell, to: Storage) -> list[str]:
    """`<split>/<task>/<pair_id>__source.png` beside `__target.png`, as our own `pairs=` reads a folder too."""
    names = [(f"{row['pair_id']}__{name}.png", data) for row in cell.rows for name, data in images_of(row)]
    for name, data in names:
        to.join(cell.split, cell.task).write(name, data)
    return [f"{cell.split}/{cell.task}/{name}" for name, _ in names]


FORMS: dict[str, Callable[[Cell, Storage], list[str]]] = {
    "huggingface": write_parquet,
    "webdataset": write_tar,
    "folder": write_files,
}
_ENDINGS = {"huggingface": "parquet", "webdataset": "tar"}


def _write_folder_lists(table: PairTable, to: Storage) -> list[str]:
    """`metadata.jsonl` of each split, as `datasets`' imagefolder reads it; a mask, which few pairs have, is a path."""
    lines: dict[str, list[str]] = defaultdict(list)
    for row in (row for shard in table.manifest.shards for row in table.read(shard).to_pylist()):
        if row["error"] is None:
            paths = {name: f"{row['task']}/{row['pair_id']}__{name}.png" for name, _ in images_of(row)}
            files = {"source_file_name": paths["source"], "target_file_name": paths["target"]}
            line = {**files, "mask_path": paths.get("mask", ""), **signs_of(row)}
            lines[row["split"]].append(json.dumps(line, ensure_ascii=False))
    for split, found in sorted(lines.items()):
        to.join(split).write("metadata.jsonl", ("\n".join(found) + "\n").encode())
    return [f"{split}/metadata.jsonl" for split in sorted(lines)]


def _files(census: Census, form: str) -> Files:
    """Where `datasets` finds each task and split."""
    if form == "folder":
        splits = [split for split in SPLITS if any(getattr(count, split) for count in census.tasks)]
        return {"default": {split: f"{split}/**" for split in splits}}
    return {
        count.task: {split: f"{count.task}/{split}-*.{_ENDINGS[form]}" for split in SPLITS if getattr(count, split)}
        for count in census.tasks
        if count.train + count.test
    }
