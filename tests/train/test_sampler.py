"""Samples are a function of the seed and their number."""

from collections import Counter

import numpy as np
import pytest
import torch
from torch import Tensor

from viral.data.latents import LatentTable
from viral.train.sampler import AnalogySampler, Feed, step_indices


def test_example_and_query_are_distinct_training_pairs_of_the_task(table: LatentTable) -> None:
    sampler = AnalogySampler(table, seed=1)
    for draw in map(sampler.draw, range(200)):
        allowed = table.rows(draw.task, "train")
        assert draw.example != draw.query and draw.example in allowed and draw.query in allowed


def test_every_task_and_every_pair_is_drawn_alike(table: LatentTable) -> None:
    sampler = AnalogySampler(table, seed=1)
    draws = [sampler.draw(i) for i in range(1200)]
    assert min(Counter(draw.task for draw in draws).values()) > 500
    counts = Counter(draw.query for draw in draws)
    assert len(counts) == sum(len(table.rows(task, "train")) for task in table.tasks)
    assert min(counts.values()) > 60


def test_weights_set_the_tasks_chances(table: LatentTable) -> None:
    sampler = AnalogySampler(table, seed=1, weights={"edge": 0.0})
    assert {sampler.draw(i).task for i in range(50)} == {"negative"}


@pytest.mark.parametrize("world", [1, 2, 4])
def test_workers_share_each_step_without_gap_or_overlap(world: int) -> None:
    shares = [step_indices(3, 8, rank, world) for rank in range(world)]
    assert sorted(index for share in shares for index in share) == list(range(24, 32))


def test_a_sample_does_not_depend_on_the_number_of_workers(table: LatentTable) -> None:
    sampler = AnalogySampler(table, seed=5)
    alone = gathered([Feed(sampler, 8, 4)], step=7)
    shared = gathered([Feed(sampler, 8, 2, rank, 2) for rank in range(2)], step=7)
    assert alone.keys() == shared.keys()
    assert all(torch.equal(alone[t], shared[t]) for t in alone)


def test_further_noises_of_a_sample_leave_its_first_as_it_was(table: LatentTable) -> None:
    one, three = (next(Feed(AnalogySampler(table, 5, targets=k), 4, 4)(0)) for k in (1, 3))
    assert torch.equal(three.noise[::3], one.noise) and torch.equal(three.t[::3], one.t)
    assert len(three.t.unique()) == 12 and torch.equal(three.query, one.query)


def gathered(feeds: list[Feed], step: int) -> dict[float, Tensor]:
    """Noise and latents of a step's samples, by their time, which is unlike for each."""
    batches = [batch for feed in feeds for batch in feed(step)]
    return {
        t.item(): torch.stack(
            [batch.noise[i], batch.target[i], batch.query[i], batch.example_source[i], batch.example_target[i]]
        )
        for batch in batches
        for i, t in enumerate(batch.t)
    }


def test_other_seeds_draw_otherwise(table: LatentTable) -> None:
    first, second = (next(Feed(AnalogySampler(table, seed), 8, 8)(0)) for seed in (0, 1))
    assert not torch.equal(first.noise, second.noise) and not torch.equal(first.t, second.t)


def test_times_lie_between_data_and_noise_and_noise_is_standard(table: LatentTable) -> None:
    batch = next(Feed(AnalogySampler(table, 0), 256, 256)(0))
    assert batch.t.min() > 0 and batch.t.max() < 1
    assert abs(batch.noise.mean()) < 0.02 and abs(batch.noise.std() - 1) < 0.02


def test_a_batch_holds_the_latents_it_drew(table: LatentTable) -> None:
    sampler = AnalogySampler(table, 0)
    draw = sampler.draw(0)
    batch = sampler.collate([draw])
    assert np.array_equal(batch.query[0].numpy(), table[draw.query].source)
    assert np.array_equal(batch.target[0].numpy(), table[draw.query].target)
    assert np.array_equal(batch.example_target[0].numpy(), table[draw.example].target)


def test_a_task_with_one_pair_is_refused_by_name(table: LatentTable, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = table.rows
    monkeypatch.setattr(table, "rows", lambda task, split: rows(task, split)[: 1 if task == "edge" else None])
    with pytest.raises(ValueError, match="edge"):
        AnalogySampler(table, 0)
