import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL.Image import Image
from PIL.Image import new as new_image

from viral.evaluation.viescore import CONSISTENCY, QUALITY, VIEScore, read_ratings, viescore
from viral.sampling.judge_endpoint import Endpoint
from viral.sampling.judge_prompt import AnswerError
from viral.sampling.judge_vlm import VisionLanguageModel
from viral.sampling.judges import Request

RED, GREY, WHITE = (new_image("RGB", (56, 56), colour) for colour in ("red", (102,) * 3, "white"))
REQUEST = Request((), RED, "make it grey")


def test_each_half_is_the_lower_of_its_ratings_and_the_whole_their_geometric_mean() -> None:
    score = VIEScore(success=9.0, preservation=4.0, naturalness=10.0, cleanness=9.0)
    assert (score.sc, score.pq, score.overall) == (4, 9, 6)
    assert VIEScore(0.0, 10.0, 10.0, 10.0).overall == 0


@pytest.mark.parametrize(
    "text",
    [
        '||V^=^V|| {"reason": "fine", "score": [8, 7.5]} ||V^=^V||',
        '||V^=^V||{"score": [8, 7.5]}',
        '```json\n{"score": [8, 7.5], "reason": "a } brace"}\n```',
        'The form was {"reason": "...", "score": [x, y]}. So: {"score": [8, 7.5]}',
    ],
)
def test_ratings_are_read_whatever_stands_around_them(text: str) -> None:
    assert read_ratings(text) == (8, 7.5)


@pytest.mark.parametrize(
    "text",
    ['{"score": [8]}', '{"score": [8, 11]}', '{"score": [8, -1]}', '{"score": [8, "7"]}', '{"score": 8}',
     '{"score": [8, true]}', '{"score": [8, NaN]}', '{"score": [1, 2, 3]}', '{"score": [1, 2, "x"]}', "8 and 7"],
)  # fmt: skip
def test_other_replies_are_no_score(text: str) -> None:
    with pytest.raises(AnswerError, match="expected a"):
        read_ratings(text)


def test_an_endpoint_rates_the_pictures_it_is_sent(chat_server: Any) -> None:
    """Its ratings are the brightness of the edited image, so the server must have got that image."""

    def rate(words: str, images: list[Image]) -> str:
        assert [len(images), "make it grey" in words] in ([2, True], [1, False])
        light = float(np.asarray(images[-1]).mean()) / 25.5
        return "||V^=^V|| " + json.dumps({"reason": "light", "score": [light, 10]}) + " ||V^=^V||"

    chat_server.reply = rate
    answer = Endpoint(chat_server.url, "some-vlm").answer
    assert viescore(answer, REQUEST, GREY).overall == pytest.approx(4)
    assert viescore(answer, REQUEST, WHITE).overall == pytest.approx(10)
    assert len(chat_server.requests) == 4


def test_an_analogy_is_rated_by_its_example() -> None:
    message = CONSISTENCY.fill(Request(((RED, GREY),), WHITE), output=RED)
    assert [part for part in message if not isinstance(part, str)] == [RED, GREY, WHITE, RED]
    assert [part for part in QUALITY.fill(REQUEST, output=GREY) if not isinstance(part, str)] == [GREY]


def test_a_local_model_is_asked_by_generation(tiny_base: Path) -> None:
    """Random weights write no JSON, and that is said rather than scored."""
    model = VisionLanguageModel.load(str(tiny_base))
    with pytest.raises(AnswerError, match="'score'"):
        viescore(lambda message: model.answer(message, max_tokens=8), REQUEST, GREY)


def test_wording_changes_only_with_its_id() -> None:
    assert CONSISTENCY.name == "viescore-consistency-1@b3a78e99b8e7"
    assert QUALITY.name == "viescore-quality-1@0584738ebf55"
