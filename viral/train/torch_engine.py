"""Steps by plain torch in one process: an optimizer, clipping, accumulation, the average."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from jaxtyping import Float
from torch import Tensor, nn

from viral.config import TrainConfig
from viral.model.adapter import adapter_parameters, experts_of
from viral.train.average import Average, replaced
from viral.train.batch import AnyBatch
from viral.train.loss import Losses, Objective, Transformer
from viral.train.optimizer import build_optimizer, copy, read_state, write_state
from viral.train.state import TrainingTensors


class TorchEngine:
    """One process, one device; takes the same steps as DeepSpeed with one worker, up to rounding."""

    def __init__(self, objective: Objective, config: TrainConfig) -> None:
        self.objective, self.config = objective, config
        self.parameters = parameters = adapter_parameters(objective.transformer)
        self.layers = len(experts_of(objective.transformer))
        self.optimizer = build_optimizer(list(parameters.values()), config)
        self.micro_batches = config.batch_size // config.micro_batch
        self.device = next(iter(parameters.values())).device
        self.average = Average(list(parameters.values()), config.ema) if config.ema else None

    def losses(self, batch: AnyBatch) -> Losses:
        return Losses(*self.objective(batch.to(self.device)))

    def accumulate(self, loss: Float[Tensor, ""]) -> None:
        (loss / self.micro_batches).backward()

    def step(self, step: int, learning_rate: float) -> float:
        norm = nn.utils.clip_grad_norm_(self.parameters.values(), self.config.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.average is not None:
            self.average.update(step + 1)
        return norm.item()

    def sum(self, values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        return values

    def state(self) -> TrainingTensors:
        state = read_state(self.parameters, self.optimizer, self.config.optimizer)
        if self.average is None:
            return state
        return replace(state, average=dict(zip(self.parameters, map(copy, self.average.tensors), strict=True)))

    def restore(self, tensors: TrainingTensors, steps: int) -> None:
        write_state(self.parameters, self.optimizer, tensors, steps)
        if self.average is not None:
            for average, name in zip(self.average.tensors, self.parameters, strict=True):
                average.copy_(tensors.average[name])

    @contextmanager
    def result(self) -> Iterator[Transformer]:
        """The transformer with the adapter that is kept, for the length of the block."""
        with replaced(self.parameters.values(), self._averages()):
            yield self.objective.transformer

    def _averages(self) -> list[Tensor]:
        return list(self.parameters.values()) if self.average is None else self.average.tensors
