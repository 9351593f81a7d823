"""A small table of latents and a run on it."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from viral.config import AdapterConfig, RunConfig, TrainConfig
from viral.data.latents import TEXT, LatentTable, latents_arrow, text_file
from viral.storage import Manifest, Storage, describe_shard, write_manifest
from viral.train.state import grouped

CHANNELS, SIDE, TEXT_WIDTH = 16, 4, 64
FILL_TEXT, FILL_POOLED = 32, 24
TASKS = ("edge", "negative")
TRAIN_ROWS, TEST_ROWS = 6, 2
STAGES, TURNS, WORLD = (0, 1, 2, 3), ("whole", "resumed"), 2

Staged = dict[tuple[int, str], dict[str, Any]]


def write_latents(storage: Storage) -> None:
    """A table of two tasks with six training and two test pairs each, targets that follow from their sources."""
    rng = np.random.default_rng(0)
    rows = [_row(rng, task, i) for task in TASKS for i in range(TRAIN_ROWS + TEST_ROWS)]
    write_table(storage, rows, text_file(rng.normal(size=(3, TEXT_WIDTH))))


def write_diptychs(storage: Storage) -> None:
    """The same pairs side by side, with an instruction of its own for each."""
    rng = np.random.default_rng(0)
    rows = [_diptych(rng, _row(rng, task, i)) for task in TASKS for i in range(TRAIN_ROWS + TEST_ROWS)]
    write_table(storage, rows, text_file(rng.normal(size=(5, FILL_TEXT)), rng.normal(size=FILL_POOLED)))


def write_table(storage: Storage, rows: list[dict], text: bytes) -> None:
    """A finished table of one shard and its constant text."""
    files = {"shard-00000.arrow": latents_arrow(rows), TEXT: text}
    counts = {"shard-00000.arrow": len(rows), TEXT: 1}
    for name, data in files.items():
        storage.write(name, data)
    shards = tuple(describe_shard(name, counts[name], data, {}) for name, data in files.items())
    write_manifest(storage, Manifest(fingerprint="of a test", complete=True, shards=shards))


def _diptych(rng: np.random.Generator, row: dict) -> dict:
    source, target = (
        np.frombuffer(row[name], np.float16).reshape(CHANNELS, SIDE, SIDE) for name in ("source", "target")
    )
    masked, canvas = (np.concatenate([source, right], axis=2) for right in (0 * source, target))
    return {
        **row, "source": masked.tobytes(), "target": canvas.tobytes(), "width": 2 * SIDE,
        "text": rng.normal(size=(5, FILL_TEXT)).astype(np.float16).tobytes(),
        "pooled": rng.normal(size=FILL_POOLED).astype(np.float16).tobytes(),
    }  # fmt: skip


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
    return make_run(tmp_path / "run", tiny_base)


def make_run(storage: Path, base: Path) -> RunConfig:
    """A run of six steps that saves at the third, with its latents."""
    run = RunConfig(
        storage=str(storage),
        base=str(base),
        adapter=AdapterConfig(rank=2, alpha=2, num_experts=3, expert_rank=2, expert_alpha=2),
        train=TrainConfig(
            steps=6, batch_size=4, micro_batch=2, workers=1, log_every=2, save_every=3, learning_rate=1e-2
        ),
    )
    write_latents(Storage(run.storage).join("latents"))
    return run


def on_two_workers(run: RunConfig) -> RunConfig:
    """The run with half of each batch for either of two workers, and an average."""
    changes = {"workers": WORLD, "micro_batch": 1, "ema": 0.5}
    return run.model_copy(update={"train": run.train.model_copy(update=changes)})


@pytest.fixture(scope="session")
def staged(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Staged:
    """States by step and shapes, by ZeRO stage and turn, of runs on two processes: whole, and resumed at step 3."""
    folder = tmp_path_factory.mktemp("staged")
    run = on_two_workers(make_run(folder / "run", tiny_base))
    mp.spawn(take_turns, (free_port(), run, str(folder)), nprocs=WORLD, join=True)
    return {(stage, turn): torch.load(folder / f"{stage}-{turn}.pt") for stage in STAGES for turn in TURNS}


def take_turns(rank: int, port: int, config: RunConfig, folder: str) -> None:
    """One of two processes: for every stage run six steps, and three of them again after a checkpoint."""
    from viral.train.checkpoint import Checkpoint
    from viral.train.loop import Hooks, train
    from viral.train.worker import make_engine, make_feed, settle

    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "WORLD_SIZE": str(WORLD)}
    os.environ |= {"LOCAL_RANK": str(rank)}
    settle(config, WORLD)
    dist.init_process_group("gloo", rank=rank, world_size=WORLD)
    feed = make_feed(config, rank, WORLD)
    for stage in STAGES:
        staged = config.model_copy(update={"train": config.train.model_copy(update={"zero_stage": stage})})
        checkpoint = None
        for turn in TURNS:
            engine, states = make_engine(staged, checkpoint), {}
            keep = Hooks(lambda record: None, lambda step: states.update({step: engine.state()}))  # noqa: B023
            train(engine, feed, staged, keep, checkpoint.step if checkpoint else 0)
            with engine.result() as transformer:
                shapes = {name: tuple(p.shape) for name, p in transformer.named_parameters() if p.requires_grad}
            if rank == 0:
                flat = {step: state.flat() for step, state in states.items()}
                torch.save({"states": flat, "shapes": shapes}, f"{folder}/{stage}-{turn}.pt")
            checkpoint = checkpoint or Checkpoint(3, grouped(states[3].flat()))
    dist.destroy_process_group()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def table(config: RunConfig) -> LatentTable:
    return LatentTable(Storage(config.storage).join("latents"))


@pytest.fixture
def fill_config(config: RunConfig, fill_base: Path, tmp_path: Path) -> RunConfig:
    """The same run on FLUX.1 Fill."""
    train = config.train.model_copy(update={"text": "instruction", "prompt_dropout": 0.25})
    run = config.model_copy(update={"base": str(fill_base), "train": train, "storage": str(tmp_path / "fill")})
    write_diptychs(Storage(run.storage).join("latents"))
    return run


@pytest.fixture
def diptychs(fill_config: RunConfig) -> LatentTable:
    return LatentTable(Storage(fill_config.storage).join("latents"))


def rows_of(table: LatentTable, **changes: list) -> list[dict]:
    """The table's rows as they were written, with other values in some columns."""
    rows = [
        {"pair_id": pair.pair_id, "task": pair.task, "split": "train" if i % 8 < 6 else "test",
         "source_id": pair.source_id, "source": pair.source.astype(np.float16).tobytes(),
         "target": pair.target.astype(np.float16).tobytes(), "channels": 16, "height": 4, "width": 4}
        for i, pair in enumerate(table[j] for j in range(len(table)))
    ]  # fmt: skip
    for name, values in changes.items():
        rows = [{**row, name: value} for row, value in zip(rows, values, strict=True)]
    return rows


@pytest.fixture
def make_table(table: LatentTable, tmp_path: Path) -> Callable[..., LatentTable]:
    """Writes a table like the usual one with some columns changed."""

    def make(**changes: list) -> LatentTable:
        place = Storage(str(tmp_path / "changed"))
        write_table(place, rows_of(table, **changes), text_file(table.text))
        return LatentTable(place)

    return make
