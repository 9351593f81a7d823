"""Steps by plain torch in one process: AdamW, clipping, accumulation."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from viral.config import TrainConfig
from viral.model.adapter import adapter_parameters
from viral.train.loss import Losses, Objective
from viral.train.sampler import Batch

MOMENTS = ("exp_avg", "exp_avg_sq")
"""AdamW's two running means, named as torch names them."""


@dataclass(frozen=True)
class TrainingTensors:
    """What training has learnt, whole, by parameter name, on the CPU: independent of how many workers share it."""

    adapter: dict[str, Tensor]
    moments: dict[str, dict[str, Tensor]]
    """`exp_avg` and `exp_avg_sq` of every parameter."""


def adamw(parameters: dict[str, nn.Parameter], config: TrainConfig) -> torch.optim.AdamW:
    """The optimizer that every engine drives, over the adapter's parameters alone."""
    return torch.optim.AdamW(parameters.values(), lr=config.learning_rate, weight_decay=config.weight_decay)


class TorchEngine:
    """One process, one device; takes the same steps as DeepSpeed with one worker, up to rounding."""

    def __init__(self, objective: Objective, config: TrainConfig) -> None:
        self.objective, self.clip = objective, config.clip
        self.parameters = parameters = adapter_parameters(objective.transformer)
        self.optimizer = adamw(parameters, config)
        self.micro_batches = config.batch_size // config.micro_batch
        self.device = next(iter(parameters.values())).device

    def losses(self, batch: Batch) -> Losses:
        return Losses(*self.objective(batch.to(self.device)))

    def accumulate(self, loss: Float[Tensor, ""]) -> None:
        (loss / self.micro_batches).backward()

    def step(self, learning_rate: float) -> float:
        norm = nn.utils.clip_grad_norm_(self.parameters.values(), self.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        self.optimizer.zero_grad()
        return norm.item()

    def sum(self, values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        return values

    def state(self) -> TrainingTensors:
        return whole(self.parameters, self.optimizer)

    def restore(self, tensors: TrainingTensors, steps: int) -> None:
        fill(self.parameters, self.optimizer, tensors, steps)


def whole(parameters: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer) -> TrainingTensors:
    """Adapter and moments of an optimizer that holds every parameter whole."""
    adapter = {name: _copy(parameter) for name, parameter in parameters.items()}
    moments = {
        moment: {name: _copy(optimizer.state[p][moment]) for name, p in parameters.items()} for moment in MOMENTS
    }
    return TrainingTensors(adapter, moments)


def fill(
    parameters: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer, tensors: TrainingTensors, steps: int
) -> None:
    """Give an optimizer that holds every parameter whole its moments after `steps` steps."""
    for name, parameter in parameters.items():
        moments = {key: tensors.moments[key][name].to(parameter.device, copy=True) for key in MOMENTS}
        optimizer.state[parameter] = {"step": torch.tensor(float(steps)), **moments}


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True)
