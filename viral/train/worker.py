"""One worker of a training run under Ray Train: load, resume, loop, keep."""

import json
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from ray import train as ray_train
from ray.train import Checkpoint as RayCheckpoint
from ray.train import ValidationTaskConfig

from viral.config import RunConfig
from viral.data.latents import LatentTable
from viral.model.adapter import (
    AdapterCard,
    adapter_parameters,
    add_adapter,
    load_adapter_state,
    read_state,
    save_adapter,
)
from viral.model.adapter_files import read_card
from viral.model.architecture import is_fill
from viral.model.backbone import load_backbone
from viral.model.flux import load_flux
from viral.model.licences import licence_of
from viral.model.loading import base_path
from viral.model.out_of_memory import naming_remedies, training_remedies
from viral.model.roles import role_table
from viral.sampling.diptych import RELEASED_PROMPT
from viral.storage import Storage, local_folder
from viral.tasks import describe_task
from viral.train.checkpoint import Checkpoint, Checkpoints
from viral.train.engine import DeepSpeedEngine
from viral.train.journal import NAME, Journal, machine_journal
from viral.train.loop import Hooks, NonFiniteLoss, train
from viral.train.loss import Objective, Transformer
from viral.train.machine import system_metrics
from viral.train.meter import Record
from viral.train.model_card import CARD_TEXT, model_card
from viral.train.recompute import checkpoint_blocks
from viral.train.router_picture import PLACE as ROUTER
from viral.train.router_picture import draw_router
from viral.train.run import check_tasks
from viral.train.sampler import Chances, Feed, Sampler

STOPPED = "stopped.json"
"""Why the run stopped for good: a reason that trying again would only meet again."""


@dataclass(frozen=True)
class Job:
    """What a worker is told."""

    config: RunConfig
    fingerprint: str
    base_sha256: str


@dataclass(frozen=True)
class Seat:
    """Which worker this is."""

    rank: int
    world: int
    node: int
    local_rank: int
    local_world: int

    @classmethod
    def taken(cls) -> "Seat":
        """This process's, as Ray Train gave it."""
        context = ray_train.get_context()
        return cls(
            context.get_world_rank(), context.get_world_size(), context.get_node_rank(), context.get_local_rank(),
            context.get_local_world_size(),
        )  # fmt: skip

    @property
    def first(self) -> bool:
        """Whether it writes what is written once a run."""
        return self.rank == 0


def work(told: dict[str, Job]) -> None:
    """Train as one of the workers that Ray Train started; `told` holds the job."""
    job = told["job"]
    storage = Storage(job.config.storage).join("train")
    if storage.exists(STOPPED):
        return  # started again after a failure that would only come again
    try:
        _work(job, storage, Seat.taken())
    except (NonFiniteLoss, ValueError) as error:
        with suppress(ValueError):  # a full disk may have no room for its own reason either
            storage.write(STOPPED, json.dumps({"reason": str(error)}).encode())
        raise


def _work(job: Job, storage: Storage, seat: Seat) -> None:
    config = job.config
    settle(config, seat.local_world)
    checkpoints = Checkpoints(storage.join("checkpoints"), job.fingerprint)
    checkpoint, troubles = checkpoints.newest()
    if seat.first:
        print(f"base {config.base}, under {licence_of(config.base_folder(), config.model.revision)}", flush=True)
        _tell(checkpoint, troubles)
    with naming_remedies("training", training_remedies(config)):
        engine, feed = make_engine(config, checkpoint), make_feed(config, seat.rank, seat.world)
        reporter = Reporter(storage, engine, checkpoints, seat)
        train(engine, feed, config, reporter.hooks(), checkpoint.step if checkpoint else 0)
    with engine.result() as transformer:
        if seat.first:
            _keep(job, transformer)
    reporter.close()


def settle(config: RunConfig, local_workers: int) -> None:
    """Share the processor among the workers of this machine."""
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // local_workers))
    if config.train.gpus:
        # The adapter is float32 beside a bf16 base; tensor cores take it as TF32.
        torch.set_float32_matmul_precision("high")


def make_engine(config: RunConfig, checkpoint: Checkpoint | None) -> DeepSpeedEngine:
    """The engine of a run at its start or after a checkpoint, over the process group that is already there."""
    transformer = adapted_transformer(config)
    if checkpoint is not None:
        load_adapter_state(transformer, checkpoint.tensors.adapter)
    engine = DeepSpeedEngine(Objective.of(config, transformer), config.train)
    if checkpoint is not None:
        engine.restore(checkpoint.tensors, checkpoint.step)
    return engine


