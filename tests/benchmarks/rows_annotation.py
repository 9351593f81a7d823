"""C15: rendering pairs through Ray Data, against the same work in a plain loop."""

import hashlib
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from ray import cloudpickle
from timing import CORES, GROWTH_CORES, Row, not_measured

from viral.config import RunConfig
from viral.data.crops import crop_boxes
from viral.data.pairs import PairMaker, PairPlan
from viral.data.photographs import photo_files, photographs
from viral.data.shards import MadeShard, Pool, ShardWork, make_shards
from viral.data_config import DataConfig
from viral.storage import Manifest, Storage

SIZE, CROPS, ROWS, TURNS = 64, 96, 40, 3
BAR, GROWTH_BAR = 0.8, 1.6


class Call(NamedTuple):
    """One shard made: rows, and the processor's and the wall's seconds when it began and ended."""

    rows: int
    cpu: tuple[float, float]
    wall: tuple[float, float]


class WatchedMaker:
    """A `PairMaker` that notes its calls in a file of its process."""

    def __init__(self, folder: str) -> None:
        self._make, self._notes = PairMaker(), Path(folder, str(os.getpid()))

    def __call__(self, work: list[PairPlan]) -> MadeShard:
        cpu, wall = time.process_time(), time.time()
        made = self._make(work)
        call = Call(len(work), (cpu, time.process_time()), (wall, time.time()))
        with self._notes.open("a") as notes:
            notes.write(json.dumps(call) + "\n")
        return made


@dataclass(frozen=True)
class Run:
    """Bytes of the shards, and the calls of each process."""

    sha256: dict[str, str]
    calls: list[list[Call]]

    @property
    def cpu(self) -> float:
        """Processor seconds an image after each process's first call, Ray's share between two calls included."""
        seconds = sum(calls[-1].cpu[1] - calls[0].cpu[1] for calls in self.calls)
        return seconds / sum(call.rows for calls in self.calls for call in calls[1:])

    @property
    def rate(self) -> float:
        """Images a second while all processes were at work."""
        start, end = max(calls[0].wall[1] for calls in self.calls), min(calls[-1].wall[1] for calls in self.calls)
        done = sum(call.rows for calls in self.calls for call in calls if start < call.wall[1] <= end)
        return done / (end - start)


def annotation() -> list[Row]:
    """Needs a Ray cluster; its workers get this module by value, as they cannot import it."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    plan = _plan()
    turns = [(_plain(plan), _through_ray(plan, 1)) for _ in range(TURNS)]
    equal = all(run.sha256 == turns[0][0].sha256 for turn in turns for run in turn)
    ours, theirs = (statistics.median(turn[i].cpu for turn in turns) for i in (1, 0))
    ratio = statistics.median(plain.cpu / ray.cpu for plain, ray in turns) if equal else None
    workload = (
        f"render {CROPS * len(DataConfig().tasks)} pairs of {SIZE} x {SIZE} through Ray Data, CPU-seconds an image"
    )
    gate = f"{'equal' if equal else 'different'} bytes of all shards"
    passed = ratio is not None and ratio >= BAR
    return [
        Row("C15", workload, "the same work in a plain loop", ours, theirs, ratio, BAR, 1.0, gate, passed),
        _growth(plan),
    ]


def rate(actors: int) -> float:
    """Pairs a second through Ray Data; needs a Ray cluster."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    return _through_ray(_plan(), actors).rate


def _growth(plan: list[ShardWork]) -> Row:
    about = ("C15.growth", "render pairs through Ray Data, 2 actors", "1 actor, seconds an image")
    if CORES < GROWTH_CORES:
        return not_measured(*about, GROWTH_BAR, 2.0)
    one, two = _through_ray(plan, 1), _through_ray(plan, 2)
    ratio, equal = two.rate / one.rate, one.sha256 == two.sha256
    gate = f"{'equal' if equal else 'different'} bytes of all shards"
    passed = equal and ratio >= GROWTH_BAR
    return Row(*about, 1 / two.rate, 1 / one.rate, ratio if equal else None, GROWTH_BAR, 2.0, gate, passed)


def _plan() -> list[ShardWork]:
    config = RunConfig()
    survey = photographs(config, photo_files(config))
    crops = crop_boxes(survey.photographs, CROPS, SIZE)
    rows = [PairPlan(task, photo, box, SIZE, 0) for photo, box in crops for task in config.data.tasks]
    starts = range(0, len(rows), ROWS)
    return [ShardWork(f"shard-{i:05d}.parquet", len(rows[i : i + ROWS]), rows[i : i + ROWS]) for i in starts]


def _plain(plan: list[ShardWork]) -> Run:
    with TemporaryDirectory() as folder:
        maker = WatchedMaker(folder)
        return Run({item.name: hashlib.sha256(maker(item.work).data).hexdigest() for item in plan}, _calls(folder))


def _through_ray(plan: list[ShardWork], actors: int) -> Run:
    with TemporaryDirectory() as folder:
        notes = Path(folder, "notes")
        notes.mkdir()
        maker: Callable[[], WatchedMaker] = partial(WatchedMaker, str(notes))
        made = make_shards(
            "benchmark", Storage(str(Path(folder, "pairs"))), Manifest(fingerprint="bench"), plan, maker, Pool(actors)
        )
        return Run({shard.name: shard.sha256 for shard in made.shards}, _calls(str(notes)))


def _calls(folder: str) -> list[list[Call]]:
    return [[Call(*json.loads(line)) for line in path.read_text().splitlines()] for path in Path(folder).iterdir()]
