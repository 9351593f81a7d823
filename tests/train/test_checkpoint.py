"""A checkpoint is whole or passed over with a message."""

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
