"""The whole pipeline, killed at random moments with everything it started, ends as if it had not been."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.chaos.kills import kill_tree

ROOT = Path(__file__).parents[2]
KILLS = 3
SMALL = [
    "train.steps=40", "train.save_every=10", "evaluate.steps=2", "data.train_crops=24", "data.test_crops=40",
    "data.tasks=[negative, low_light]",
]  # fmt: skip
COMPARED = ("pairs/manifest.json", "latents/manifest.json", "evaluation/scores.parquet")


def start(storage: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(ROOT / "jobs/run_pipeline.py"), str(ROOT / "jobs/configs/tiny.yaml")]
    ports = ["tracking.port=5611", "serve.port=8611"]
    return subprocess.Popen([*command, f"storage={storage}", *ports, *SMALL], start_new_session=True)


@pytest.mark.timeout(3600)
def test_killed_pipeline_ends_with_the_bytes_of_an_undisturbed_one(tmp_path: Path) -> None:
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    began = time.monotonic()
    assert start(undisturbed).wait() == 0
    length = time.monotonic() - began
    dice = random.Random(time.time_ns())
    for _ in range(KILLS):
        process, moment = start(disturbed), dice.uniform(0.1, 0.9) * length
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            print(f"killed after {moment:.0f} s of about {length:.0f} s")
            kill_tree(process)
    assert start(disturbed).wait() == 0
    weights = [str(path.relative_to(undisturbed)) for path in undisturbed.glob("adapter/*.safetensors")]
    assert weights
    for name in (*COMPARED, *weights):
        assert (disturbed / name).read_bytes() == (undisturbed / name).read_bytes(), name
