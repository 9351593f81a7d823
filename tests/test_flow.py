import torch

from viral import flow


def test_path_ends_are_data_and_noise_and_the_velocity_joins_them() -> None:
    generator = torch.Generator().manual_seed(0)
    x0, noise = torch.randn(4, 3, 2, generator=generator), torch.randn(4, 3, 2, generator=generator)
    t = torch.rand(4, generator=generator)
    assert torch.equal(flow.interpolate(x0, noise, torch.zeros(4)), x0)
    assert torch.equal(flow.interpolate(x0, noise, torch.ones(4)), noise)
    x_t, v = flow.interpolate(x0, noise, t), flow.velocity(x0, noise)
    torch.testing.assert_close(flow.data_estimate(x_t, v, t), x0)
    torch.testing.assert_close(x_t + (1 - t).view(-1, 1, 1) * v, noise)


def test_shift_moves_training_times_towards_noise() -> None:
    plain, shifted = (flow.logit_normal(4000, torch.Generator().manual_seed(1), shift) for shift in (1.0, 3.0))
    assert plain.min() > 0 and plain.max() < 1
    assert abs(plain.median() - 0.5) < 0.03
    assert abs(shifted.median() - 0.75) < 0.03
