"""Pairs of your own: a folder of Parquet or of images, brought once into the form that everything else reads."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import UInt8
from PIL import Image

from viral.config import RunConfig, fingerprint
from viral.data.images import SUFFIXES, decode
from viral.data.pair_table import PairTable, count_errors, failed_row, good_row, open_pairs, pairs_parquet
from viral.data.photographs import held_apart
from viral.data.shards import MadeShard, Pool, ShardWork, is_finished, make_shards
from viral.storage import MANIFEST, Manifest, Storage, read_manifest
from viral.tasks import Rendering

RECIPE = 2
PLACE = "own_pairs"
"""Where under `storage` the imported table lies."""
NEEDED = ("task", "source", "target")
_IMAGES = ("source", "target", "mask")
_WORDS = ("split", "source_id", "licence", "instruction", "group")
_EXPECTED = (
    "expected columns task (string), source and target (images as Hugging Face `datasets` writes them: "
    "struct<bytes: binary, path: string>), and if you like mask, instruction, group, split, source_id, licence"
)
_LAYOUT = "expected Parquet files, or <task>/<name>__source.png beside <task>/<name>__target.png"


@dataclass(frozen=True)
class OwnPair:
    """Where one pair of yours lies: a row of a Parquet file, or two or three image files."""

    name: str
    task: str
    split: str | None
    source_id: str
    licence: str
    row: int | None
    """Row of the Parquet file `name`; none for image files."""
    files: dict[str, str]
    """File of each image, for a pair in image files."""
    instruction: str | None = None
    group: str | None = None


def own_folder(config: RunConfig) -> Storage | None:
    """The folder of your own that `config.pairs` names, or none where it is a table under `storage`.

    `ValueError` for a name that is neither.
    """
    table = Storage(config.storage).join(config.pairs)
    if config.pairs == "pairs" or table.exists(MANIFEST):
        return None
    folder = Storage(config.pairs)
    if not folder.is_folder:
        raise ValueError(f"pairs: {config.pairs} is neither a table under {config.storage} nor a folder; {_LAYOUT}")
    return folder


def import_pairs(config: RunConfig, folder: Storage) -> PairTable:
    """The pairs in `folder` as a table of ours, made once under `storage`; a table of ours is used where it lies.

    A pair that is damaged, or whose images differ in size, stays as a row with its `error`.
    """
    if read_manifest(folder) is not None:
        return open_pairs(folder)
    storage = Storage(config.storage).join(PLACE)
    names = folder.walk()
    hashes = [[name, hashlib.sha256(folder.read(name)).hexdigest()] for name in names]
    key = fingerprint("own pairs", RECIPE, config.data.size, config.data.test_sources, config.seed, hashes)
    if (manifest := is_finished(storage, key)) is not None:
        print(f"pairs: {storage} is up to date, {manifest.counts_out['good']} pairs from {folder}")
        return PairTable(storage, manifest)
    pairs = _split(config, _found(folder, names))
    plan = list(_plan(pairs, config.data.rows_per_shard))
    splits = Counter(pair.split for pair in pairs)
    wanted = Manifest(
        fingerprint=key,
        counts_in={"files": len(names), "rows": len(pairs)},
        counts_out={str(split): count for split, count in sorted(splits.items())},
        notes={"imported from": str(folder)},
    )
    maker = partial(OwnPairMaker, folder, config.data.size)
    pool = Pool(config.data.actors, nodes=config.nodes.data)
    return PairTable(storage, make_shards("importing pairs", storage, wanted, plan, maker, pool))


class OwnPairMaker:
    """Decodes the pairs of a shard and brings them to one size."""

    def __init__(self, folder: Storage, size: int) -> None:
        self._folder, self._size = folder, size

    def __call__(self, work: list[OwnPair]) -> MadeShard:
        table = self._table(work)
        images = [None] * len(work) if table is None else table.to_pylist()
        rows = [self._row(pair, given) for pair, given in zip(work, images, strict=True)]
        return MadeShard(pairs_parquet(rows), len(rows), count_errors(rows))

    def _table(self, work: list[OwnPair]) -> pa.Table | None:
        """The Parquet rows of a shard, which are consecutive rows of one file."""
        first, last = work[0].row, work[-1].row
        if first is None or last is None:
            return None
        with _parquet(self._folder, work[0].name) as file:
            columns = [name for name in _IMAGES if name in file.schema_arrow.names]
            sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
            starts = np.cumsum([0, *sizes])
            groups = [i for i in range(len(sizes)) if starts[i] <= last and first < starts[i + 1]]
            return file.read_row_groups(groups, columns=columns).slice(first - starts[groups[0]], last - first + 1)

    def _row(self, pair: OwnPair, images: dict[str, Any] | None) -> dict[str, Any]:
        label = pair.name if pair.row is None else f"{pair.name}#{pair.row}"
        about = {key: getattr(pair, key) for key in ("task", "split", "source_id", "licence", "instruction")}
        data = {key: _bytes(value) for key, value in images.items()} if images is not None else self._read(pair)
        digests = [hashlib.sha256(data.get(key) or b"").hexdigest() for key in _IMAGES]
        about["pair_id"] = fingerprint("own", pair.task, label, digests) + digests[0][:16]
        try:
            return good_row(about, {"file": label}, replace(_rendering(data, label, self._size), group=pair.group))
        except Exception as error:  # noqa: BLE001 - the wrapper that turns a row's failure into its error
            return failed_row(about, {"file": label}, str(error).removeprefix(f"{label}: ") or type(error).__name__)

    def _read(self, pair: OwnPair) -> dict[str, bytes | None]:
        return {key: self._folder.read(name) for key, name in pair.files.items()}


def _rendering(data: dict[str, bytes | None], label: str, size: int) -> Rendering:
    """The pair at `size` pixels a side; both images are scaled and cut alike."""
    if not data.get("source") or not data.get("target"):
        raise ValueError(f"{label}: no image bytes: the table must hold the images themselves, a path is not enough")
    source, target = (decode(data[key], label) for key in ("source", "target"))
    if source.size != target.size:
        sizes = " and ".join(f"{image.width}x{image.height}" for image in (source, target))
        raise ValueError(f"{label}: source and target differ in size: {sizes}; they must lie pixel on pixel")
    mask = _fit(decode(data["mask"], label), size).max(axis=2) if data.get("mask") else None
    return Rendering(_fit(source, size), _fit(target, size), mask)


def _fit(image: Image.Image, size: int) -> UInt8[np.ndarray, "s s 3"]:
    """The central square of an image at `size` pixels a side."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = np.asarray(image)[top : top + side, left : left + side]
    way = cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
    return np.ascontiguousarray(cv2.resize(square, (size, size), interpolation=way))


