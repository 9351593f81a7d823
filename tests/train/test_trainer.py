"""A whole run: Ray Train with two workers, DeepSpeed in them, a real MLflow server beside them."""

import json
import shutil
import socket
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow import MlflowClient
from safetensors.torch import load_file

from viral.config import RunConfig, TrackingConfig
from viral.data.images import encode_png, pixels_of
from viral.model.adapter import load_adapter, read_card
from viral.model.backbone import base_hash, load_backbone
from viral.registration import register_adapter
from viral.storage import Storage
from viral.tracking import set_alias, tracking_server
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


def test_a_run_on_two_workers_is_tracked_loads_from_the_registry_and_resumes_bit_for_bit(
    config: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = base_hash(config.base_folder())
    whole = on_two_workers(config, Path(config.storage))
    with tracking_server(whole) as uri:
        result = train_adapter(whole)
        check_results(whole, result)
        check_tracked(uri, result.run_id)
        check_registered(whole, uri)
        assert base_hash(config.base_folder()) == before
        assert train_adapter(whole).skipped and "nothing to do" in capsys.readouterr().out

        resumed = on_two_workers(config, tmp_path / "resumed")
        resumed = resumed.model_copy(update={"tracking": TrackingConfig(uri=uri)})
        shutil.copytree(Path(whole.storage) / "latents", tmp_path / "resumed" / "latents")
        stopped_after(3, Path(whole.storage), tmp_path / "resumed")
        train_adapter(resumed)
    last = ("train", "checkpoints", "step-000006.safetensors")
    first, second = (load_file(Path(run.storage).joinpath(*last)) for run in (whole, resumed))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert [line["step"] for line in read_journal(Storage(resumed.storage).join("train"))] == [4, 6]


def check_results(config: RunConfig, result: TrainResult) -> None:
    """Adapter, journal and pictures are there and agree."""
    card = read_card(Path(result.adapter))
    assert card.steps == 6 and card.base_sha256 == base_hash(config.base_folder())
    transformer = load_backbone(config.base_folder(), ("transformer",)).transformer
    assert transformer is not None
    load_adapter(transformer, Path(result.adapter))
    lines = read_journal(Storage(config.storage).join("train"))
    assert [line["step"] for line in lines] == [2, 4, 6] and lines[-1]["loss"] == result.loss
    assert "system/cpu_utilization_percentage" in lines[0]
    train = Storage(config.storage).join("train")
    assert {"step-000006.json", "step-000006.png"} <= set(train.join("validation").list())
    assert train.join("router").list() == ["step-000003.png", "step-000006.png"]
    scores = json.loads(train.join("validation").read("step-000006.json"))
    assert scores.keys() == {"validation/edge/edge_f1", "validation/negative/psnr"}
    assert read_card(Path(config.storage) / "dense").dense is not None


def check_tracked(uri: str, run_id: str) -> None:
    """The run is a child with curves, pictures by step, and the adapter in its forms with a card people can read."""
    client = MlflowClient(uri)
    run = client.get_run(run_id)
    parent = client.get_run(run.data.tags["mlflow.parentRunId"])
    assert run.info.status == parent.info.status == "FINISHED" and run.info.run_id != parent.info.run_id
    curve = {metric.step: metric.value for metric in client.get_metric_history(run_id, "loss")}
    assert list(curve) == [2, 4, 6] and client.get_metric_history(run_id, "validation/negative/psnr")
    images = [item.path for item in client.list_artifacts(run_id, "images")]
    assert all(any(f"{key}+step+6" in path for path in images) for key in ("validation", "router"))
    files = {Path(item.path).name for item in client.list_artifacts(run_id, "adapter")}
    assert {"README.md", "card.json", "MLmodel", "moe_router.safetensors", "comfyui_lora.safetensors"} <= files
    dense = mlflow.diffusers.load_model(client.download_artifacts(run_id, "dense"))
    assert dense.adapter_type == "lora" and Path(dense.base_model).is_dir()


def check_registered(config: RunConfig, uri: str) -> None:
    """MLflow's own loader opens the registered adapter, which answers (A, A', B)."""
    assert "has not been evaluated" in register_adapter(config, uri).reason
    set_alias(uri, config.tracking.model_name, "champion", "1")
    mlflow.set_tracking_uri(uri)
    model = mlflow.pyfunc.load_model(f"models:/{config.tracking.model_name}@champion")
    images = [encode_png(np.full((64, 64, 3), shade, np.uint8)) for shade in (30, 120, 200)]
    request = pd.DataFrame([images], columns=["example_source", "example_target", "query"])
    answer = model.predict(request, params={"steps": 2})
    assert pixels_of(answer[0]).shape == (64, 64, 3) and model.predict(request, params={"steps": 2}) == answer
