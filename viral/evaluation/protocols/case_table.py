"""Cases as a table: what workers read of a protocol's questions, shard by shard."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from viral.config import fingerprint
from viral.data.images import encode_png, pixels_of
from viral.evaluation.protocols.case import Case, Image, Mask
from viral.schema import CASES
from viral.storage import Manifest, Shard, Storage, describe_shard, write_manifest


@dataclass(frozen=True)
class CaseTable:
    """The cases at `storage`, in `schema.CASES`; a shard has cases of one task and size."""

    storage: Storage
    manifest: Manifest

    def read(self, shard: Shard) -> list[Case]:
        """The cases of one shard, verified by its sha256."""
        table = pq.read_table(self.storage.local(shard.name, shard.sha256), schema=CASES)
        return [_case(row) for row in table.to_pylist()]

    def __iter__(self) -> Iterator[Case]:
        return (case for shard in self.manifest.shards for case in self.read(shard))


def write_cases(storage: Storage, cases: Iterable[Case], most: int) -> CaseTable:
    """Put cases into shards of at most `most`; those of a former run go.

    `ValueError` where two cases have one id, or there is none.
    """
    shards: list[Shard] = []
    for chunk in _chunks(_checked(cases), most):
        data, name = parquet([_row(case) for case in chunk], CASES), f"shard-{len(shards):05d}.parquet"
        shards.append(describe_shard(name, len(chunk), data, {}))
        storage.write(name, data)
    if not shards:
        raise ValueError(f"there is not one case to write to {storage}; look at what the protocol reads")
    for name in set(storage.list()) - {shard.name for shard in shards}:
        storage.delete(name)
    key = fingerprint("cases", [shard.sha256 for shard in shards])
    manifest = Manifest(fingerprint=key, complete=True, shards=tuple(shards))
    write_manifest(storage, manifest)
    return CaseTable(storage, manifest)


def parquet(rows: list[dict[str, Any]], schema: pa.Schema) -> bytes:
    """Parquet bytes of rows, the same for the same rows."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), sink)
    return sink.getvalue().to_pybytes()


def _checked(cases: Iterable[Case]) -> Iterator[Case]:
    seen: set[str] = set()
    for case in cases:
        if case.case_id in seen:
            raise ValueError(f"two cases are called {case.case_id!r}; a case_id stands for one case of its protocol")
        seen.add(case.case_id)
        yield case


def _chunks(cases: Iterable[Case], most: int) -> Iterator[list[Case]]:
    """Cases of one task and size, in their order, each list as soon as it is full."""
    open_chunks: dict[tuple[str, tuple[int, ...]], list[Case]] = {}
    for case in cases:
        key = case.task, case.query.shape
        chunk = open_chunks.setdefault(key, [])
        chunk.append(case)
        if len(chunk) == most:
            yield open_chunks.pop(key)
    yield from open_chunks.values()


def _row(case: Case) -> dict[str, Any]:
    pictures = {name: value for name, value in case.labels.items() if isinstance(value, np.ndarray)}
    plain = {name: value for name, value in case.labels.items() if name not in pictures}
    return {
        **{name: getattr(case, name) for name in ("case_id", "task", "source_id", "seed", "instruction", "caption")},
        "examples": [{"source": encode_png(a), "target": encode_png(b)} for a, b in case.examples],
        **{name: _png(getattr(case, name)) for name in ("query", "truth", "mask")},
        "labels": json.dumps(plain, sort_keys=True),
        "pictures": [{"name": name, "png": encode_png(value)} for name, value in pictures.items()],
    }


def _case(row: dict[str, Any]) -> Case:
    mask = row["mask"]
    return Case(
        **{name: row[name] for name in ("case_id", "task", "source_id", "seed", "instruction", "caption")},
        examples=tuple((pixels_of(pair["source"]), pixels_of(pair["target"])) for pair in row["examples"]),
        query=pixels_of(row["query"]),
        truth=None if row["truth"] is None else pixels_of(row["truth"]),
        mask=None if mask is None else pixels_of(mask)[..., 0],
        labels={**json.loads(row["labels"]), **{item["name"]: pixels_of(item["png"]) for item in row["pictures"]}},
    )


def _png(pixels: Image | Mask | None) -> bytes | None:
    return None if pixels is None else encode_png(pixels)
