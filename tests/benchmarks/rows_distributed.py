"""C17: training steps of two workers through Ray Train and DeepSpeed ZeRO-1, against torch's DDP by hand."""

import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from timing import Row
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from viral.config import RunConfig
from viral.data.latents import TEXT, latents_arrow, text_file
from viral.model.adapter import adapter_parameters, add_adapter
from viral.model.backbone import base_hash, load_backbone
from viral.storage import Manifest, Storage, describe_shard, write_manifest
from viral.train.journal import read_journal
from viral.train.loss import Losses, Objective, Weighting
from viral.train.trainer import fit
from viral.train.worker import Job, make_feed, open_transformer

WORKERS, STEPS, EVERY, TURNS, TOLERANCE = 2, 40, 10, 2, 1e-4
SHAPE, ROWS = (16, 24, 24), 8
BAR = 0.95


@dataclass(frozen=True)
class Training:
    """Mean losses of every stretch of steps, and the seconds of one step in each but the first."""

    losses: list[float]
    seconds: float


def two_workers() -> list[Row]:
    """Needs a Ray cluster of two free processors."""
    with TemporaryDirectory() as folder:
        config = _config(folder)
        _write_latents(Storage(config.storage).join("latents"))
        turns = [(_by_hand(config, Path(folder, f"ddp-{i}")), _through_ray(config)) for i in range(TURNS)]
    error = max(
        abs(ours - theirs) / abs(theirs)
        for by_hand, by_ray in turns
        for ours, theirs in zip(by_ray.losses, by_hand.losses, strict=True)
    )
    equal = error <= TOLERANCE
    ours, theirs = (statistics.median(turn[i].seconds for turn in turns) for i in (1, 0))
    ratio = statistics.median(by_hand.seconds / by_ray.seconds for by_hand, by_ray in turns) if equal else None
    gate = f"relative difference of the losses {error:.1e} of at most {TOLERANCE:.0e}"
    workload = f"a training step through Ray Train and ZeRO-1, {WORKERS} workers, 144 tokens an image, wall clock"
    passed = ratio is not None and ratio >= BAR
    return [Row("C17", workload, "torch's DDP by hand", ours, theirs, ratio, BAR, 1.0, gate, passed)]


def _config(folder: str) -> RunConfig:
    train = {
        "steps": STEPS,
        "batch_size": 2,
        "micro_batch": 1,
        "workers": WORKERS,
        "log_every": EVERY,
        "save_every": 1000,
    }
    adapter = {"rank": 16, "alpha": 16, "expert_rank": 8, "expert_alpha": 8}
    return RunConfig.model_validate({"storage": folder, "train": train, "adapter": adapter})


def _through_ray(config: RunConfig) -> Training:
    """Our trainer's own fit, without a server that keeps its figures."""
    with TemporaryDirectory() as folder:
        own = config.model_copy(update={"storage": folder})
        Path(folder, "latents").symlink_to(Path(config.storage, "latents"))
        storage = Storage(own.storage).join("train")
        fit(Job(own, "bench", base_hash(own.base_folder())), storage)
        lines = read_journal(storage)
    return _summary([line["loss"] for line in lines], [own.train.batch_size / line["samples_per_s"] for line in lines])


def _by_hand(config: RunConfig, rendezvous: Path) -> Training:
    """Two processes of torch alone."""
    mp.spawn(_ddp_worker, (config, str(rendezvous)), nprocs=WORKERS)
    return _summary(*json.loads(Path(f"{rendezvous}.json").read_text()))


def _ddp_worker(rank: int, config: RunConfig, rendezvous: str) -> None:
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // WORKERS))
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=WORKERS)
    transformer = open_transformer(config)
    add_adapter(transformer, config.adapter, config.seed)
    parameters = list(adapter_parameters(transformer).values())
    model = DistributedDataParallel(Objective(transformer, Weighting.of(config)))
    optimizer = torch.optim.AdamW(parameters, lr=config.train.learning_rate, weight_decay=config.train.weight_decay)
    feed = make_feed(config, rank, WORKERS)

    def step(number: int) -> float:
        losses = []
        for batch in feed(number):
            found = Losses(*model(batch))
            found.total.backward()
            losses.append(found.total.item())
        nn.utils.clip_grad_norm_(parameters, config.train.clip)
        optimizer.step()
        optimizer.zero_grad()
        return statistics.fmean(losses)

    figures = _stretches(step)
    if rank == 0:
        Path(f"{rendezvous}.json").write_text(json.dumps(figures))
    dist.destroy_process_group()


def _stretches(step: Callable[[int], float]) -> tuple[list[float], list[float]]:
    """Mean loss over all workers, and seconds a step, of every `EVERY` steps."""
    losses, seconds = [], []
    for first in range(0, STEPS, EVERY):
        start = time.perf_counter()
        loss = torch.tensor(statistics.fmean(step(number) for number in range(first, first + EVERY)))
        dist.all_reduce(loss)
        losses.append(loss.item() / WORKERS)
        seconds.append((time.perf_counter() - start) / EVERY)
    return losses, seconds


def _summary(losses: list[float], seconds: list[float]) -> Training:
    return Training(losses, statistics.median(seconds[1:]))


def _write_latents(storage: Storage) -> None:
    """A table of one task with noise for pictures."""
    rng = np.random.default_rng(0)
    about = {"task": "negative", "split": "train"}
    size = dict(zip(("channels", "height", "width"), SHAPE, strict=True))
    rows = [
        {"pair_id": str(i), "source_id": str(i), **about, **size}
        | {side: rng.standard_normal(SHAPE, np.float32).astype(np.float16).tobytes() for side in ("source", "target")}
        for i in range(ROWS)
    ]
    width = load_backbone(RunConfig().base_folder(), ("transformer",)).transformer.config.joint_attention_dim
    files = {"shard-00000.arrow": latents_arrow(rows), TEXT: text_file(rng.normal(size=(4, width)))}
    counts = {"shard-00000.arrow": ROWS, TEXT: 1}
    for name, data in files.items():
        storage.write(name, data)
    shards = tuple(describe_shard(name, counts[name], data, {}) for name, data in files.items())
    write_manifest(storage, Manifest(fingerprint="bench", complete=True, shards=shards))
