"""The optimizers that engines drive, and what a checkpoint has to keep of them."""

import torch
from prodigyopt import Prodigy
from torch import Tensor, nn

from viral.config import TrainConfig
from viral.train.state import TrainingTensors

MOMENTS = {"adamw": ("exp_avg", "exp_avg_sq"), "prodigy": ("exp_avg", "exp_avg_sq", "s", "p0")}
"""Tensors of each parameter, named as the optimizers name them."""
SCALARS = {"adamw": (), "prodigy": ("d", "d_max", "d_numerator", "k")}
"""Numbers of the whole run, which the optimizer keeps in its parameter group."""


def build_optimizer(parameters: list[nn.Parameter], config: TrainConfig) -> torch.optim.Optimizer:
    """The configured optimizer; Prodigy as ICEdit's code sets it."""
    rate, decay = config.learning_rate, config.weight_decay
    if config.optimizer == "prodigy":
        return Prodigy(parameters, lr=rate, weight_decay=decay, use_bias_correction=True, safeguard_warmup=True)
    return torch.optim.AdamW(parameters, lr=rate, weight_decay=decay)


def read_state(parameters: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer, kind: str) -> TrainingTensors:
    """Adapter and moments of an optimizer that holds every parameter whole."""
    adapter = {name: copy(parameter) for name, parameter in parameters.items()}
    moments = {key: {name: copy(optimizer.state[p][key]) for name, p in parameters.items()} for key in MOMENTS[kind]}
    return TrainingTensors(adapter, moments, scalars=read_scalars(optimizer, kind))


def read_scalars(optimizer: torch.optim.Optimizer, kind: str) -> dict[str, Tensor]:
    """The numbers of the whole run."""
    group = optimizer.param_groups[0]
    return {name: torch.tensor(float(group[name]), dtype=torch.float64) for name in SCALARS[kind]}


def write_state(
    parameters: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer, tensors: TrainingTensors, steps: int
) -> None:
    """Give an optimizer that holds every parameter whole its state after `steps` steps."""
    for name, parameter in parameters.items():
        moments = {key: named[name].to(parameter.device, copy=True) for key, named in tensors.moments.items()}
        optimizer.state[parameter] = {"step": torch.tensor(float(steps)), **moments}
    for group in optimizer.param_groups:
        group.update({name: int(v.item()) if name == "k" else v.item() for name, v in tensors.scalars.items()})


def copy(tensor: Tensor) -> Tensor:
    """A copy on the CPU."""
    return tensor.detach().to("cpu", copy=True)
