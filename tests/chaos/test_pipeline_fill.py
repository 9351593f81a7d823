"""The whole pipeline on a FLUX.1 Fill folder: from photographs to an edit by instruction over HTTP."""

import subprocess
import sys
from pathlib import Path

import pytest

from serve.answer import answer_once
from viral.cluster import connect
from viral.config import RunConfig, resolve
from viral.evaluation.summary import EvaluationSummary
from viral.provenance import read_trace
from viral.tracking_server import tracking_server

ROOT = Path(__file__).parents[2]
SMALL = [
    "train.start_from=null", "train.text=instruction", "train.steps=20", "train.save_every=10", "train.targets=1",
    "train.context=full", "evaluate.steps=2", "data.train_crops=24", "data.test_crops=40", "data.tasks=[negative]",
    "serve.steps=2", "tracking.port=5621", "serve.port=8621",
]  # fmt: skip


@pytest.mark.timeout(1800)
def test_version_of_a_fill_base_is_registered_and_once_champion_answers_an_instruction(
    fill_base: Path, tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    words = [f"storage={tmp_path}", f"base={fill_base}", *SMALL]
    command = [sys.executable, str(ROOT / "jobs/run_pipeline.py"), str(ROOT / "jobs/configs/tiny.yaml"), *words]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "version 1 is not @champion" in done.stdout  # a base of random weights paints nothing better
    config = resolve(str(ROOT / "jobs/configs/tiny.yaml"), words)
    with tracking_server(config) as uri, connect(config):
        MlflowClient(uri).set_registered_model_alias(config.tracking.model_name, "champion", "1")
        files = answer_once(config, uri, scores_of(config), "1")
    assert read_trace(files["answer"].read_bytes())["instruction"]
    assert any("Invert" in name for name in files)


def scores_of(config: RunConfig) -> EvaluationSummary:
    return EvaluationSummary.model_validate_json(Path(config.storage, "evaluation/summary.json").read_text())
