"""The figures of mining, on candidates whose hits can be counted by hand."""

import json

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from viral.data.mining import Candidates, Vectors
from viral.data_config import MiningConfig
from viral.evaluation.mining import (
    ALIKE,
    BAR,
    WORDS,
    Truth,
    among,
    at_random,
    by_kind,
    compare_methods,
    precision,
    share_of_others,
    sweep,
)

GROUPS = [json.dumps([kind, {"colour": colour}]) for kind in ("paint", "zoom") for colour in ("red", "blue")] * 5
TRUTH = Truth.of(GROUPS)


def candidates(a: list[int], b: list[int]) -> Candidates:
    nothing = torch.zeros(len(a))
    return Candidates(
        torch.tensor(a, dtype=torch.long), torch.tensor(b, dtype=torch.long), nothing, nothing, nothing, nothing
    )


def test_hits_are_counted_by_edit_and_by_kind() -> None:
    row = precision("x", candidates([0, 0, 1, 2], [4, 1, 5, 0]), TRUTH, samples=200)
    assert (row.edit, row.kind, row.quadruplets) == (0.5, 0.75, 4)
    assert row.times.mean == pytest.approx(0.5 / (4 / 19)) and row.times.low <= row.times.mean <= row.times.high
    assert row.beyond.mean == pytest.approx(0.5 - BAR * 4 / 19)


def test_random_pairing_is_exact() -> None:
    assert np.allclose(share_of_others(TRUTH.edits), 4 / 19)
    row = at_random(TRUTH)
    assert (row.edit, row.kind) == (pytest.approx(4 / 19), pytest.approx(9 / 19)) and row.beyond.high < 0


def test_pairs_without_a_known_edit_are_refused() -> None:
    with pytest.raises(ValueError, match="have no group"):
        Truth.of([*GROUPS, None])


def test_a_method_that_finds_nothing_says_so() -> None:
    with pytest.raises(ValueError, match="no quadruplet"):
        precision("x", candidates([], []), TRUTH, samples=100)


def test_kinds_are_told_apart_and_some_pairs_can_be_looked_at_alone() -> None:
    found = candidates([0, 2, 3], [4, 3, 7])
    assert by_kind(found, GROUPS, TRUTH) == {"paint": (1, 1.0), "zoom": (2, 0.5)}
    marked = np.zeros(20, bool)
    marked[[2, 3]] = True
    assert among(found, marked).a.tolist() == [2, 3]


def test_a_space_where_edits_are_directions_beats_one_where_they_are_not() -> None:
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(4, 16, generator=generator)
    sources = F.normalize(torch.randn(20, 16, generator=generator), dim=1)
    edits = torch.from_numpy(TRUTH.edits)
    good = Vectors(sources, sources + directions[edits], F.normalize(directions[edits], dim=1))
    poor = Vectors(sources, torch.randn(20, 16, generator=generator), torch.zeros(20, 16))
    config = MiningConfig(clusters=2, most_alike=2.0)
    rows = compare_methods({"good": good, "poor": poor}, "good", TRUTH, config, samples=200, seed=0)
    assert [row.method.split(",")[0] for row in rows] == [
        "random pairing",
        "nearest step",
        "nearest step",
        "mined: with the filters",
    ]
    assert rows[1].edit == rows[3].edit == 1.0 > rows[2].edit
    assert rows[3].beyond.low > 0 >= rows[0].beyond.high


def test_the_sweep_covers_both_thresholds_and_keeps_fewest_where_both_are_strict() -> None:
    generator = torch.Generator().manual_seed(1)
    made = Vectors(*(F.normalize(torch.randn(20, 16, generator=generator), dim=1) for _ in range(3)))
    rows = sweep(made, TRUTH, MiningConfig(clusters=2, least_crossed=-2.0), 0)
    assert len(rows) == len(ALIKE) * len(WORDS)
    kept = np.array([row["quadruplets"] for row in rows]).reshape(len(ALIKE), len(WORDS))
    assert kept[-1, 0] > kept[0, -1]
