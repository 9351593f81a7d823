"""What a table of pairs holds, counted: by task and split, by licence, by reason of rejection, by who made it."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from viral.data.images import short_reason
from viral.data.pair_table import PairTable
from viral.schema import IMAGE, PAIRS

Verdict = Literal["good", "doubtful", "rejected"]
VERDICTS: tuple[Verdict, ...] = ("good", "doubtful", "rejected")
_PLAIN = [field.name for field in PAIRS if field.type != IMAGE and field.name != "params"]


@dataclass(frozen=True)
class TaskCount:
    """Pairs of one task: good ones by split, with those that are doubtful or meet no other; rejected ones."""

    task: str
    train: int
    test: int
    doubtful: int
    alone: int
    rejected: int
    sources: int


@dataclass(frozen=True)
class Rejection:
    """Rows of one task that a reason took, and one of them."""

    task: str
    reason: str
    rows: int
    example: str


class Census:
    """Counts over all rows but their images."""

    def __init__(self, table: PairTable) -> None:
        shards = table.manifest.shards
        read = [pq.read_table(table.storage.open(shard.name), columns=_PLAIN, schema=PAIRS) for shard in shards]
        self._rows = pa.concat_tables(read) if read else PAIRS.empty_table().select(_PLAIN)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for batch in self._rows.to_batches(max_chunksize=4096):
            yield from batch.to_pylist()

    @cached_property
    def tasks(self) -> list[TaskCount]:
        """Sorted by name."""
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        sources: dict[str, set[str]] = defaultdict(set)
        groups: Counter[tuple[str, str]] = Counter()
        for row in self:
            verdict = verdict_of(row)
            sources[row["task"]].add(row["source_id"])
            counts[row["task"]].update([verdict] + ([row["split"]] if verdict != "rejected" else []))
            groups.update([(row["task"], row["group"])] if row["group"] else [])
        for (task, _), pairs in groups.items():
            counts[task]["alone"] += pairs == 1
        keys = ("train", "test", "doubtful", "alone", "rejected")
        return [
            TaskCount(task, *(found[key] for key in keys), len(sources[task])) for task, found in sorted(counts.items())
        ]

    @cached_property
    def rejections(self) -> list[Rejection]:
        """The most frequent first."""
        found: dict[tuple[str, str], list[str]] = defaultdict(list)
        for row in self:
            if row["error"] is not None:
                found[row["task"], short_reason(row["error"])].append(f"{row['source_id']}: {row['error']}")
        rows = [Rejection(task, reason, len(all_), min(all_)) for (task, reason), all_ in found.items()]
        return sorted(rows, key=lambda row: (-row.rows, row.task, row.reason))

    @cached_property
    def doubts(self) -> dict[tuple[str, str], int]:
        """Good pairs by task and by what is doubted."""
        found = Counter((row["task"], doubt) for row in self if row["doubts"] for doubt in row["doubts"].split("; "))
        return dict(sorted(found.items()))

    @cached_property
    def licences(self) -> dict[str, int]:
        """Good pairs by licence, the most frequent first."""
        found = Counter(row["licence"] for row in self if row["error"] is None)
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))

    @cached_property
    def annotators(self) -> dict[str, dict[str, Any]]:
        """What is recorded of each annotator: model, revision, sha256."""
        found: dict[str, dict[str, Any]] = {}
        for row in self:
            found |= json.loads(row["provenance"] or "{}").get("annotators", {})
        return dict(sorted(found.items()))


def verdict_of(row: dict[str, Any]) -> Verdict:
    """What is thought of a row: rejected, doubtful, else good."""
    if row["error"] is not None:
        return "rejected"
    return "doubtful" if row["doubts"] else "good"
