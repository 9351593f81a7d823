"""The running average of an adapter, whose noise it lacks."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class Average:
    """a <- d a + (1 - d) p after every step, of tensors that are updated in place, whole or a worker's shards of them.

    The decay d grows to its value as (1 + n) / (10 + n) with the steps n, so that the start is soon forgotten. Each
    element is averaged by itself, so the result does not depend on how the tensors are divided.
    """

    def __init__(self, values: list[Tensor], decay: float) -> None:
        self.decay, self._values = decay, values
        self.tensors = [value.detach().clone() for value in values]

    @torch.no_grad()
    def update(self, steps: int) -> None:
        """Take in the values after `steps` steps."""
        weight = 1 - min(self.decay, (1 + steps) / (10 + steps))
        torch._foreach_lerp_(self.tensors, self._values, weight)


@contextmanager
def replaced(parameters: Iterable[Tensor], values: Iterable[Tensor]) -> Iterator[None]:
    """Let parameters have other values for the length of the block."""
    with torch.no_grad():
        kept = [(parameter, parameter.detach().clone()) for parameter in parameters]
        for (parameter, _), value in zip(kept, values, strict=True):
            parameter.copy_(value)
        try:
            yield
        finally:
            for parameter, value in kept:
                parameter.copy_(value)
