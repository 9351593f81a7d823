import numpy as np
import pytest
from PIL import Image

from viral.data_config import EMBEDDED_CLIP
from viral.sampling.embedder import ClipEmbedder
from viral.sampling.judge_words import WordsJudge
from viral.sampling.judges import Candidate, Request
from viral.scenes import apply, instruction, render, sample_scene_for

EDITS = {"tone": {"look": "black and white"}, "time": {"time": "night"}, "ground": {"ground": "snow"}}


@pytest.fixture(scope="module")
def judge() -> WordsJudge:
    return WordsJudge(ClipEmbedder.load(str(EMBEDDED_CLIP)))


def test_it_prefers_the_edit_that_was_asked_for(judge: WordsJudge) -> None:
    """On scenes of three kinds: the edit made against each of the other two made instead, twelve questions."""
    won = []
    for kind, params in EDITS.items():
        for seed in (11, 12):
            scene = sample_scene_for(kind, params, seed)
            painted = {}
            for other, how in EDITS.items():
                try:
                    painted[other] = Image.fromarray(render(apply(scene, other, how), 64).image)
                except ValueError:
                    continue
            request = Request((), Image.fromarray(render(scene, 64).image), instruction(kind, params))
            candidates = {name: Candidate(lambda image=image: image) for name, image in painted.items()}
            won += [
                judge.better(request, candidates[kind], candidate).choice == "first"
                for name, candidate in candidates.items()
                if name != kind
            ]
    assert len(won) >= 9 and np.mean(won) >= 0.75


def test_what_stayed_as_it_was_scores_nothing_and_words_are_needed(judge: WordsJudge) -> None:
    query = Image.new("RGB", (64, 64), "red")
    assert judge.score(Request((), query, "Mirror the picture."), Candidate(lambda: query)) == pytest.approx(
        0, abs=1e-6
    )
    with pytest.raises(ValueError, match="needs an instruction"):
        judge.score(Request(((query, query),), query), Candidate(lambda: query))
