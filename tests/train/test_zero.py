"""DeepSpeed at every ZeRO stage, on two processes: whole tensors out, the same run on the way back in."""

import pytest
import torch

from tests.train.conftest import STAGES, Staged
from viral.train.state import TrainingTensors, grouped


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_resumes_bit_for_bit(staged: Staged, stage: int) -> None:
    whole, resumed = (staged[stage, turn]["states"][6] for turn in ("whole", "resumed"))
    assert whole.keys() == resumed.keys() and all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_saves_whole_tensors_of_the_same_adapter(staged: Staged, stage: int) -> None:
    plain, state = (grouped(staged[which, "whole"]["states"][6]) for which in (0, stage))
    check_whole(state, staged[stage, "whole"]["shapes"])
    for name, tensor in plain.adapter.items():
        # Adam makes mountains of gradients that are zero up to rounding, so elements are not compared alone.
        assert (state.adapter[name] - tensor).norm() <= 0.05 * tensor.norm() + 1e-3, name


def check_whole(state: TrainingTensors, shapes: dict[str, tuple[int, ...]]) -> None:
    """Every tensor has its parameter's shape and something in it."""
    for named in (state.adapter, state.average, *state.moments.values()):
        assert {name: tuple(tensor.shape) for name, tensor in named.items()} == shapes
        assert all(tensor.norm() > 0 for name, tensor in named.items() if "router" not in name)