def adapted_transformer(config: RunConfig) -> Transformer:
    """The frozen transformer with the adapter, in float32, as a run starts from it."""
    transformer = open_transformer(config)
    add_adapter(transformer, config.adapter, config.seed)
    for parameter in adapter_parameters(transformer).values():
        parameter.data = parameter.data.float()
    if (place := config.start_place()) is not None:
        with local_folder(Storage(place)) as folder:
            load_adapter_state(transformer, read_state(folder, read_card(folder)))
    return transformer


def open_transformer(config: RunConfig) -> Transformer:
    """The frozen transformer of either base, as training holds it."""
    device = f"cuda:{torch.cuda.current_device()}" if config.train.gpus else "cpu"
    load = load_flux if is_fill(config.base_folder(), config.model) else load_backbone
    transformer = load(config.base_folder(), ("transformer",), device, config=config.model).transformer
    assert transformer is not None
    if config.train.gradient_checkpointing:
        checkpoint_blocks(transformer, config.train.keep_attention)
    return transformer


def make_sampler(config: RunConfig) -> Sampler:
    """The sampler of a run on its latents; `ValueError` where they are unfit."""
    table = LatentTable(Storage(config.storage).join(config.latents))
    tasks = {name: describe_task(name, config.tasks) for name in table.tasks}
    check_tasks(config, tasks, str(table.storage))
    drawn = {name for name in config.train.tasks or tasks if tasks[name].trains}
    weights = {name: config.train.weights.get(name, task.weight) for name, task in tasks.items()}
    weights = {name: weight if name in drawn else 0.0 for name, weight in weights.items()}
    alone = is_fill(config.base_folder(), config.model)
    return Sampler(table, config.seed, weights, Chances.of(config.train), alone)


def make_feed(config: RunConfig, rank: int, world: int) -> Feed:
    """One worker's share of the samples."""
    return Feed(make_sampler(config), config.train.batch_size, config.train.micro_batch, rank, world)


class Reporter:
    """What a worker tells of its run: figures, pictures of the router, checkpoints."""

    def __init__(self, storage: Storage, engine: DeepSpeedEngine, checkpoints: Checkpoints, seat: Seat) -> None:
        self.storage, self.engine, self.checkpoints, self.seat = storage, engine, checkpoints, seat
        self.record: Record | None = None
        name = NAME if seat.first else machine_journal(seat.node)
        self.journal = Journal(storage, name) if seat.local_rank == 0 else None

    def hooks(self) -> Hooks:
        """For the loop."""
        return Hooks(self._on_log, self._on_checkpoint)

    def close(self) -> None:
        """Write what is left."""
        if self.journal is not None:
            self.journal.close()

    def _on_log(self, record: Record) -> None:
        self.record = record
        if self.journal is not None:
            figures = record.metrics if self.seat.first else {}
            self.journal.add(record.step, {**figures, **system_metrics(self.seat.node)})
        ray_train.report({"step": record.step, "loss": record.metrics["loss"]})

    def _on_checkpoint(self, step: int) -> None:
        tensors = self.engine.state()
        if not self.seat.first:
            return ray_train.report({"step": step})
        # It is whole in our own storage before anybody goes on. What Ray is told of is a pointer to it, for the task
        # that validates it: Ray's own state of a run is disposable, and our loader finds checkpoints itself.
        self.checkpoints.save(step, tensors)
        if self.record is not None and self.record.expert_use.size:
            self.storage.join(ROUTER).write(f"step-{step:06d}.png", draw_router(self.record.expert_use, step))
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "checkpoint").write_text(f"{self.checkpoints.storage}/step-{step:06d}.safetensors\n")
            pointer = RayCheckpoint.from_directory(folder)
            ray_train.report(
                {"step": step}, checkpoint=pointer, validation=ValidationTaskConfig(fn_kwargs={"step": step})
            )


def _keep(job: Job, transformer: Transformer) -> None:
    """Put the trained adapter under storage/adapter, its card last."""
    place = Storage(job.config.storage).join("adapter")
    with tempfile.TemporaryDirectory() as folder:
        card = save_adapter(transformer, Path(folder), card_of(job.config, job.base_sha256))
        (Path(folder) / CARD_TEXT).write_text(model_card(card, job.config))
        for name in (*card.files, CARD_TEXT, "card.json"):
            place.write(name, (Path(folder) / name).read_bytes())


def card_of(config: RunConfig, base_sha256: str) -> AdapterCard:
    """The card of what `config` trains; class of the base and files are for `save_adapter` to add."""
    hub, fill = not Path(config.base_folder()).is_dir(), is_fill(config.base_folder(), config.model)
    return AdapterCard(
        adapter=config.adapter,
        base=config.base,
        base_sha256=base_sha256,
        # The hub's cache keeps a snapshot under the name of its commit.
        base_revision=base_path(config.base, config.model).name if hub else None,
        roles=role_table(config.train.roles),
        role_numbering=config.train.role_numbering,
        text=config.train.text,
        prompt=config.train.prompt or (RELEASED_PROMPT if fill else None),
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
