"""A dataset at a glance: one HTML file of analogies A, A', B, B', to be looked through for what is wrong."""

import base64
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import pyarrow.parquet as pq
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from PIL import Image as Pillow

from viral.data.census import VERDICTS, Census, verdict_of
from viral.data.images import pixels_of
from viral.data.pair_table import PairTable
from viral.tasks import describe_task

SHEET = "index.html"
SHOWN = 16
"""Analogies of each task, split and verdict."""
SIDE = 128
"""Longest side of a picture on the sheet, in pixels."""
_SIGNS = ("pair_id", "task", "split", "source_id", "licence", "group", "instruction", "error", "doubts", "provenance")


@dataclass(frozen=True)
class Shown:
    """One line of the sheet: a pair B, and the example that it is shown with; none for a rejected row."""

    query: dict[str, Any]
    example: dict[str, Any] | None


def make_sheet(table: PairTable, census: Census) -> bytes:
    """The page with up to `SHOWN` analogies of each task, split and verdict, spread evenly over the table."""
    shown = choose(census)
    wanted = {row["pair_id"] for one in shown for row in (one.query, one.example) if row and row["error"] is None}
    pictures = _pictures(table, wanted)
    lines = [_line(one, pictures) for one in shown]
    about = {count.task: {**asdict(count), "title": describe_task(count.task).title} for count in census.tasks}
    page = _template().render(
        pairs=sum(count.train + count.test for count in census.tasks),
        rejected=sum(count.rejected for count in census.tasks),
        doubtful=sum(count.doubtful for count in census.tasks),
        tasks=about,
        shown=len(lines),
        verdicts=VERDICTS,
        data=json.dumps({"tasks": about, "lines": lines, "pictures": pictures}).replace("</", "<\\/"),
    )
    return page.encode()


def choose(census: Iterable[dict[str, Any]]) -> list[Shown]:
    """The analogies of a sheet: what is doubtful or rejected first, and an example of the same group from training."""
    rows = [{key: row[key] for key in _SIGNS} for row in census]
    examples: dict[tuple[str, str | None, str], list[dict[str, Any]]] = defaultdict(list)
    cells: dict[tuple[str, int, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        verdict = verdict_of(row)
        cells[row["task"], -VERDICTS.index(verdict), row["split"]].append(row)
        if verdict != "rejected":
            examples[row["task"], row["group"], row["split"]].append(row)
    return [
        Shown(row, _example(row, examples)) for _, cell in sorted(cells.items()) for row in _spread(_distinct(cell))
    ]


def _example(query: dict[str, Any], examples: dict[tuple, list[dict[str, Any]]]) -> dict[str, Any] | None:
    """Another pair that the query may meet, one of those trained on where there is one."""
    if query["error"] is not None:
        return None
    for split in ("train", query["split"]):
        found = [row for row in examples[query["task"], query["group"], split] if row["pair_id"] != query["pair_id"]]
        if found:
            return found[int(query["pair_id"][:8], 16) % len(found)]
    return None


def _distinct(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each kind of rejection once before any comes twice; other rows as they are."""
    seen: dict[str, int] = defaultdict(int)
    order = []
    for row in rows:
        reason = row["error"] or ""
        order.append((seen[reason] if reason else 0, row))
        seen[reason] += 1
    return [row for _, row in sorted(order, key=lambda item: item[0])]


def _spread(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """At most `SHOWN` rows, evenly from all; of rejected ones the first, which are the most different."""
    most = min(SHOWN, len(rows))
    if rows and rows[0]["error"] is not None:
        return list(rows[:most])
    return [rows[i * len(rows) // most] for i in range(most)]


def _line(one: Shown, pictures: dict[str, list[str]]) -> dict[str, Any]:
    row = one.query
    about = json.dumps(json.loads(row["provenance"] or "{}"), indent=1, ensure_ascii=False)
    return {
        **{key: row[key] for key in ("task", "split", "group", "instruction", "source_id", "licence", "pair_id")},
        "verdict": verdict_of(row),
        "why": row["error"] or row["doubts"],
        "about": about if len(about) < 4000 else about[:4000] + " …",
        "example": one.example and one.example["pair_id"],
        "example_source": one.example and one.example["source_id"],
        "shows": row["pair_id"] if row["pair_id"] in pictures else None,
    }


def _pictures(table: PairTable, wanted: set[str]) -> dict[str, list[str]]:
    """Source and target of the pairs asked for, as a browser takes them; shards without one are not read."""
    found: dict[str, list[str]] = {}
    for shard in table.manifest.shards:
        names = pq.read_table(table.storage.open(shard.name), columns=["pair_id"])["pair_id"].to_pylist()
        if wanted.isdisjoint(names):
            continue
        for row in table.read(shard).to_pylist():
            if row["pair_id"] in wanted:
                found[row["pair_id"]] = [_thumbnail(row[key]["bytes"]) for key in ("source", "target")]
    return found


def _thumbnail(png: bytes) -> str:
    """A small WebP in base64; a tiny one without loss, where compression would look like a fault of the data."""
    image = Pillow.fromarray(pixels_of(png))
    image.thumbnail((SIDE, SIDE), Pillow.Resampling.BOX)
    sink = io.BytesIO()
    image.save(sink, "WEBP", lossless=image.width <= 64, quality=88, method=4)
    return base64.b64encode(sink.getvalue()).decode()


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("viral.data", "."), undefined=StrictUndefined, autoescape=True, trim_blocks=True
    )
    return environment.get_template("dataset_sheet.html.jinja")
