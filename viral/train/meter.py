"""What a stretch of training steps came to, as means over all samples of all workers."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from viral.train.loss import Losses
from viral.train.sampler import Batch


@dataclass(frozen=True)
class Record:
    """Means over the steps since the last record, up to step number `step`."""

    step: int
    metrics: dict[str, float]


class Meter:
    """Sums up losses and norms; `read` turns them into a `Record` and starts anew."""

    def __init__(self, tasks: tuple[str, ...], experts: int) -> None:
        names = ["loss", "loss_flow", "loss_balance", "grad_norm"]
        names += [f"loss_task/{task}" for task in tasks] + [f"expert_use/{i}" for i in range(experts)]
        # Every worker holds the same places in the same order, whatever tasks it happened to draw.
        self.places = {name: i for i, name in enumerate(names)}
        self._clear()

    def add(self, losses: Losses, batch: Batch) -> None:
        """Count one micro batch."""
        count = float(len(batch.tasks))
        self._count("loss", losses.total.item(), count)
        self._count("loss_flow", losses.flow.item(), count)
        self._count("loss_balance", losses.balance.item(), count)
        for task, value in zip(batch.tasks, losses.per_sample.tolist(), strict=True):
            self._count(f"loss_task/{task}", value)
        for expert, share in enumerate(losses.expert_use.tolist()):
            self._count(f"expert_use/{expert}", share, count)

    def add_norm(self, norm: float) -> None:
        """Count the gradient's norm of one step."""
        self._count("grad_norm", norm)

    def read(self, step: int, add_up: Callable[[Tensor], Tensor]) -> Record:
        """The means so far; `add_up` sums over workers, and all of them must read at the same step."""
        sums, counts = add_up(self.totals.flatten()).view(2, -1)
        seconds = time.perf_counter() - self.since
        metrics = {name: (sums[i] / counts[i]).item() for name, i in self.places.items() if counts[i] > 0}
        metrics["samples_per_s"] = counts[self.places["loss"]].item() / seconds
        self._clear()
        return Record(step, metrics)

    def _clear(self) -> None:
        self.totals = torch.zeros(2, len(self.places), dtype=torch.float64)
        self.since = time.perf_counter()

    def _count(self, name: str, value: float, weight: float = 1.0) -> None:
        place = self.places[name]
        self.totals[0, place] += weight * value
        self.totals[1, place] += weight
