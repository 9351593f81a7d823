"""The consensus judge: the middle of the field wins, and nobody is painted to find it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial.distance import cdist

from viral.model.backbone import load_backbone
from viral.sampling.editor import Editor
from viral.sampling.judge_consensus import ConsensusJudge
from viral.sampling.judges import Candidate, FieldJudge, JudgeError, Request

PICTURE = Image.new("RGB", (32, 32))
REQUEST = Request(((PICTURE, PICTURE),), PICTURE)


def candidate(latents: torch.Tensor | None) -> Candidate:
    def paint() -> Image.Image:
        raise AssertionError("nobody needs to see this")

    return Candidate(paint, latents)


def field(*places: float) -> list[Candidate]:
    return [candidate(torch.full((1, 2, 4, 4), place)) for place in places]


def test_the_candidate_nearest_to_all_others_is_better_than_each() -> None:
    judge, (left, middle, near, far) = ConsensusJudge(), (candidates := field(-1.0, 0.0, 0.5, 9.0))
    judge.meet(candidates)
    assert isinstance(judge, FieldJudge)
    assert {judge.better(REQUEST, near, other).choice for other in (left, far)} == {"first"}
    assert judge.better(REQUEST, far, left).choice == "second"
    assert judge.better(REQUEST, middle, middle).choice == "tie"


def test_distances_are_scipys() -> None:
    latents = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    candidates = [candidate(one[None]) for one in latents]
    judge = ConsensusJudge()
    judge.meet(candidates)
    places = latents.flatten(1).double().numpy()
    best = int(np.argmin(cdist(places, places).mean(1)))
    others = [one for i, one in enumerate(candidates) if i != best]
    assert {judge.better(REQUEST, candidates[best], other).choice for other in others} == {"first"}


def test_the_filter_finishes_the_seed_in_the_middle(tiny_base: Path) -> None:
    editor = Editor(load_backbone(str(tiny_base)), None, None)
    example = (Image.new("RGB", (32, 32), "red"), Image.new("RGB", (32, 32), "blue"))
    query, filtering = Image.new("RGB", (32, 32), "green"), {"preview_steps": 1, "seeds": [3, 4, 5, 6]}
    edit = editor.filtered([example], query, "tint it", judge=ConsensusJudge(), size=32, steps=3, **filtering)
    assert edit.trace["judge"] == "consensus" and edit.trace["error"] is None
    told = [comparison["verdict"]["reason"] for comparison in edit.trace["comparisons"]]
    assert len(told) == 3 and all("from the others" in reason for reason in told)
    alone = editor([example], query, "tint it", steps=3, seed=edit.trace["seed"], size=32)
    assert np.array_equal(np.asarray(edit.image), np.asarray(alone.image))


def test_candidates_without_latents_and_damaged_ones_are_not_judged() -> None:
    judge = ConsensusJudge()
    with pytest.raises(ValueError, match="use another judge"):
        judge.meet([*field(1.0), candidate(None)])
    broken = field(0.0, float("nan"))
    judge.meet(broken)
    with pytest.raises(JudgeError, match="damaged"):
        judge.better(REQUEST, *broken)