def _found(folder: Storage, names: list[str]) -> list[OwnPair]:
    tables = [name for name in names if name.endswith(".parquet")]
    pairs = [pair for name in tables for pair in _parquet_pairs(folder, name)] or _image_pairs(folder, names)
    if not pairs:
        raise ValueError(f"pairs: {folder} holds no pair among its {len(names)} files; {_LAYOUT}")
    return pairs


def _parquet_pairs(folder: Storage, name: str) -> Iterator[OwnPair]:
    """The rows of a Parquet file; rows whose source images are the same bytes share a source."""
    with _parquet(folder, name) as file:
        _check_schema(file.schema_arrow, f"{folder}/{name}")
        optional = [key for key in _WORDS if key in file.schema_arrow.names]
        row = 0
        for batch in file.iter_batches(batch_size=64, columns=["task", "source", *optional]):
            for value in batch.to_pylist():
                source = value.get("source_id") or hashlib.sha256(_bytes(value["source"]) or b"").hexdigest()[:16]
                licence, said = value.get("licence") or "as given", (value.get("instruction"), value.get("group"))
                yield OwnPair(name, str(value["task"]), value.get("split"), str(source), licence, row, {}, *said)
                row += 1


def _image_pairs(folder: Storage, names: list[str]) -> list[OwnPair]:
    """Pairs in image files; `ValueError` names a source without its target."""
    pairs, images = [], {name for name in names if PurePosixPath(name).suffix.lower() in SUFFIXES}
    for name in sorted(images):
        path = PurePosixPath(name)
        if not path.stem.endswith("__source") or len(path.parts) != 2:
            continue
        stem = name.removesuffix(path.suffix).removesuffix("__source")
        files = {key: file for key in _IMAGES if (file := _with_suffix(f"{stem}__{key}", images)) is not None}
        if "target" not in files:
            raise ValueError(f"pairs: {folder}/{name} has no {PurePosixPath(stem).name}__target beside it; {_LAYOUT}")
        source_id = hashlib.sha256(folder.read(name)).hexdigest()[:16]
        pairs.append(OwnPair(stem, path.parts[0], None, source_id, "as given", None, files))
    return pairs


def _with_suffix(stem: str, images: set[str]) -> str | None:
    return next((f"{stem}{suffix}" for suffix in sorted(SUFFIXES) if f"{stem}{suffix}" in images), None)


def _split(config: RunConfig, pairs: list[OwnPair]) -> list[OwnPair]:
    """Keep the split that is given; else hold whole sources apart, as for photographs."""
    given = {pair.split for pair in pairs}
    if given <= {"train", "test"}:
        return pairs
    if given != {None}:
        values = sorted(map(str, given))
        raise ValueError(f"pairs: column split holds {values}, expected train or test in every row, or no such column")
    apart = held_apart(config, {pair.source_id for pair in pairs}, f"pairs: {config.pairs} gives")
    return [replace(pair, split="test" if pair.source_id in apart else "train") for pair in pairs]


def _plan(pairs: list[OwnPair], step: int) -> Iterator[ShardWork]:
    """Shards of at most `step` pairs, none across two Parquet files."""
    start = number = 0
    while start < len(pairs):
        stop = start + 1
        while stop < min(start + step, len(pairs)) and _share_shard(pairs[start], pairs[stop]):
            stop += 1
        yield ShardWork(f"shard-{number:05d}.parquet", stop - start, pairs[start:stop])
        start, number = stop, number + 1


def _share_shard(first: OwnPair, other: OwnPair) -> bool:
    return first.row is None or first.name == other.name


@contextmanager
def _parquet(folder: Storage, name: str) -> Iterator[pq.ParquetFile]:
    try:
        with folder.open(name) as file:
            yield pq.ParquetFile(file)
    except (pa.ArrowInvalid, OSError) as error:
        cure = "write it again or take it away"
        raise ValueError(f"{folder}/{name} is damaged or no Parquet file ({error}); {cure}") from None


def _check_schema(schema: pa.Schema, address: str) -> None:
    got = ", ".join(f"{field.name} ({field.type})" for field in schema)
    missing = [name for name in NEEDED if name not in schema.names]
    if missing:
        raise ValueError(f"{address} has no column {' or '.join(missing)}; got {got}; {_EXPECTED}")
    for name in (name for name in _IMAGES if name in schema.names):
        if not _holds_images(schema.field(name).type):
            raise ValueError(f"{address}: column {name} is {schema.field(name).type}; {_EXPECTED}")


def _holds_images(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _holds_images(kind.field("bytes").type)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _bytes(value: Any) -> bytes | None:
    """The encoded image in a cell: a struct of `datasets`, plain bytes, or nothing."""
    return value["bytes"] if isinstance(value, dict) else value
