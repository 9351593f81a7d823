"""What changed between two tables of pairs, row by row: shards that both hold are not even read."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from viral.data.census import verdict_of
from viral.data.pair_table import CONFIGURATION, PairTable
from viral.data.versions import version_name

KINDS = ("added", "removed", "repainted", "reworded", "moved", "now rejected", "no longer rejected", "other doubts")
NAMED = 10
"""Rows of each kind and task that the report names."""
_SEEN = ("source", "target", "mask")
_SAID = ("instruction", "group", "licence")


@dataclass(frozen=True)
class Row:
    """What is compared of a row."""

    task: str
    name: str
    split: str
    verdict: str
    doubts: str | None
    seen: str
    """sha256 of its images."""
    said: str
    """sha256 of its words."""


@dataclass(frozen=True)
class Changes:
    """Names of rows by kind of change and task, and the settings that differ; empty for equal tables."""

    old: str
    new: str
    rows: dict[tuple[str, str], list[str]]
    settings: list[tuple[str, str, str]]

    @property
    def counts(self) -> dict[str, int]:
        """Rows by kind of change, in the order of `KINDS`."""
        found = Counter({kind: 0 for kind in KINDS})
        for (kind, _), names in self.rows.items():
            found[kind] += len(names)
        return {kind: count for kind, count in found.items() if count}

    def markdown(self) -> str:
        """The report, with some rows of each kind by name."""
        lines = [f"# From version {self.old} to {self.new}", ""]
        lines += [f"- {count} {kind}" for kind, count in self.counts.items()] or ["The pairs are the same."]
        if self.settings:
            lines += ["", "| setting | was | is |", "|---|---|---|"]
            lines += [f"| {key} | `{was}` | `{now}` |" for key, was, now in self.settings]
        if self.rows:
            lines += ["", "| change | task | rows | for example |", "|---|---|---:|---|"]
        for (kind, task), names in sorted(self.rows.items(), key=lambda item: (KINDS.index(item[0][0]), item[0][1])):
            lines.append(f"| {kind} | {task} | {len(names)} | {', '.join(names[:NAMED])} |")
        return "\n".join(lines) + "\n"


def compare(old: PairTable, new: PairTable) -> Changes:
    """What `new` has otherwise than `old`; a row is the same one where task, source and picture agree."""
    before, after = _rows(old, new), _rows(new, old)
    changed: dict[tuple[str, str], list[str]] = defaultdict(list)
    for key in sorted({*before, *after}):
        for kind in _kinds(before.get(key), after.get(key)):
            changed[kind, key[0]].append(key[1])
    names = version_name(old.manifest), version_name(new.manifest)
    return Changes(*names, dict(changed), _settings(old, new))


def _kinds(before: Row | None, after: Row | None) -> Iterator[str]:
    if before is None or after is None:
        yield "added" if before is None else "removed"
        return
    if before.split != after.split:
        yield "moved"
    if "rejected" in (before.verdict, after.verdict):
        if before.verdict != after.verdict:
            yield "now rejected" if after.verdict == "rejected" else "no longer rejected"
        return
    for kind, part in (("repainted", "seen"), ("reworded", "said"), ("other doubts", "doubts")):
        if getattr(before, part) != getattr(after, part):
            yield kind


def _rows(table: PairTable, other: PairTable) -> dict[tuple[str, str], Row]:
    """The rows of the shards that the other table does not hold, by task and picture."""
    common = {shard.sha256 for shard in other.manifest.shards}
    shards = [shard for shard in table.manifest.shards if shard.sha256 not in common]
    rows = (_row(row) for shard in shards for row in table.read(shard).to_pylist())
    return {(row.task, row.name): row for row in rows}


def _row(row: dict[str, Any]) -> Row:
    origin = json.loads(row["provenance"] or "{}")
    name = f"{origin['source']} {origin['item']}" if "item" in origin else row["pair_id"]
    images = [row[key] and hashlib.sha256(row[key]["bytes"]).hexdigest() for key in _SEEN]
    seen, said = (hashlib.sha256(json.dumps(part).encode()).hexdigest() for part in (images, [row[k] for k in _SAID]))
    return Row(row["task"], name, row["split"], verdict_of(row), row["doubts"], seen, said)


def _settings(old: PairTable, new: PairTable) -> list[tuple[str, str, str]]:
    was, now = (_flat(json.loads(table.manifest.notes.get(CONFIGURATION, "{}"))) for table in (old, new))
    return [(key, was.get(key, ""), now.get(key, "")) for key in sorted({*was, *now}) if was.get(key) != now.get(key)]


def _flat(value: Any, key: str = "") -> dict[str, str]:
    if not isinstance(value, dict):
        return {key: json.dumps(value, ensure_ascii=False)}
    inner = [_flat(part, f"{key}.{name}".strip(".")) for name, part in value.items()]
    return {name: text for found in inner for name, text in found.items()}
