"""Samples of one query under two edits, and the error of what tells them apart."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from viral.config import RunConfig
from viral.data.latents import LatentTable
from viral.train.batch import Batch
from viral.train.loss import Objective, Weighting, edit_weight, flow_loss
from viral.train.sampler import Chances, Feed, Sampler
from viral.train.worker import open_transformer

BOTH = Chances(targets=2, siblings=True)


@pytest.fixture
def families(table: LatentTable, make_table: Callable[..., LatentTable]) -> LatentTable:
    """The rows of a task in families of four: two pictures, each under two edits."""
    return make_table(
        group=[f"edit {row // 2}" for row in range(len(table))],
        source_id=[f"family {row // 4}" for row in range(len(table))],
    )


def test_every_second_sample_is_the_sibling_of_the_one_before(families: LatentTable) -> None:
    sampler = Sampler(families, 0, chances=BOTH)
    draws = [sampler.draw(i) for i in range(200)]
    alike = [(one, other) for one, other in zip(draws[::2], draws[1::2], strict=True) if other.elder is not None]
    assert alike and all(draw.elder is None for draw in draws[::2])
    for one, other in alike:
        assert other.elder == one.index and families.sources[one.query] == families.sources[other.query]
        assert families.groups[one.query] != families.groups[other.query] == families.groups[other.example]
        assert abs(one.query - other.query) == 2 == abs(one.example - other.example)


def test_a_task_without_siblings_is_drawn_as_ever(
    families: LatentTable, make_table: Callable[..., LatentTable]
) -> None:
    mixed = make_table(
        group=[f"edit {row // 2}" if row < 8 else None for row in range(len(families))],
        source_id=[f"family {row // 4}" for row in range(len(families))],
    )
    plain, both = Sampler(mixed, 3), Sampler(mixed, 3, chances=BOTH)
    draws = [(plain.draw(i), both.draw(i)) for i in range(100)]
    alone = [(one, other) for one, other in draws if other.elder is None]
    assert 50 < len(alone) < 100 and all(one == other for one, other in alone)


def test_data_without_siblings_are_refused(table: LatentTable, diptychs: LatentTable) -> None:
    with pytest.raises(ValueError, match="no row of .* has another such; set train.siblings=0 or add a source of kind"):
        Sampler(table, 0, chances=BOTH)
    with pytest.raises(ValueError, match="diptychs have no example"):
        Sampler(diptychs, 0, chances=BOTH, alone=True)


def test_siblings_share_noise_and_times_on_any_number_of_workers(families: LatentTable) -> None:
    sampler = Sampler(families, 0, chances=BOTH)
    alone, *shares = [
        [batch for step in range(4) for batch in Feed(sampler, 8, 2, rank, world)(step)]
        for rank, world in ((0, 1), (0, 2), (1, 2))
    ]
    assert sum(bool(batch.siblings) for batch in alone) == sum(
        bool(batch.siblings) for part in shares for batch in part
    )
    for batch in (batch for batch in alone if batch.siblings):
        assert torch.equal(batch.noise[:2], batch.noise[2:]) and torch.equal(batch.t[:2], batch.t[2:])
        assert not torch.equal(batch.target[0], batch.target[1])


def test_only_what_tells_siblings_apart_is_in_their_error(families: LatentTable, config: RunConfig) -> None:
    batch = next(batch for batch in Feed(Sampler(families, 0, chances=BOTH), 8, 2)(0) if batch.siblings)
    transformer = open_transformer(config)
    transformer.requires_grad_(False)
    plain, with_siblings = (
        flow_loss(transformer, batch, Weighting(0.0, siblings=weight), "stationary") for weight in (0.0, 3.0)
    )
    added = (with_siblings.total - plain.total).item()
    assert with_siblings.flow.item() == plain.flow.item()
    assert added == pytest.approx(3 * expected(transformer, batch), rel=1e-4)


def expected(transformer: torch.nn.Module, batch: Batch) -> float:
    """By hand: half the weighted mean square of (v1 - v0) - (x0 - x1), over two noises."""
    from viral import flow
    from viral.train.loss import predict_analogies

    target = batch.target.repeat_interleave(2, 0)
    noisy = flow.interpolate(target, batch.noise, batch.t)
    v = predict_analogies(transformer, batch, noisy, "stationary").detach().numpy()
    x = batch.target.numpy()
    errors = [np.square(v[2 + k] - v[k] - (x[0] - x[1])).mean() for k in range(2)]
    return float(np.mean(errors) * edit_weight(batch.target[:1], batch.target[1:]).item() / 2)


def test_an_odd_micro_batch_is_refused(config: RunConfig) -> None:
    values = config.train.model_dump() | {"siblings": 1.0, "micro_batch": 1}
    with pytest.raises(ValueError, match="train.micro_batch is 1; make it even"):
        type(config.train)(**values)
    assert Objective.of(config, open_transformer(config)).weighting.siblings == 0
