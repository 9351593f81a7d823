"""A whole run: Ray Train with two workers, DeepSpeed in them, a real MLflow server beside them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow import MlflowClient
from safetensors.torch import load_file

from tests.train.conftest import Staged, free_port, make_run, on_two_workers
from viral.config import RunConfig, TrackingConfig
from viral.data.images import encode_png, pixels_of
from viral.model.adapter import load_adapter, read_card
from viral.model.backbone import base_hash, load_backbone
from viral.registration import register_adapter
from viral.storage import Storage
from viral.tracking import set_alias, tracking_server
from viral.train.checkpoint import Checkpoints
from viral.train.journal import read_journal
from viral.train.run import describe_run
from viral.train.state import grouped
from viral.train.trainer import TrainResult, train_adapter


@dataclass(frozen=True)
class Trained:
    """A run that two workers of Ray Train ended, after a checkpoint that others had left."""

    config: RunConfig
    result: TrainResult
    uri: str


@pytest.fixture(scope="module")
def trained(
    ray_cluster: None, tmp_path_factory: pytest.TempPathFactory, tiny_base: Path, staged: Staged
) -> Iterator[Trained]:
    run = on_two_workers(make_run(tmp_path_factory.mktemp("trained") / "run", tiny_base))
    run = run.model_copy(update={"tracking": TrackingConfig(port=free_port())})
    checkpoints = Checkpoints(Storage(run.storage).join("train", "checkpoints"), describe_run(run).fingerprint)
    checkpoints.save(3, grouped(staged[run.train.zero_stage, "whole"]["states"][3]))
    with tracking_server(run) as uri:
        yield Trained(run, train_adapter(run), uri)


def test_a_run_goes_on_after_its_checkpoint_and_ends_bit_for_bit_as_one_that_was_not_stopped(
    trained: Trained, staged: Staged
) -> None:
    last = Path(trained.config.storage, "train", "checkpoints", "step-000006.safetensors")
    whole, found = staged[trained.config.train.zero_stage, "whole"]["states"][6], load_file(last)
    assert found.keys() == whole.keys() and all(torch.equal(found[name], whole[name]) for name in whole)
    assert [line["step"] for line in read_journal(Storage(trained.config.storage).join("train"))] == [4, 6]


def test_a_finished_run_has_nothing_to_do(trained: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    assert train_adapter(trained.config).skipped and "nothing to do" in capsys.readouterr().out


def test_a_run_leaves_adapter_figures_and_pictures_that_agree(trained: Trained) -> None:
    config, adapter = trained.config, Path(trained.result.adapter)
    card = read_card(adapter)
    assert card.steps == 6 and card.base_sha256 == base_hash(config.base_folder())  # which training left as it was
    transformer = load_backbone(config.base_folder(), ("transformer",)).transformer
    assert transformer is not None
    load_adapter(transformer, adapter)
    train = Storage(config.storage).join("train")
    lines = read_journal(train)
    assert lines[-1]["loss"] == trained.result.loss and "system/cpu_utilization_percentage" in lines[0]
    assert {"step-000006.json", "step-000006.png"} <= set(train.join("validation").list())
    assert train.join("router").list() == ["step-000006.png"]
    scores = json.loads(train.join("validation").read("step-000006.json"))
    assert scores.keys() == {"validation/edge/edge_f1", "validation/negative/psnr"}
    assert read_card(Path(config.storage) / "dense").dense is not None


def test_a_run_is_tracked_as_a_child_with_curves_pictures_and_the_adapter_in_its_forms(trained: Trained) -> None:
    client, run_id = MlflowClient(trained.uri), trained.result.run_id
    run = client.get_run(run_id)
    parent = client.get_run(run.data.tags["mlflow.parentRunId"])
    assert run.info.status == parent.info.status == "FINISHED" and run.info.run_id != parent.info.run_id
    curve = {metric.step: metric.value for metric in client.get_metric_history(run_id, "loss")}
    assert list(curve) == [4, 6] and client.get_metric_history(run_id, "validation/negative/psnr")
    images = [item.path for item in client.list_artifacts(run_id, "images")]
    assert all(any(f"{key}+step+6" in path for path in images) for key in ("validation", "router"))
    files = {Path(item.path).name for item in client.list_artifacts(run_id, "adapter")}
    assert {"README.md", "card.json", "MLmodel", "moe_router.safetensors", "comfyui_lora.safetensors"} <= files
    assert run.data.tags["mlflow.note.content"].startswith("# viral-adapter")
    mlflow.set_tracking_uri(trained.uri)
    dense = mlflow.diffusers.load_model(client.download_artifacts(run_id, "dense"))
    assert dense.adapter_type == "lora" and Path(dense.base_model).is_dir()


def test_the_registered_adapter_answers_in_mlflows_own_loader(trained: Trained) -> None:
    config, uri = trained.config, trained.uri
    assert "has not been evaluated" in register_adapter(config, uri).reason
    set_alias(uri, config.tracking.model_name, "champion", "1")
    promoted = register_adapter(config, uri)
    assert promoted.champion and "by hand" in promoted.reason
    mlflow.set_tracking_uri(uri)
    model = mlflow.pyfunc.load_model(f"models:/{config.tracking.model_name}@champion")
    images = [encode_png(np.full((64, 64, 3), shade, np.uint8)) for shade in (30, 120, 200)]
    request = pd.DataFrame([images], columns=["example_source", "example_target", "query"])
    answer = model.predict(request, params={"steps": 2})
    assert pixels_of(answer[0]).shape == (64, 64, 3) and model.predict(request, params={"steps": 2}) == answer
    assert model.predict(request, params={"steps": 2, "example_guidance": 3.0}) != answer
