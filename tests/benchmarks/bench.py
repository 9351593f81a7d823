"""What the platform exists for against what people would use instead, in one run: a table, and bench.json.

C1 to C14: both arms in turn on one thread of one process; processor time, least of seven runs, median ratio of five
such repeats (three of C7, C9 and C11, whose runs are sums of many passes). C15 to C17 start Ray, take the arms in turn
and say what they time. A row whose arms disagree has no ratio. Rows of one race share our arm; `--only` takes an id, or
its part before the dot.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # serve/ runs from the checkout

import rows_annotation  # noqa: E402
import rows_context  # noqa: E402
import rows_data  # noqa: E402
import rows_distributed  # noqa: E402
import rows_filter  # noqa: E402
import rows_mining  # noqa: E402
import rows_moe  # noqa: E402
import rows_serving  # noqa: E402
import rows_training  # noqa: E402
import rows_vae  # noqa: E402
import torch  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from timing import Race, Row, run_race  # noqa: E402

from viral.cluster import connect  # noqa: E402
from viral.config import RunConfig  # noqa: E402

RACES: dict[tuple[str, ...], Callable[[], Race]] = {
    ("C1", "C2", "C3", "C4"): rows_moe.mixtures,
    ("C4.8",): rows_moe.many_experts,
    ("C5.256",): partial(rows_moe.plain, 256),
    ("C5.1024",): partial(rows_moe.plain, 1024),
    ("C6",): rows_context.forward,
    ("C7",): partial(rows_context.loop, "C7", 40, 3.3),
    ("C8.8",): partial(rows_context.loop, "C8.8", 8, 2.7),
    ("C8.4",): partial(rows_context.loop, "C8.4", 4, 2.2),
    ("C9", "C9.plain"): rows_filter.filtered,
    ("C10", "C10.full"): rows_training.step,
    ("C11", "C11.ours"): rows_training.targets,
    ("C12.parquet", "C12.files"): rows_data.random_reads,
    ("C13",): rows_mining.small_decode,
    ("C14.kmeans",): rows_mining.k_means,
    ("C14.neighbours",): rows_mining.exact_neighbours,
    ("V1",): rows_vae.encode_frames,
}
"""What builds a race, by the rows that it gives."""
ON_RAY: dict[tuple[str, ...], Callable[[], list[Row]]] = {
    ("C15", "C15.growth"): rows_annotation.annotation,
    ("C16.latency", "C16.replicas"): rows_serving.serving,
    ("C17",): rows_distributed.two_workers,
}
"""What measures rows on a Ray cluster."""


def belongs(name: str, only: str | None) -> bool:
    return only is None or only in (name, name.partition(".")[0])


def measure(only: str | None) -> list[Row]:
    rows: list[Row] = []
    for names in chosen(RACES, only):
        race = RACES[names]()
        rows += run_race(replace(race, peers=tuple(peer for peer in race.peers if belongs(peer.id, only))))
    if any(belongs(name, only) for names in ON_RAY for name in names):
        with connect(RunConfig()):
            for names in chosen(ON_RAY, only):
                rows += [row for row in ON_RAY[names]() if belongs(row.id, only)]
    return rows


def chosen(builders: dict[tuple[str, ...], Callable], only: str | None) -> list[tuple[str, ...]]:
    """Keys of the builders that give a wanted row, each announced when its turn comes."""
    return [names for names in builders if any(belongs(name, only) for name in names)]


def show(rows: list[Row]) -> Table:
    table = Table("id", "workload", "peer", "ours ms", "theirs ms", "ratio", "bar", "floor", "gate", "passed")
    for row in rows:
        ours, theirs = ("" if value is None else f"{1000 * value:.1f}" for value in (row.ours, row.theirs))
        ratio = "none" if row.ratio is None else f"{row.ratio:.2f}"
        figures = (ours, theirs, ratio, f"{row.bar:.2f}", f"{row.floor:.2f}")
        verdict = {True: "yes", False: "no", None: "not measured"}[row.passed]
        table.add_row(row.id, row.workload, row.peer, *figures, row.gate, verdict)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", metavar="ID", help="one row, like C1, or all of C8")
    only = parser.parse_args().only
    torch.set_num_threads(1)
    rows = measure(only)
    if not rows:
        parser.error(f"no row is called {only!r}; the rows are {[*sum([*RACES, *ON_RAY], ())]}")
    Path("bench.json").write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    Console(width=180).print(show(rows))


if __name__ == "__main__":
    main()
