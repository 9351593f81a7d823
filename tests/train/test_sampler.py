"""Samples are a function of the seed and their number."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from viral.config import RunConfig
from viral.data.latents import LatentTable
from viral.train.batch import DiptychBatch
from viral.train.sampler import Chances, Feed, Sampler, step_indices
from viral.train.worker import make_sampler


def test_example_and_query_are_distinct_training_pairs_of_the_task(table: LatentTable) -> None:
    sampler = Sampler(table, seed=1)
    for draw in map(sampler.draw, range(200)):
        allowed = table.rows(draw.task, "train")
        assert draw.example != draw.query and draw.example in allowed and draw.query in allowed


def test_every_task_and_every_pair_is_drawn_alike(table: LatentTable) -> None:
    sampler = Sampler(table, seed=1)
    draws = [sampler.draw(i) for i in range(1200)]
    assert min(Counter(draw.task for draw in draws).values()) > 500
    counts = Counter(draw.query for draw in draws)
    assert len(counts) == sum(len(table.rows(task, "train")) for task in table.tasks)
    assert min(counts.values()) > 60


def test_weights_set_the_tasks_chances(table: LatentTable) -> None:
    sampler = Sampler(table, seed=1, weights={"edge": 0.0})
    assert {sampler.draw(i).task for i in range(50)} == {"negative"}


@pytest.mark.parametrize("world", [1, 2, 4])
def test_workers_share_each_step_without_gap_or_overlap(world: int) -> None:
    shares = [step_indices(3, 8, rank, world) for rank in range(world)]
    assert sorted(index for share in shares for index in share) == list(range(24, 32))


def test_a_sample_does_not_depend_on_the_number_of_workers(table: LatentTable) -> None:
    sampler = Sampler(table, seed=5)
    alone = gathered([Feed(sampler, 8, 4)], step=7)
    shared = gathered([Feed(sampler, 8, 2, rank, 2) for rank in range(2)], step=7)
    assert alone.keys() == shared.keys()
    assert all(torch.equal(alone[t], shared[t]) for t in alone)


def test_further_noises_of_a_sample_leave_its_first_as_it_was(table: LatentTable) -> None:
    one, three = (next(Feed(Sampler(table, 5, chances=Chances(targets=k)), 4, 4)(0)) for k in (1, 3))
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
    first, second = (next(Feed(Sampler(table, seed), 8, 8)(0)) for seed in (0, 1))
    assert not torch.equal(first.noise, second.noise) and not torch.equal(first.t, second.t)


def test_times_lie_between_data_and_noise_and_noise_is_standard(table: LatentTable) -> None:
    batch = next(Feed(Sampler(table, 0), 256, 256)(0))
    assert batch.t.min() > 0 and batch.t.max() < 1
    assert abs(batch.noise.mean()) < 0.02 and abs(batch.noise.std() - 1) < 0.02


def test_a_batch_holds_the_latents_it_drew(table: LatentTable) -> None:
    sampler = Sampler(table, 0)
    draw = sampler.draw(0)
    batch = sampler.collate([draw])
    assert np.array_equal(batch.query[0].numpy(), table[draw.query].source)
    assert np.array_equal(batch.target[0].numpy(), table[draw.query].target)
    assert np.array_equal(batch.example_target[0].numpy(), table[draw.example].target)


def test_pairs_with_a_group_meet_only_their_own_kind(make_table: Callable[..., LatentTable]) -> None:
    table = make_table(group=["cat", "dog", "cat", "dog", "cat", "lone", None, None] + [None] * 8)
    sampler = Sampler(table, seed=1)
    edges = [draw for draw in map(sampler.draw, range(400)) if draw.task == "edge"]
    assert {table.groups[draw.example] for draw in edges} == {"cat", "dog"}
    assert all(table.groups[draw.example] == table.groups[draw.query] for draw in edges)
    shares = Counter(table.groups[draw.query] for draw in edges)
    assert 1.1 < shares["cat"] / shares["dog"] < 2.1  # three cats, two dogs


def test_each_step_draws_one_size_and_all_rows_come_alike(make_table: Callable[..., LatentTable]) -> None:
    sides = [(4, 4)] * 4 + [(2, 8)] * 4
    table = make_table(height=[h for h, _ in sides] * 2, width=[w for _, w in sides] * 2)
    feeds = [Feed(Sampler(table, seed=3), 8, 2, rank, 2) for rank in range(2)]
    shapes = [{tuple(batch.target.shape[2:]) for feed in feeds for batch in feed(step)} for step in range(40)]
    assert all(len(found) == 1 for found in shapes) and set.union(*shapes) == {(4, 4), (2, 8)}
    sampler = feeds[0].sampler
    queries = Counter(sampler.draw(8 * step + i, step).query for step in range(300) for i in range(8))
    assert len(queries) == 12 and max(queries.values()) < 1.5 * min(queries.values())


def test_a_diptych_brings_its_words_and_leaves_them_out_as_often_as_asked(diptychs: LatentTable) -> None:
    sampler = Sampler(diptychs, 0, chances=Chances(prompt_dropout=0.25), alone=True)
    draws = [sampler.draw(i) for i in range(400)]
    assert 70 < sum(draw.silent for draw in draws) < 130 and all(draw.example == draw.query for draw in draws)
    spoken, silent = (next(draw for draw in draws if draw.silent is left_out) for left_out in (False, True))
    batch = sampler.collate([spoken, silent])
    assert isinstance(batch, DiptychBatch)
    assert np.array_equal(batch.text[0], diptychs[spoken.query].text) and np.array_equal(batch.text[1], diptychs.text)
    assert np.array_equal(batch.pooled[1], diptychs.pooled)
    assert np.array_equal(batch.masked[0], diptychs[spoken.query].source)


def test_texts_of_different_lengths_are_padded_and_masked(make_table: Callable[..., LatentTable]) -> None:
    texts = [np.ones((2 + i % 2, 64), np.float16).tobytes() for i in range(16)]
    sampler = Sampler(make_table(text=texts), 0)
    batch = sampler.collate([sampler.draw(i) for i in range(16)])
    assert batch.text.shape == (16, 3, 64) and batch.text_mask is not None
    assert torch.equal(batch.text.sum(-1) / 64, batch.text_mask.float())
    assert sorted(batch.text_mask.sum(1).unique().tolist()) == [2, 3]


@pytest.mark.parametrize("law", ["logit_normal", "uniform"])
def test_times_follow_their_law(table: LatentTable, law: str) -> None:
    sampler = Sampler(table, 0, chances=Chances(law=law))
    t = sampler.collate([sampler.draw(i) for i in range(512)]).t
    inside = ((t > 0.25) & (t < 0.75)).float().mean()
    assert abs(inside - {"logit_normal": 0.728, "uniform": 0.5}[law]) < 0.07


def test_a_task_with_one_pair_is_refused_by_name(table: LatentTable, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = table.rows
    monkeypatch.setattr(table, "rows", lambda task, split: rows(task, split)[: 1 if task == "edge" else None])
    with pytest.raises(ValueError, match="edge"):
        Sampler(table, 0)


def test_a_run_of_one_task_draws_no_other_and_an_unknown_one_is_named(config: RunConfig) -> None:
    def of(*tasks: str) -> RunConfig:
        return config.model_copy(update={"train": config.train.model_copy(update={"tasks": tasks})})

    assert {make_sampler(of("negative")).draw(i).task for i in range(40)} == {"negative"}
    assert len({make_sampler(of()).draw(i).task for i in range(40)}) > 1
    with pytest.raises(ValueError, match="train.tasks: .* has no sky among"):
        make_sampler(of("negative", "sky"))


def test_a_run_draws_tasks_by_the_weights_that_it_names(config: RunConfig) -> None:
    def of(**weights: float) -> RunConfig:
        return config.model_copy(update={"train": config.train.model_copy(update={"weights": weights})})

    everything = {make_sampler(config).draw(i).task for i in range(40)}
    assert "negative" in everything
    assert {make_sampler(of(negative=0)).draw(i).task for i in range(40)} == everything - {"negative"}
    drawn = [make_sampler(of(negative=100)).draw(i).task for i in range(40)]
    assert drawn.count("negative") > 30
    with pytest.raises(ValueError, match="train.weights: .* has no sky among"):
        make_sampler(of(sky=1))
