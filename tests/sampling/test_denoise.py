import numpy as np
import pytest
import torch
from torch import Tensor

from viral.flow import data_estimate
from viral.pretrain.folder import build_scheduler
from viral.sampling.denoise import denoise, schedule, start_noise


class Towards:
    """The exact velocity of a flow whose data is one point."""

    shape = (2, 4, 6)

    def __init__(self) -> None:
        self.point = torch.randn(1, *self.shape, generator=torch.Generator().manual_seed(7))

    def __call__(self, latents: Tensor, t: Tensor) -> Tensor:
        return (latents - self.point) / t.view(-1, 1, 1, 1)


NOISE = start_noise([3, 4], Towards.shape)


def test_noise_depends_on_its_seed_alone() -> None:
    assert torch.equal(start_noise([4, 3, 9], Towards.shape)[:2], NOISE.flip(0))


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_straight_flow_ends_at_its_data(steps: int) -> None:
    flow = Towards()
    torch.testing.assert_close(denoise(flow, build_scheduler(), NOISE, steps), flow.point.expand(2, -1, -1, -1))


def test_stopping_and_going_on_equals_going_through() -> None:
    class Bent(Towards):
        def __call__(self, latents: Tensor, t: Tensor) -> Tensor:
            return super().__call__(latents, t).sin()

    halfway = denoise(Bent(), build_scheduler(), NOISE, 6, stop=2)
    assert torch.equal(
        denoise(Bent(), build_scheduler(), halfway, 6, start=2), denoise(Bent(), build_scheduler(), NOISE, 6)
    )


def test_a_stopped_run_estimates_its_data_at_the_next_step() -> None:
    flow, own = Towards(), schedule(build_scheduler(), 6, 6)
    halfway, t = denoise(flow, build_scheduler(), NOISE, 6, stop=2), own.sigmas[2].expand(2)
    torch.testing.assert_close(data_estimate(halfway, flow(halfway, t), t), flow.point.expand(2, -1, -1, -1))


def test_a_callback_sees_the_steps_and_can_cancel() -> None:
    seen = []

    def watch(i: int, latents: Tensor) -> None:
        seen.append((i, tuple(latents.shape)))
        if i == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        denoise(Towards(), build_scheduler(), NOISE, 6, start=2, on_step=watch)
    assert seen == [(2, (2, *Towards.shape)), (3, (2, *Towards.shape))]


def test_more_tokens_shift_the_schedule_towards_noise() -> None:
    small, large = (np.asarray(schedule(build_scheduler(), 8, tokens).sigmas) for tokens in (256, 4096))
    assert (large[1:-2] > small[1:-2]).all()


@pytest.mark.parametrize(("start", "stop"), [(0, 7), (3, 3), (-1, 4)])
def test_steps_outside_the_schedule_are_refused(start: int, stop: int) -> None:
    with pytest.raises(ValueError, match="do not lie in a schedule of 6"):
        denoise(Towards(), build_scheduler(), NOISE, 6, start=start, stop=stop)


def test_noise_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="expected \\(2, 4, 6\\)"):
        denoise(Towards(), build_scheduler(), start_noise([0], (2, 4, 4)), 6)
