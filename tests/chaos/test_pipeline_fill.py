"""The whole pipeline on a FLUX.1 Fill folder: from photographs to an edit by instruction over HTTP."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from viral.provenance import read_trace

ROOT = Path(__file__).parents[2]
SMALL = [
    "train.text=instruction", "train.steps=20", "train.save_every=10", "train.targets=1", "train.context=full",
    "evaluate.steps=2", "data.train_crops=24", "data.test_crops=40", "data.tasks=[negative]", "serve.steps=2",
    "tracking.port=5621", "serve.port=8621",
]  # fmt: skip


@pytest.mark.timeout(1800)
def test_champion_of_a_fill_base_is_served_and_answers_an_instruction(fill_base: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "jobs/run_pipeline.py"), str(ROOT / "jobs/configs/tiny.yaml")]
    words = [f"storage={tmp_path}", f"base={fill_base}", *SMALL]
    first = subprocess.run([*command, *words], capture_output=True, text=True)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "@champion" in first.stdout
    assert {path.name for path in (tmp_path / "answer").iterdir()} == {"query.png", "answer.png", "request.txt"}
    answer, query = (tmp_path / "answer" / name for name in ("answer.png", "query.png"))
    assert Image.open(answer).size == Image.open(query).size
    assert read_trace(answer.read_bytes())["instruction"]
    again = subprocess.run([*command, *words], capture_output=True, text=True)
    assert again.returncode == 0 and "has answered this question already" in again.stdout, again.stderr
