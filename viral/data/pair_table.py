"""The table of pairs, row by row: writing a shard of it, reading a finished one."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from viral.data.doubts import find_doubts
from viral.data.images import encode_png, short_reason
from viral.schema import PAIRS
from viral.storage import Manifest, Shard, Storage, read_manifest
from viral.tasks import Rendering

CONFIGURATION = "configuration"
"""The manifest's note that says, as JSON, how the pairs were made."""
_FEW_VALUES = ["task", "split", "source_id", "licence"]


@dataclass(frozen=True)
class PairTable:
    """The pairs at `storage`, in `schema.PAIRS`."""

    storage: Storage
    manifest: Manifest

    def read(self, shard: Shard) -> pa.Table:
        """One shard, verified by its sha256; `ValueError` names it if it is missing or damaged."""
        return pq.read_table(self.storage.local(shard.name, shard.sha256), schema=PAIRS)

    def rows(self, split: str, task: str | None = None) -> Iterator[dict]:
        """The good rows of one side of the split, of one task or of all, in the table's order."""
        for shard in self.manifest.shards:
            for row in self.read(shard).to_pylist():
                if row["error"] is None and row["split"] == split and task in (None, row["task"]):
                    yield row


def open_pairs(storage: Storage) -> PairTable:
    """The table at `storage`; `ValueError` if there is none, or it is not whole."""
    manifest = read_manifest(storage)
    if manifest is None or not manifest.complete:
        state = "are not there" if manifest is None else "are not all there yet"
        raise ValueError(
            f"pairs at {storage} {state}; run jobs/generate_dataset.py with the same configuration, "
            "or set pairs to a folder of your own"
        )
    return PairTable(storage, manifest)


def good_row(about: dict[str, Any], params: dict[str, Any], rendering: Rendering) -> dict[str, Any]:
    """A row of `schema.PAIRS` with its images."""
    images = {"source": rendering.source, "target": rendering.target, "mask": rendering.mask}
    encoded = {
        key: image if image is None else {"bytes": encode_png(image), "path": None} for key, image in images.items()
    }
    doubts = "; ".join(find_doubts(rendering)) or None
    plain = {"params": json.dumps(params, sort_keys=True), "group": rendering.group, "doubts": doubts, "error": None}
    return {**about, **plain, **encoded}


def failed_row(about: dict[str, Any], params: dict[str, Any], error: str) -> dict[str, Any]:
    """A row of `schema.PAIRS` that says why it has no images."""
    images = dict.fromkeys(("source", "target", "mask"))
    return {**about, "params": json.dumps(params, sort_keys=True), **images, "error": error}


def count_errors(rows: list[dict[str, Any]]) -> dict[str, int]:
    """How many rows each kind of error took, sorted."""
    return dict(sorted(Counter(short_reason(row["error"]) for row in rows if row["error"] is not None).items()))


def pairs_parquet(rows: list[dict[str, Any]]) -> bytes:
    """Parquet bytes of rows of `schema.PAIRS`, in small row groups, so that a viewer reads little."""
    sink = pa.BufferOutputStream()
    table = pa.Table.from_pylist(rows, schema=PAIRS)
    # PNGs are compressed already
    pq.write_table(table, sink, row_group_size=100, compression="none", use_dictionary=_FEW_VALUES)
    return sink.getvalue().to_pybytes()
