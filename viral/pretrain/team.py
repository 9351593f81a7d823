"""Processes that share each batch, started by `torchrun`; one process alone is a team too."""

import atexit
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn

LONGEST = timedelta(hours=12)
"""How long the others wait for what the first one does alone."""


def join_team() -> None:
    """Join the processes that `torchrun` started, if it started this one."""
    if dist.is_torchelastic_launched():
        dist.init_process_group("gloo", timeout=LONGEST)
        atexit.register(dist.destroy_process_group)  # else its threads may abort the process at its end


def team() -> tuple[int, int]:
    """This process's rank and how many there are."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


@contextmanager
def first_alone() -> Iterator[None]:
    """A block that the first process runs before the others, who then find what it has written."""
    rank, _ = team()
    if rank > 0:
        dist.barrier()
    yield
    if rank == 0 and dist.is_initialized():
        dist.barrier()


def total(value: float) -> float:
    """The sum over all processes."""
    if not dist.is_initialized():
        return value
    summed = torch.tensor(value, dtype=torch.float64)
    dist.all_reduce(summed)
    return summed.item()


def share_gradients(model: nn.Module) -> None:
    """Put the mean over all processes into every gradient; one that a process has not computed counts as 0."""
    if not dist.is_initialized():
        return
    parameters = [p for p in model.parameters() if p.requires_grad]
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    flat = nn.utils.parameters_to_vector(gradients)
    dist.all_reduce(flat)
    nn.utils.vector_to_parameters(flat / dist.get_world_size(), gradients)
    for p, gradient in zip(parameters, gradients, strict=True):
        p.grad = gradient
