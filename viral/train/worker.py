"""One worker of a training run under Ray Train: load, resume, loop, keep."""

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ray import train as ray_train
from ray.actor import ActorHandle

from viral.config import RunConfig
from viral.data.latents import LatentTable
from viral.model.adapter import AdapterCard, adapter_parameters, add_adapter, load_adapter_state, save_adapter
from viral.model.backbone import load_backbone
from viral.model.licences import licence_of
from viral.model.loading import base_path
from viral.model.out_of_memory import naming_remedies, training_remedies
from viral.storage import Storage
from viral.tasks import describe_task
from viral.train.checkpoint import Checkpoint, Checkpoints
from viral.train.engine import DeepSpeedEngine
from viral.train.journal import Journal
from viral.train.loop import Hooks, NonFiniteLoss, train
from viral.train.loss import Objective
from viral.train.machine import system_metrics
from viral.train.meter import Record
from viral.train.sampler import AnalogySampler, Feed

STOPPED = "stopped.json"
"""Why the run stopped for good: a reason that trying again would only meet again."""


@dataclass(frozen=True)
class Job:
    """What a worker is told."""

    config: RunConfig
    fingerprint: str
    base_sha256: str
    painter: ActorHandle | None


def work(told: dict[str, Job]) -> None:
    """Train as one of the workers that Ray Train started; `told` holds the job."""
    job = told["job"]
    storage = Storage(job.config.storage).join("train")
    if storage.exists(STOPPED):
        return  # started again after a failure that would only come again
    try:
        _work(job, storage)
    except (NonFiniteLoss, ValueError) as error:
        storage.write(STOPPED, json.dumps({"reason": str(error)}).encode())
        raise


def _work(job: Job, storage: Storage) -> None:
    context, config = ray_train.get_context(), job.config
    first = context.get_world_rank() == 0
    _settle(config, context.get_local_world_size())
    checkpoints = Checkpoints(storage.join("checkpoints"), job.fingerprint)
    checkpoint, troubles = checkpoints.newest()
    if first:
        print(f"base {config.base}, under {licence_of(config.base_folder(), config.model.revision)}", flush=True)
        _tell(checkpoint, troubles)
    journal = Journal(storage) if first else None
    with naming_remedies("training", training_remedies(config)):
        engine = _engine(config, checkpoint)
        feed = _feed(config, context.get_world_rank(), context.get_world_size())
        train(engine, feed, config, _hooks(job, engine, checkpoints, journal), checkpoint.step if checkpoint else 0)
    with engine.gathered() as transformer:
        if first:
            _keep(job, transformer)
    if journal is not None:
        journal.close()


def _settle(config: RunConfig, local_workers: int) -> None:
    """Share the processor among the workers of this machine."""
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // local_workers))
    if config.train.gpus:
        # The adapter is float32 beside a bf16 base; tensor cores take it as TF32.
        torch.set_float32_matmul_precision("high")


def _engine(config: RunConfig, checkpoint: Checkpoint | None) -> DeepSpeedEngine:
    device = f"cuda:{torch.cuda.current_device()}" if config.train.gpus else "cpu"
    transformer = load_backbone(config.base_folder(), ("transformer",), device, config=config.model).transformer
    if config.train.gradient_checkpointing:
        transformer.enable_gradient_checkpointing()
    add_adapter(transformer, config.adapter, config.seed)
    for parameter in adapter_parameters(transformer).values():
        parameter.data = parameter.data.float()
    if checkpoint is not None:
        load_adapter_state(transformer, checkpoint.tensors.adapter)
    objective = Objective(transformer, config.adapter.balance_weight, config.train.weigh_edits, config.train.context)
    engine = DeepSpeedEngine(objective, config.train)
    if checkpoint is not None:
        engine.restore(checkpoint.tensors, checkpoint.step)
    return engine


def _feed(config: RunConfig, rank: int, world: int) -> Feed:
    table = LatentTable(Storage(config.storage).join(config.latents))
    weights = {task: describe_task(task).weight for task in table.tasks}
    sampler = AnalogySampler(table, config.seed, weights, config.train.targets, config.train.time_shift)
    return Feed(sampler, config.train.batch_size, config.train.micro_batch, rank, world)


def _hooks(job: Job, engine: DeepSpeedEngine, checkpoints: Checkpoints, journal: Journal | None) -> Hooks:
    def on_log(record: Record) -> None:
        if journal is not None:
            journal.add(record, system_metrics())
        # Ray's own state of the run is disposable: no checkpoint is reported, ours are found by our own loader.
        ray_train.report({"step": record.step, "loss": record.metrics["loss"]})

    def on_checkpoint(step: int) -> None:
        tensors = engine.state()
        if journal is not None:
            checkpoints.save(step, tensors)
            if job.painter is not None:
                job.painter.paint.remote(step)

    return Hooks(on_log, on_checkpoint)


def _keep(job: Job, transformer: Any) -> None:
    """Put the trained adapter under storage/adapter, its card last."""
    place = Storage(job.config.storage).join("adapter")
    with tempfile.TemporaryDirectory() as folder:
        card = save_adapter(transformer, Path(folder), card_of(job.config, job.base_sha256))
        for name in (*card.files, "card.json"):
            place.write(name, (Path(folder) / name).read_bytes())


def card_of(config: RunConfig, base_sha256: str) -> AdapterCard:
    """The card of what `config` trains; class of the base and files are for `save_adapter` to add."""
    hub = not Path(config.base_folder()).is_dir()
    return AdapterCard(
        adapter=config.adapter,
        base=config.base,
        base_sha256=base_sha256,
        # The hub's cache keeps a snapshot under the name of its commit.
        base_revision=base_path(config.base, config.model).name if hub else None,
        role_numbering=config.train.role_numbering,
        text="none",
        context=config.train.context,
        size=config.data.size,
        steps=config.train.steps,
    )


def _tell(checkpoint: Checkpoint | None, troubles: list[str]) -> None:
    for trouble in troubles:
        print(f"{trouble}; taking the one before", flush=True)
    if checkpoint is not None:
        print(f"training goes on after step {checkpoint.step}", flush=True)
    elif troubles:
        print("no checkpoint is good: training starts at step 0", flush=True)
