"""The training loop. It needs torch alone: who computes gradients together, and how, is the engine's business."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from viral.config import RunConfig, TrainConfig
from viral.train.batch import AnyBatch
from viral.train.loss import Losses
from viral.train.meter import Meter, Record
from viral.train.sampler import Feed
from viral.train.state import TrainingTensors


@runtime_checkable
class Engine(Protocol):
    """What turns losses into steps: plain torch, or DeepSpeed over many workers."""

    layers: int
    """Layers with experts."""

    def losses(self, batch: AnyBatch) -> Losses:
        """The forward pass of one micro batch, on the device of the model."""
        ...

    def accumulate(self, loss: Float[Tensor, ""]) -> None:
        """Add the gradient of one micro batch's mean loss."""
        ...

    def step(self, step: int, learning_rate: float) -> float:
        """Take step number `step`, from 0 on, with the mean gradient of its micro batches; its norm before clipping."""
        ...

    def sum(self, values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Sum over all workers; every one of them must call it."""
        ...

    def state(self) -> TrainingTensors:
        """Adapter, average and optimizer's state, whole; every worker must call it."""
        ...

    def restore(self, tensors: TrainingTensors, steps: int) -> None:
        """Go on after `steps` steps. The model must hold the adapter of `tensors` before the engine is made."""
        ...


@dataclass(frozen=True)
class Hooks:
    """What the loop tells its surroundings; every worker calls them at the same steps."""

    on_log: Callable[[Record], None]
    on_checkpoint: Callable[[int], None]


class NonFiniteLoss(ArithmeticError):
    """The loss is infinite or not a number; going on would write that into the adapter."""


def train(engine: Engine, feed: Feed, config: RunConfig, hooks: Hooks, start: int = 0) -> None:
    """Take the steps from `start` to `config.train.steps`, logging and checkpointing on the way."""
    meter = Meter(feed.tasks, engine.layers, config.adapter.num_experts)
    for step in range(start, config.train.steps):
        for batch in feed(step):
            losses = engine.losses(batch)
            stop_if_not_finite(losses, batch, step)
            engine.accumulate(losses.total)
            meter.add(losses, batch)
        meter.add_norm(engine.step(step, learning_rate(config.train, step)))
        if is_due(step + 1, config.train.log_every, config.train.steps):
            hooks.on_log(meter.read(step + 1, engine.sum))
        if is_due(step + 1, config.train.save_every, config.train.steps):
            hooks.on_checkpoint(step + 1)


def is_due(step: int, every: int, last: int) -> bool:
    """Whether something done every `every` steps, and after the last one, falls on `step`."""
    return step % every == 0 or step == last


def learning_rate(config: TrainConfig, step: int) -> float:
    """Linear warm-up, constant, linear cool-down: a function of the step alone, so there is no schedule to save."""
    rising = (step + 1) / config.warmup if config.warmup else 1.0
    falling = (config.steps - step) / config.cooldown if config.cooldown else 1.0
    return config.learning_rate * min(1.0, rising, falling)


def stop_if_not_finite(losses: Losses, batch: AnyBatch, step: int) -> None:
    """Raise `NonFiniteLoss` naming the step and the tasks whose samples are to blame."""
    if torch.isfinite(losses.total):
        return
    finite = torch.isfinite(losses.per_sample).tolist()
    tasks = sorted({task for task, good in zip(batch.tasks, finite, strict=True) if not good}) or sorted(
        set(batch.tasks)
    )
    raise NonFiniteLoss(
        f"the loss is {losses.total.item()} at step {step + 1}, task {', '.join(tasks)}; the last checkpoint stays. "
        "Look at that task's pairs, or lower train.learning_rate, and start anew under another storage="
    )
