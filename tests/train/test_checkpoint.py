"""A checkpoint is whole or passed over with a message."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from viral.storage import Storage
from viral.train.checkpoint import Checkpoints
from viral.train.state import TrainingTensors


def tensors(value: float) -> TrainingTensors:
    def named() -> dict[str, torch.Tensor]:
        return {"blocks.0.lora_A": torch.full((2, 3), value), "router": torch.full((4,), value)}

    return TrainingTensors(named(), {"exp_avg": named(), "exp_avg_sq": named()})


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    checkpoints = Checkpoints(Storage(str(tmp_path)), "this run")
    for step in (10, 20, 30):
        checkpoints.save(step, tensors(step))
    return checkpoints


def test_the_last_two_are_kept_and_the_newest_is_read(checkpoints: Checkpoints) -> None:
    newest, troubles = checkpoints.newest()
    assert checkpoints.steps() == [20, 30] and not troubles
    assert newest is not None and newest.step == 30
    assert torch.equal(newest.tensors.moments["exp_avg"]["router"], torch.full((4,), 30.0))


@pytest.mark.parametrize("name", ["step-000030.safetensors", "step-000030.json"])
@pytest.mark.parametrize("keep", [0, 40])
def test_a_truncated_checkpoint_falls_back_on_the_one_before(
    checkpoints: Checkpoints, tmp_path: Path, name: str, keep: int
) -> None:
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:keep])
    newest, troubles = checkpoints.newest()
    assert newest is not None and newest.step == 20
    assert len(troubles) == 1 and name in troubles[0] and "damaged" in troubles[0]


def test_a_missing_file_falls_back_too(checkpoints: Checkpoints, tmp_path: Path) -> None:
    (tmp_path / "step-000030.safetensors").unlink()
    newest, troubles = checkpoints.newest()
    assert newest is not None and newest.step == 20 and "step-000030.safetensors" in troubles[0]


def test_tensors_without_their_contents_are_no_checkpoint(checkpoints: Checkpoints, tmp_path: Path) -> None:
    (tmp_path / "step-000030.json").unlink()
    newest, troubles = checkpoints.newest()
    assert newest is not None and newest.step == 20 and not troubles


def test_a_checkpoint_of_another_run_is_not_taken(checkpoints: Checkpoints, tmp_path: Path) -> None:
    newest, troubles = Checkpoints(Storage(str(tmp_path)), "another run").newest()
    assert newest is None and all("another run" in trouble for trouble in troubles)


def test_after_a_fall_back_saving_goes_on(checkpoints: Checkpoints, tmp_path: Path) -> None:
    (tmp_path / "step-000030.safetensors").write_bytes(b"")
    checkpoints.save(30, tensors(31))
    newest, troubles = checkpoints.newest()
    assert newest is not None and newest.tensors.adapter["router"][0] == 31 and not troubles


KILLED_EVERYWHERE = """
import json, os, shutil, sys
import torch
from pathlib import Path
from tests.train.test_checkpoint import tensors
from viral.storage import Storage
from viral.train.checkpoint import Checkpoints

def boundary(*_):
    global left
    left -= 1
    if left == 0:
        os._exit(9)

def save(folder, moment):
    global left
    checkpoints, delete = Checkpoints(Storage(folder), "this run"), Storage.delete
    left = moment
    sys.addaudithook(lambda event, args: boundary() if event.startswith(("open", "os.")) else None)
    Storage.delete = lambda self, name: (boundary(), delete(self, name))
    checkpoints.save(30, tensors(30))
    os._exit(0)

torch.set_num_threads(1)
found, status, moment = [], 9, 0
while status:
    moment += 1
    folder = f"{sys.argv[1]}/{moment}"
    checkpoints = Checkpoints(Storage(folder), "this run")
    for step in (10, 20):
        checkpoints.save(step, tensors(step))
    child = os.fork()
    if child == 0:
        save(folder, moment)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 9)
    newest, troubles = checkpoints.newest()
    found.append([newest.step, troubles, float(newest.tensors.adapter["router"][0])])
    checkpoints.save(30, tensors(31))  # what the run does when it is there again
    assert checkpoints.newest()[0].tensors.adapter["router"][0] == 31
print(json.dumps(found))
"""


def test_a_save_that_is_killed_at_any_moment_leaves_a_good_checkpoint(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", KILLED_EVERYWHERE, str(tmp_path)], cwd=root, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) > 10 and found[0][0] == 20 and found[-1][0] == 30
    for step, troubles, value in found:
        assert step in (20, 30) and value == step and troubles == []
