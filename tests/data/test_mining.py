"""Mining on vectors whose edits are known: the step is the edit, sources are whatever they like."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from viral.data.mining import (
    FEWEST,
    MOST,
    Candidates,
    Vectors,
    cluster_count,
    each_once,
    find_candidates,
    first_of_each,
    mine,
    passes,
)
from viral.data.mining_estimate import GB, MACHINES, MiningCost
from viral.data_config import MiningConfig

EDITS, EACH, WIDTH = 12, 20, 32
OPEN = MiningConfig(most_alike=2.0, least_words=-2.0, least_crossed=-2.0)


def vectors(noise: float = 0.1) -> tuple[Vectors, Tensor]:
    """Pairs of several edits, each a direction of its own, and the number of each one's edit."""
    generator = torch.Generator().manual_seed(0)
    edits = torch.arange(EDITS).repeat(EACH)
    directions = F.normalize(torch.randn(EDITS, WIDTH, generator=generator), dim=1)
    sources = F.normalize(torch.randn(len(edits), WIDTH, generator=generator), dim=1)
    steps = directions[edits] + noise * torch.randn(len(edits), WIDTH, generator=generator)
    return Vectors(sources, sources + 0.3 * steps, directions[edits].clone()), edits


def test_mined_pairs_share_the_edit_whatever_their_sources_are() -> None:
    made, edits = vectors()
    found = mine(made, OPEN, seed=0)
    assert len(found) > EDITS * EACH / 4
    assert (edits[found.a] == edits[found.b]).float().mean() > 0.98
    assert (found.a != found.b).all()


def test_the_step_is_the_difference_of_the_pictures_and_not_the_pictures() -> None:
    made, _ = vectors()
    expected = F.normalize(made.targets - made.sources, dim=1)
    assert torch.allclose(made.steps(), expected, atol=1e-6)
    moved = Vectors(made.sources + 1, made.targets + 1, made.words)
    assert torch.allclose(moved.steps(), made.steps(), atol=1e-5)


def test_filters_drop_sources_that_are_alike_and_instructions_that_disagree() -> None:
    made, _ = vectors(noise=2.0)
    limits = MiningConfig(most_alike=0.2, least_words=0.5, least_crossed=0.1)
    found = find_candidates(made, OPEN, 0)
    kept = found.where(passes(found, limits))
    assert 0 < len(kept) < len(found)
    assert kept.alike.max() <= 0.2 and kept.words.min() >= 0.5 and kept.crossed.min() >= 0.1
    for field, value in (("most_alike", -2.0), ("least_words", 2.0), ("least_crossed", 2.0)):
        assert not passes(found, OPEN.model_copy(update={field: value})).any()


def test_cosines_of_candidates_are_those_of_their_vectors() -> None:
    made, _ = vectors(noise=1.0)
    found = find_candidates(made, OPEN, 0)
    a, b = found.a, found.b
    steps = made.steps()
    assert torch.allclose(found.step, (steps[a] * steps[b]).sum(1), atol=1e-5)
    assert torch.allclose(found.alike, (made.sources[a] * made.sources[b]).sum(1), atol=1e-5)
    centred = F.normalize(made.words - made.words.mean(0), dim=1)
    crossed = torch.minimum((steps[a] * centred[b]).sum(1), (steps[b] * centred[a]).sum(1))
    assert torch.allclose(found.crossed, crossed, atol=1e-5)


def test_a_pair_goes_to_its_nearest_candidate_that_is_left_and_no_two_pairs_meet_twice() -> None:
    numbers = {"a": [0, 0, 1, 1, 2, 3], "b": [1, 2, 0, 2, 3, 2]}
    columns = {name: torch.tensor(values) for name, values in numbers.items()}
    found = Candidates(**columns, **{name: torch.zeros(6) for name in ("step", "alike", "words", "crossed")})
    first = first_of_each(found)
    assert list(zip(first.a.tolist(), first.b.tolist(), strict=True)) == [(0, 1), (1, 0), (2, 3), (3, 2)]
    once = each_once(first)
    assert list(zip(once.a.tolist(), once.b.tolist(), strict=True)) == [(0, 1), (2, 3)]
    nothing = found.where(torch.zeros(6, dtype=torch.bool))
    assert len(each_once(first_of_each(nothing))) == 0


def test_halves_mine_what_singles_do() -> None:
    made, edits = vectors()
    half = Vectors(made.sources.half(), made.targets.half(), made.words.half())
    found = mine(half, OPEN, seed=0)
    assert (edits[found.a] == edits[found.b]).float().mean() > 0.98


def test_clusters_grow_with_the_pairs_between_their_bounds() -> None:
    assert [cluster_count(n) for n in (2, 50, 1800, 40_000, 1_500_000)] == [2, FEWEST, 30, 141, MOST]


def test_one_pair_alone_is_refused() -> None:
    made, _ = vectors()
    with pytest.raises(ValueError, match="two pairs"):
        mine(Vectors(made.sources[:1], made.targets[:1], made.words[:1]), OPEN, 0)


def test_a_million_and_a_half_pairs_fit_24_gb_and_are_mined_in_minutes_on_16_cores() -> None:
    cost = MiningCost(1_500_000)
    assert 15 * GB < cost.memory < 20 * GB
    cores, card = (cost.seconds(machine) for machine in MACHINES)
    assert 30 < cores < 600 and card < 10
