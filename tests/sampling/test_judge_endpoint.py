import json
import time
from typing import Any

import numpy as np
import pytest
from PIL.Image import Image
from PIL.Image import new as new_image

from viral.sampling.judge_endpoint import Endpoint, EndpointJudge
from viral.sampling.judges import Candidate, JudgeError, Request

A, A2, B = (new_image("RGB", (16, 16), colour) for colour in ("red", "green", "blue"))
REQUEST = Request(((A, A2),), B, "make it bright")
DARK, BRIGHT = (Candidate(lambda grey=grey: new_image("RGB", (16, 16), (grey,) * 3)) for grey in (40, 200))


def brighter(words: str, images: list[Image]) -> str:
    """A verdict from the last two pictures."""
    first, second = (np.asarray(image).mean() for image in images[-2:])
    better = 1 if first > second else 2 if second > first else "tie"
    return json.dumps({"reason": f"{first} {second}", "better": better})


@pytest.fixture
def chat(chat_server: Any) -> Any:
    chat_server.reply = brighter
    return chat_server


def judge(chat: Any, **options: Any) -> EndpointJudge:
    return EndpointJudge(Endpoint(chat.url, "some-vlm", **{"backoff": 0.0, "deadline": 20.0, **options}))


def test_the_verdict_comes_from_the_pictures_so_swapping_them_changes_it(chat: Any) -> None:
    assert judge(chat).better(REQUEST, BRIGHT, DARK).choice == "first"
    assert judge(chat).better(REQUEST, DARK, BRIGHT).choice == "second"
    assert judge(chat).better(REQUEST, DARK, DARK).choice == "tie"


def test_the_endpoint_is_sent_the_whole_request(chat: Any) -> None:
    seen: list = []
    chat.reply = lambda words, images: seen.extend([words, *images]) or '{"better": 1}'
    judge(chat, api_key="secret", max_side=8).better(REQUEST, BRIGHT, DARK)
    words, *images = seen
    assert "make it bright" in words
    colours = [image.getpixel((0, 0)) for image in images]
    assert colours == [(255, 0, 0), (0, 128, 0), (0, 0, 255), (200,) * 3, (40,) * 3]
    assert {image.size for image in images} == {(8, 8)}
    headers, body = chat.requests[0]
    assert headers["Authorization"] == "Bearer secret"
    assert (body["model"], body["temperature"]) == ("some-vlm", 0)


def test_passing_failures_are_tried_again(chat: Any) -> None:
    chat.failures = [(429, {"Retry-After": "0"}, b"slow down"), (503, {}, b"starting"), (500, {}, b"")]
    assert judge(chat).better(REQUEST, BRIGHT, DARK).choice == "first"
    assert len(chat.requests) == 4


def test_pauses_double_and_heed_the_server(chat: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    chat.failures = [(503, {}, b""), (503, {}, b""), (429, {"Retry-After": "3"}, b"")]
    judge(chat, backoff=0.25).better(REQUEST, BRIGHT, DARK)
    assert pauses == [0.25, 0.5, 3.0]


def test_attempts_are_limited(chat: Any) -> None:
    chat.failures = [(503, {}, b"")] * 9
    with pytest.raises(JudgeError, match="no answer in 3 attempts.*status 503"):
        judge(chat, attempts=3).better(REQUEST, BRIGHT, DARK)
    assert len(chat.requests) == 3


def test_a_refusal_is_not_tried_again_and_keeps_the_key_secret(chat: Any) -> None:
    chat.failures = [(401, {}, b"bad key")]
    with pytest.raises(JudgeError, match="status 401: bad key") as refused:
        judge(chat, api_key="secret").better(REQUEST, BRIGHT, DARK)
    assert len(chat.requests) == 1
    assert "secret" not in str(refused.value) + repr(judge(chat, api_key="secret").endpoint)


def test_a_silent_server_is_given_up_at_the_deadline(chat: Any) -> None:
    chat.released.clear()
    began = time.monotonic()
    with pytest.raises(JudgeError, match="no answer in 1 attempts and 0.3 s: ReadTimeout"):
        judge(chat, deadline=0.3).better(REQUEST, BRIGHT, DARK)
    assert time.monotonic() - began < 5


def test_a_pause_beyond_the_deadline_is_not_waited_for(chat: Any) -> None:
    chat.failures = [(429, {"Retry-After": "3600"}, b"")]
    began = time.monotonic()
    with pytest.raises(JudgeError, match="status 429"):
        judge(chat).better(REQUEST, BRIGHT, DARK)
    assert time.monotonic() - began < 5


def test_a_dead_address_is_a_broken_judge(chat: Any) -> None:
    dead = EndpointJudge(Endpoint("http://127.0.0.1:9/v1", "m", attempts=2, backoff=0.0))
    with pytest.raises(JudgeError, match="2 attempts.*ConnectError"):
        dead.better(REQUEST, BRIGHT, DARK)


@pytest.mark.parametrize("text", ["the first one", '{"better": 3}', '{"better": null}', '{"best": 1}', ""])
def test_an_answer_in_another_form_is_no_verdict(chat: Any, text: str) -> None:
    chat.reply = lambda words, images: text
    verdict = judge(chat).better(REQUEST, BRIGHT, DARK)
    assert verdict.choice == "none" and verdict.reason
    assert len(chat.requests) == 1


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"choices": []}', b'{"choices": null}'])
def test_a_server_of_another_kind_is_a_broken_judge(chat: Any, body: bytes) -> None:
    chat.failures = [(200, {}, body)]
    with pytest.raises(JudgeError, match="no chat completion"):
        judge(chat).better(REQUEST, BRIGHT, DARK)
