"""What the platform exists for against what people would use instead, in one process: a table, and bench.json.

Both arms run in turn on one thread; processor time, least of seven runs, median ratio of five such repeats. A row
whose arms disagree has no ratio. Rows of one race share our arm; `--only` takes an id, or its part before the dot.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import rows_context
import rows_data
import rows_filter
import rows_moe
import rows_training
import rows_vae
import torch
from rich.console import Console
from rich.table import Table
from timing import Race, Row, run_race

RACES: dict[tuple[str, ...], Callable[[], Race]] = {
    ("C1", "C2", "C3", "C4"): rows_moe.mixtures,
    ("C4.8",): rows_moe.many_experts,
    ("C5.256",): partial(rows_moe.plain, 256),
    ("C5.1024",): partial(rows_moe.plain, 1024),
    ("C6",): rows_context.forward,
    ("C7",): partial(rows_context.loop, "C7", 40, 3.3, 3.75),
    ("C8.8",): partial(rows_context.loop, "C8.8", 8, 2.7, 3.0),
    ("C8.4",): partial(rows_context.loop, "C8.4", 4, 2.2, 2.4),
    ("C9", "C9.plain"): rows_filter.filtered,
    ("C10", "C10.full"): rows_training.step,
    ("C11", "C11.ours"): rows_training.targets,
    ("C12.parquet", "C12.files"): rows_data.random_reads,
    ("V1",): rows_vae.encode_frames,
}
"""What builds a race, by the rows that it gives."""

NOT_BUILT = {
    "C13": ("our decode to 224 pixels for embedding", "PIL full decode and resize", 2.3, 3.1),
    "C14.kmeans": ("K-Means, 20K x 768", "scikit-learn", 0.9, 1.0),
    "C14.neighbours": ("exact neighbours, 20K x 768", "scikit-learn", 1.4, 1.6),
    "C15": ("Ray Data annotation pipeline, CPU-seconds an image", "the same work in a plain loop", 0.8, 1.0),
    "C15.growth": ("Ray Data annotation pipeline, 2 actors over 1", "1 actor", 1.6, 2.0),
    "C16.latency": ("the same edit through HTTP and Serve, milliseconds added", "an echo application", 20, 0),
    "C16.replicas": ("the same edit through HTTP and Serve, 2 replicas over 1", "1 replica", 1.6, 2.0),
    "C17": ("training step through Ray Train and ZeRO-1, 2 workers", "torch DDP by hand", 0.95, 1.0),
}
"""Claims that nothing measures yet."""


def belongs(name: str, only: str | None) -> bool:
    return only is None or only in (name, name.partition(".")[0])


def measure(only: str | None) -> list[Row]:
    rows: list[Row] = []
    for names, build in RACES.items():
        if any(belongs(name, only) for name in names):
            print("measuring", *(name for name in names if belongs(name, only)), file=sys.stderr, flush=True)
            race = build()
            rows += run_race(replace(race, peers=tuple(p for p in race.peers if belongs(p.id, only))))
    rows += [
        Row(name, workload, peer, None, None, None, bar, floor, "not built yet", False)
        for name, (workload, peer, bar, floor) in NOT_BUILT.items()
        if belongs(name, only)
    ]
    return rows


def show(rows: list[Row]) -> Table:
    table = Table("id", "workload", "peer", "ours ms", "theirs ms", "ratio", "bar", "floor", "gate", "passed")
    for row in rows:
        ours, theirs = ("" if value is None else f"{1000 * value:.1f}" for value in (row.ours, row.theirs))
        ratio = "none" if row.ratio is None else f"{row.ratio:.2f}"
        figures = (ours, theirs, ratio, f"{row.bar:.2f}", f"{row.floor:.2f}")
        table.add_row(row.id, row.workload, row.peer, *figures, row.gate, "yes" if row.passed else "no")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", metavar="ID", help="one row, like C1, or all of C8")
    only = parser.parse_args().only
    torch.set_num_threads(1)
    rows = measure(only)
    if not rows:
        parser.error(f"no row is called {only!r}; the rows are {[*sum(RACES, ()), *NOT_BUILT]}")
    Path("bench.json").write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    Console(width=180).print(show(rows))


if __name__ == "__main__":
    main()
