"""A whole run: Ray Train with two workers, DeepSpeed in them, a real MLflow server beside them."""

import shutil
import socket
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from viral.config import RunConfig, TrackingConfig
from viral.model.adapter import load_adapter, read_card
from viral.model.backbone import base_hash, load_backbone
from viral.storage import Storage
from viral.train.journal import read_journal
from viral.train.trainer import TrainResult, train_adapter

pytestmark = pytest.mark.usefixtures("ray_cluster")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def on_two_workers(config: RunConfig, storage: Path) -> RunConfig:
    train = config.train.model_copy(update={"workers": 2, "micro_batch": 1})
    return config.model_copy(
        update={"storage": str(storage), "train": train, "tracking": TrackingConfig(port=free_port())}
    )


def stopped_after(step: int, whole: Path, storage: Path) -> None:
    """Leave at `storage` what a run killed after a checkpoint leaves."""
    for name in (f"step-{step:06d}.safetensors", f"step-{step:06d}.json"):
        Storage(str(storage)).join("train", "checkpoints").write(
            name, (whole / "train" / "checkpoints" / name).read_bytes()
        )


def test_a_run_on_two_workers_ends_with_an_adapter_and_resumes_bit_for_bit(
    config: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = base_hash(config.base_folder())
    whole = on_two_workers(config, Path(config.storage))
    result = train_adapter(whole)

    check_results(whole, result)
    assert base_hash(config.base_folder()) == before
    assert train_adapter(whole).skipped and "nothing to do" in capsys.readouterr().out

    resumed = on_two_workers(config, tmp_path / "resumed")
    shutil.copytree(Path(whole.storage) / "latents", tmp_path / "resumed" / "latents")
    stopped_after(3, Path(whole.storage), tmp_path / "resumed")
    train_adapter(resumed)
    last = ("train", "checkpoints", "step-000006.safetensors")
    first, second = (load_file(Path(run.storage).joinpath(*last)) for run in (whole, resumed))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert [line["step"] for line in read_journal(Storage(resumed.storage).join("train"))] == [4, 6]


def check_results(config: RunConfig, result: TrainResult) -> None:
    """Adapter, journal, picture and tracked run are there and agree."""
    card = read_card(Path(result.adapter))
    assert card.steps == 6 and card.base_sha256 == base_hash(config.base_folder())
    transformer = load_backbone(config.base_folder(), ("transformer",)).transformer
    assert transformer is not None
    load_adapter(transformer, Path(result.adapter))
    lines = read_journal(Storage(config.storage).join("train"))
    assert [line["step"] for line in lines] == [2, 4, 6] and lines[-1]["loss"] == result.loss
    assert "system/cpu_utilization_percentage" in lines[0]
    assert Storage(config.storage).join("train", "validation").list() == ["step-000003.png", "step-000006.png"]
