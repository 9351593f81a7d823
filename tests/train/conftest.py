"""A small table of latents and a run on it."""

from pathlib import Path

import numpy as np
import pytest

from viral.config import AdapterConfig, RunConfig, TrainConfig
from viral.data.latents import TEXT, LatentTable, latents_arrow, text_file
from viral.storage import Manifest, Storage, describe_shard, write_manifest

CHANNELS, SIDE, TEXT_WIDTH = 16, 4, 64
TASKS = ("edge", "negative")
TRAIN_ROWS, TEST_ROWS = 6, 2


def write_latents(storage: Storage) -> None:
    """A table of two tasks with six training and two test pairs each, targets that follow from their sources."""
    rng = np.random.default_rng(0)
    rows = [_row(rng, task, i) for task in TASKS for i in range(TRAIN_ROWS + TEST_ROWS)]
    files = {"shard-00000.arrow": latents_arrow(rows), TEXT: text_file(rng.normal(size=(3, TEXT_WIDTH)))}
    counts = {"shard-00000.arrow": len(rows), TEXT: 1}
    for name, data in files.items():
        storage.write(name, data)
    shards = tuple(describe_shard(name, counts[name], data, {}) for name, data in files.items())
    write_manifest(storage, Manifest(fingerprint="of a test", complete=True, shards=shards))


def _row(rng: np.random.Generator, task: str, i: int) -> dict:
    source = rng.normal(size=(CHANNELS, SIDE, SIDE)).astype(np.float16)
    target = -source if task == "negative" else np.abs(source)
    return {
        "pair_id": f"{task}-{i}",
        "task": task,
        "split": "train" if i < TRAIN_ROWS else "test",
        "source_id": f"photograph-{i}",
        "source": source.tobytes(),
        "target": target.tobytes(),
        "channels": CHANNELS,
        "height": SIDE,
        "width": SIDE,
    }


@pytest.fixture
def config(tmp_path: Path, tiny_base: Path) -> RunConfig:
    """A run of six steps that saves at the third."""
    run = RunConfig(
        storage=str(tmp_path / "run"),
        base=str(tiny_base),
        adapter=AdapterConfig(rank=2, alpha=2, num_experts=3, expert_rank=2, expert_alpha=2),
        train=TrainConfig(
            steps=6, batch_size=4, micro_batch=2, workers=1, log_every=2, save_every=3, learning_rate=1e-2
        ),
    )
    write_latents(Storage(run.storage).join("latents"))
    return run


@pytest.fixture
def table(config: RunConfig) -> LatentTable:
    return LatentTable(Storage(config.storage).join("latents"))
