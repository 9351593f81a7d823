"""The frozen base: told nothing, the task, or what a model sees in the pair."""

from dataclasses import replace
from typing import Any

import pytest

from tests.evaluation.peers.conftest import differ, loaded, make_case, picture
from viral.config import PerceptualConfig, RunConfig
from viral.evaluation.peers.derived import Chooser, ClosestWords
from viral.evaluation.peers.pictures import query_of, sized_as
from viral.evaluation.peers.registry import build_peer
from viral.evaluation.protocols.case import Case
from viral.sampling.editor import Editor


def test_told_nothing_the_example_changes_nothing(run_config: RunConfig, cases: list[Case]) -> None:
    method = loaded(run_config, kind="base")
    without = [replace(case, examples=()) for case in cases]
    for one, other in zip(method.answer(cases), method.answer(without), strict=True):
        assert differ(one, other) == 0


def test_told_the_task_it_answers_as_the_editor_without_an_adapter(run_config: RunConfig) -> None:
    case = make_case(0)
    painted = Editor.load(run_config.base)(
        [], query_of(case), "Invert the colours.", steps=2, seed=case.seed, size=run_config.data.size
    ).image  # fmt: skip
    (answer,) = loaded(run_config, kind="base", words="instruction").answer([case])
    assert differ(answer, sized_as(painted, case.query)) == 0
    (silent,) = loaded(run_config, kind="base", words="instruction").answer([make_case(0, task="unheard of")])
    assert silent is None


def test_a_vision_language_model_puts_the_pair_into_words_once(run_config: RunConfig, chat_server: Any) -> None:
    seen = []

    def reply(words: str, images: list) -> str:
        seen.append(len(images))
        return "tint it red"

    chat_server.reply = reply
    talker = {"url": chat_server.url, "name": "some-vlm"}
    method = loaded(run_config, kind="base", words="derived", deriver=talker)
    derived, again, unasked = method.answer([make_case(0), make_case(0), make_case(0, examples=0)])
    (told,) = loaded(run_config, kind="base", words="instruction").answer([make_case(0, instruction="tint it red")])
    assert differ(derived, told) <= 1 and differ(derived, again) == 0 and unasked is None
    assert seen == [2]
    chat_server.reply = lambda words, images: "word " * 90
    assert method.answer([make_case(1)]) == [None]  # that was no instruction


def test_the_closest_phrase_stands_in_for_a_model_that_speaks(run_config: RunConfig) -> None:
    """Of light, which the embedded embedder knows."""
    phrases, lit = ("make it a dark night", "make it a bright day"), picture(1, 64, 64) // 2 + 127
    words = ClosestWords(Chooser(phrases=phrases), run_config, "cpu")
    darker, brighter = (make_case(0, examples=0) for _ in range(2))
    darker, brighter = replace(darker, examples=((lit, lit // 5),)), replace(brighter, examples=((lit // 5, lit),))
    assert (words(darker), words(brighter), words(make_case(0, examples=0))) == (*phrases, None)


def test_what_chose_the_words_is_on_record(run_config: RunConfig) -> None:
    record = build_peer("it", kind="base", words="derived").record(run_config)
    assert len(record["deriver"]["sha256"]) == 64
    assert build_peer("it", kind="base").record(run_config)["deriver"] is None
    asking = run_config.model_copy(update={"perceptual": PerceptualConfig(vlm={"url": "http://x", "name": "a-vlm"})})
    assert build_peer("it", kind="base", words="derived").record(asking)["deriver"]["model"] == "a-vlm"


def test_a_text_encoder_that_sees_the_query_says_something_else(run_config: RunConfig) -> None:
    case = [make_case(0)]
    alone, beside = (loaded(run_config, kind="base", words="instruction", shown=shown) for shown in (False, True))
    assert differ(alone.answer(case)[0], beside.answer(case)[0]) > 0


def test_a_research_licence_of_the_model_that_speaks_is_refused_first(run_config: RunConfig) -> None:
    talker = {"model": "Qwen/Qwen2.5-VL-3B-Instruct"}
    with pytest.raises(ValueError, match=r"research.*accept_licences=\[qwen-research\]"):
        build_peer("it", kind="base", words="derived", deriver=talker).load("it", run_config, "cpu")
