"""Training on two workers, killed at random moments, learns bit for bit what an undisturbed run learns."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient

from tests.chaos.kills import kill_tree
from viral.config import RunConfig, TrackingConfig
from viral.storage import Storage
from viral.tracking_server import tracking_server

ROOT = Path(__file__).parents[2]
LOGGED_BEFORE_KILL = (0, 1, 1, 1, 2)
"""Times that a run has told its loss before it is killed, soon after; at 0 it is killed while it starts."""
SMALL = [
    "train.steps=60", "train.save_every=5", "train.log_every=5", "train.ema=0.9", "data.train_crops=24",
    "data.test_crops=40", "data.tasks=[negative, low_light]", "train.max_failures=20", "tracking.port=5612",
]  # fmt: skip
LAST = "train/checkpoints/step-000060.safetensors"
Choose = Callable[[psutil.Process], psutil.Process | None]


def start(storage: Path | str, *more: str, stderr: int | None = None) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(ROOT / "jobs/train_adapter.py"), str(ROOT / "jobs/configs/tiny.yaml")]
    return subprocess.Popen([*command, f"storage={storage}", *SMALL, *more], start_new_session=True, stderr=stderr)


def worker_of(driver: psutil.Process) -> psutil.Process | None:
    """One of the workers that train, if they have been started."""
    found = [child for child in driver.children(recursive=True) if "RayTrainWorker" in " ".join(child.cmdline())]
    return random.choice(found) if found else None


def copy_of(whole: Path, storage: Path) -> Path:
    """A folder with the pairs and latents of a finished run, and nothing of its training."""
    for name in ("pairs", "latents"):
        shutil.copytree(whole / name, storage / name)
    return storage


def lines(storage: Path) -> list[dict[str, float]]:
    """What the run has told of itself so far."""
    file = storage / "train/metrics.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def losses(storage: Path) -> dict[int, str]:
    """The loss curve, exactly."""
    return {line["step"]: float(line["loss"]).hex() for line in lines(storage)}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    storage = tmp_path_factory.mktemp("undisturbed")
    assert start(storage).wait() == 0
    return storage


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("half", ["first", "second"])
def test_ten_kills_of_the_whole_job_change_no_bit(undisturbed: Path, tmp_path: Path, half: str) -> None:
    storage, seed = copy_of(undisturbed, tmp_path / "killed"), time.time_ns()
    dice = random.Random(seed)
    print(f"dice thrown from {seed}")
    for logged in dice.sample(LOGGED_BEFORE_KILL, len(LOGGED_BEFORE_KILL)):
        process = start(storage)
        if logged:
            wait_for_lines(process, storage, len(lines(storage)) + logged)
        time.sleep(dice.uniform(0, 3 if logged else 30))
        assert process.poll() is None, "the run ended before it could be killed"
        print(f"killed after {logged} more lines, at steps {[line['step'] for line in lines(storage)]}")
        kill_tree(process)
    assert start(storage).wait() == 0
    assert losses(storage) == losses(undisturbed)
    assert (storage / LAST).read_bytes() == (undisturbed / LAST).read_bytes()


def wait_for_lines(process: subprocess.Popen[bytes], storage: Path, count: int) -> None:
    """Until the run's own file of losses has `count` lines."""
    while len(lines(storage)) < count:
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.1)


@pytest.mark.timeout(3600)
def test_kills_of_workers_change_no_bit_and_end_no_job(undisturbed: Path, tmp_path: Path) -> None:
    storage = copy_of(undisturbed, tmp_path / "workers")
    process, kills = start(storage), 0
    while process.poll() is None and kills < 3:
        before = len(lines(storage))
        worker = worker_of(psutil.Process(process.pid))
        if worker is not None and before > kills:
            worker.kill()
            kills += 1
        time.sleep(5)
    assert process.wait() == 0 and kills
    assert losses(storage) == losses(undisturbed)
    assert (storage / LAST).read_bytes() == (undisturbed / LAST).read_bytes()


@pytest.mark.timeout(3600)
def test_two_workers_then_one_then_two_go_on_in_the_same_order(undisturbed: Path, tmp_path: Path) -> None:
    storage = copy_of(undisturbed, tmp_path / "resized")
    for workers, until in ((2, 15), (1, 35)):
        process = start(storage, f"train.workers={workers}")
        while process.poll() is None and not (storage / f"train/checkpoints/step-{until:06d}.json").exists():
            time.sleep(0.5)
        kill_tree(process)
    assert start(storage).wait() == 0
    resized, whole = (losses(place) for place in (storage, undisturbed))
    assert resized.keys() == whole.keys()
    for step, value in whole.items():
        # The same samples in the same order; their sum is rounded otherwise where one worker takes them all.
        assert float.fromhex(resized[step]) == pytest.approx(float.fromhex(value), rel=1e-2), step


@pytest.mark.timeout(3600)
def test_a_tracking_server_that_is_silent_for_a_minute_gets_all_curves_later(undisturbed: Path, tmp_path: Path) -> None:
    storage = copy_of(undisturbed, tmp_path / "outage")
    with tracking_server(RunConfig(storage=str(storage), tracking=TrackingConfig(port=5613))) as uri:
        server = json.loads((storage / "mlflow/server.json").read_text())["pid"]
        process = start(storage, f"tracking.uri={uri}")
        while process.poll() is None and not lines(storage):
            time.sleep(0.5)
        os.killpg(server, signal.SIGSTOP)
        time.sleep(60)
        os.killpg(server, signal.SIGCONT)
        assert process.wait() == 0
        run_id = json.loads((storage / "train/done.json").read_text())["run_id"]
        seen = MlflowClient(uri).get_metric_history(run_id, "loss")
    assert {metric.step: metric.value.hex() for metric in seen} == losses(storage) == losses(undisturbed)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own; mounting it takes the rights of root."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(file: Path) -> None:
    """Take all the room that is left."""
    with pytest.raises(OSError, match="No space left"), file.open("wb", buffering=0) as ballast:
        while True:
            ballast.write(bytes(1 << 12))


@pytest.mark.timeout(3600)
def test_a_full_disk_is_told_and_the_run_goes_on_when_there_is_room(undisturbed: Path, disk: Path) -> None:
    storage = copy_of(undisturbed, disk / "full")
    process = start(storage, "train.max_failures=1", stderr=subprocess.PIPE)
    while process.poll() is None and not (storage / "train/checkpoints/step-000010.json").exists():
        time.sleep(0.05)
    fill(disk / "ballast")
    _, told = process.communicate()
    assert process.returncode == 2 and told.decode().splitlines()[-1].startswith("error: "), told.decode()
    assert "no room is left there" in told.decode().splitlines()[-1]
    (disk / "ballast").unlink()
    assert start(storage).wait() == 0
    assert losses(storage) == losses(undisturbed)
    assert (storage / LAST).read_bytes() == (undisturbed / LAST).read_bytes()


@pytest.mark.timeout(3600)
def test_a_run_on_an_object_store_learns_the_same_and_writes_nothing_elsewhere(
    undisturbed: Path, bucket: str, tmp_path: Path
) -> None:
    with tracking_server(RunConfig(storage=str(tmp_path), tracking=TrackingConfig(port=5614))) as uri:
        assert start(bucket, f"tracking.uri={uri}").wait() == 0
    train = Storage(bucket).join("train")
    assert train.join("checkpoints").read(LAST.rpartition("/")[2]) == (undisturbed / LAST).read_bytes()
    assert {"card.json", "README.md"} <= set(Storage(bucket).join("adapter").list())
