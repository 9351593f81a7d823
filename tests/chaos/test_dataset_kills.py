"""The dataset's job, killed at random moments in part or in whole, ends as if it had not been."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

JOB = Path(__file__).parents[2] / "jobs" / "annotate_dataset.py"
KILLS = 2
MIXTURE = """
data: {{size: 48, rows_per_shard: 3, actors: 2}}
dataset:
  test_share: 0.3
  sources:
    scenes: {{kind: scenes}}
    edits: {{kind: scenes, edits: [all], first: 100}}
    photographs: {{kind: images, path: {photographs}}}
  parts:
    scenes: {{source: scenes, images: 30, tasks: [depth, entity, interactive, normal_inverse]}}
    edits: {{source: edits, images: 20, tasks: [edit]}}
    photographs: {{source: photographs, images: 20, tasks: [edge, colorization, watermark]}}
"""
Kill = Callable[[subprocess.Popen[bytes], random.Random], None]


def family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The driver and all that it started."""
    try:
        return [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def kill(members: list[psutil.Process]) -> None:
    for member in members:
        try:
            os.kill(member.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def kill_an_actor(process: subprocess.Popen[bytes], dice: random.Random) -> None:
    """One actor that makes shards, as a machine's memory killer does; the job goes on."""
    workers = [member for member in family(process) if _title(member).startswith("ray::MapWorker")]
    kill(dice.sample(workers, min(1, len(workers))))


def kill_the_driver(process: subprocess.Popen[bytes], dice: random.Random) -> None:
    """The job's own process alone; what it started has to see for itself that it is gone."""
    started = family(process)[1:]
    kill([psutil.Process(process.pid)] if process.poll() is None else [])
    process.wait()
    psutil.wait_procs(started, timeout=5)
    kill(started)  # so that the next start finds an idle machine


def kill_all(process: subprocess.Popen[bytes], dice: random.Random) -> None:
    """Everything at once, as a machine does that loses power."""
    kill(family(process))
    process.wait()


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def tables(place: Path) -> dict[str, bytes]:
    """Every file of the tables: images, labels, pairs, and their manifests."""
    return {str(path.relative_to(place)): path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration, with a folder of photographs of which one is damaged and two are equal."""
    folder = tmp_path_factory.mktemp("mixture")
    photographs = folder / "photographs"
    photographs.mkdir()
    for seed in range(20):
        coarse = np.random.default_rng(seed % 19).integers(0, 256, (6, 8, 3)).astype(np.uint8)
        Image.fromarray(coarse).resize((96, 72), Image.Resampling.NEAREST).save(photographs / f"{seed:02d}.png")
    (photographs / "05.png").write_bytes((photographs / "05.png").read_bytes()[:60])
    (folder / "run.yaml").write_text(MIXTURE.format(photographs=photographs))
    return folder / "run.yaml"


def start(mixture: Path, storage: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(JOB), str(mixture), f"storage={storage}"]
    return subprocess.Popen(command, start_new_session=True)


@pytest.fixture(scope="module")
def undisturbed(mixture: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], float]:
    """The files of a run that nobody touched, and how long it took."""
    storage, began = tmp_path_factory.mktemp("undisturbed") / "run", time.monotonic()
    assert start(mixture, storage).wait() == 0
    return tables(storage), time.monotonic() - began


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("strike", [kill_an_actor, kill_the_driver, kill_all])
def test_killed_at_random_moments_it_ends_with_the_same_bytes(
    strike: Kill, mixture: Path, undisturbed: tuple[dict[str, bytes], float], tmp_path: Path
) -> None:
    whole, length = undisturbed
    seed = time.time_ns()
    dice, storage, struck = random.Random(seed), tmp_path / "run", 0
    for _ in range(KILLS):
        process, moment = start(mixture, storage), dice.uniform(0.3, 0.7) * length
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            strike(process, dice)
            struck += 1
            done = len(list(storage.rglob("shard-*.parquet")))
            print(f"{strike.__name__} after {moment:.0f} s of about {length:.0f} s, seed {seed}: {done} shards")
            if process.poll() is None:
                assert process.wait(5 * length) == 0
    assert start(mixture, storage).wait() == 0
    assert struck and tables(storage) == whole
