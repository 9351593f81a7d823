"""What a stretch of training steps came to, as means over all samples of all workers."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from viral.train.batch import AnyBatch
from viral.train.loss import Losses


@dataclass(frozen=True)
class Record:
    """Means over the steps since the last record, up to step number `step`."""

    step: int
    metrics: dict[str, float]
    expert_use: Float[np.ndarray, "layers e"]
    """Share of the tokens that each expert of each layer got."""


class Meter:
    """Sums up losses, norms and the use of experts; `read` turns them into a `Record` and starts anew."""

    def __init__(self, tasks: tuple[str, ...], layers: int, experts: int) -> None:
        self.layers, self.experts = layers, experts
        names = ["loss", "loss_flow", "loss_balance", "grad_norm", *(f"loss_task/{task}" for task in tasks)]
        names += [_place(layer, expert) for layer in range(layers) for expert in range(experts)]
        # Every worker holds the same places in the same order, whatever tasks it happened to draw.
        self.places = {name: i for i, name in enumerate(names)}
        self._clear()

    def add(self, losses: Losses, batch: AnyBatch) -> None:
        """Count one micro batch."""
        count = float(len(batch.tasks))
        self._count("loss", losses.total.item(), count)
        self._count("loss_flow", losses.flow.item(), count)
        self._count("loss_balance", losses.balance.item(), count)
        for task, value in zip(batch.tasks, losses.per_sample.tolist(), strict=True):
            self._count(f"loss_task/{task}", value)
        for layer, shares in enumerate(losses.expert_use.tolist()):
            for expert, share in enumerate(shares):
                self._count(_place(layer, expert), share, count)

    def add_norm(self, norm: float) -> None:
        """Count the gradient's norm of one step."""
        self._count("grad_norm", norm)

    def read(self, step: int, add_up: Callable[[Tensor], Tensor]) -> Record:
        """The means so far; `add_up` sums over workers, and all of them must read at the same step."""
        sums, counts = add_up(self.totals.flatten()).view(2, -1)
        seconds = time.perf_counter() - self.since
        means = {name: (sums[i] / counts[i]).item() for name, i in self.places.items() if counts[i] > 0}
        shares = [means.pop(_place(i, e)) for i in range(self.layers) for e in range(self.experts)]
        use = np.array(shares).reshape(self.layers, self.experts)
        means |= {f"expert_use/{expert}": float(use[:, expert].mean()) for expert in range(self.experts) if self.layers}
        means["samples_per_s"] = counts[self.places["loss"]].item() / seconds
        self._clear()
        return Record(step, means, use)

    def _clear(self) -> None:
        self.totals = torch.zeros(2, len(self.places), dtype=torch.float64)
        self.since = time.perf_counter()

    def _count(self, name: str, value: float, weight: float = 1.0) -> None:
        place = self.places[name]
        self.totals[0, place] += weight * value
        self.totals[1, place] += weight


def _place(layer: int, expert: int) -> str:
    return f"{layer}/{expert}"
