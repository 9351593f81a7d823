"""What is heard while an image is painted."""

import base64

from tests.serve.asking import ask, decoded, error, events, opened
from viral.provenance import read_trace

LISTEN = {"Accept": "text/event-stream"}


def test_steps_previews_and_verdicts_come_before_the_image(server, parts):
    asked = {"steps": "4", "candidates": "2", "preview_steps": "1", "judge": "cycle"}
    heard = events(ask(server, parts, LISTEN, **asked))
    assert all(data["type"] == name for name, data in heard)
    names = [name for name, _ in heard]
    assert names[-1] == "image" and names.count("image") == names.count("verdict") == 1
    steps = [data["step"] for name, data in heard if name == "step"]
    assert steps == sorted(steps) and steps[-1] == heard[0][1]["steps"]
    assert names.index("preview") < names.index("verdict") < len(names) - 1 - names[::-1].index("step")
    previews = [data for name, data in heard if name == "preview"]
    assert {data["candidate"] for data in previews} == {0, 1}
    assert opened(base64.b64decode(previews[0]["b64_json"])).size == (32, 32)
    image = heard[-1][1]
    assert base64.b64decode(image["data"][0]["b64_json"]) == decoded(ask(server, parts, **asked))
    verdict = next(data for name, data in heard if name == "verdict")
    assert [{**verdict, "type": "verdict"}] == [{**told, "type": "verdict"} for told in image["viral"]["verdicts"]]


def test_stream_that_cannot_begin_is_an_answer_of_its_own(server, parts):
    assert error(ask(server, parts, LISTEN, model="nobody@home"), 404)["code"] == "model_not_found"
    assert error(ask(server, parts | {"query": b"x"}, LISTEN), 415)["param"] == "query"


def test_stream_that_is_left_frees_the_editor(server, parts):
    fields = {name: (f"{name}.png", data, "image/png") for name, data in parts.items()}
    for _ in range(8):
        with server.stream(
            "POST", "/v1/analogies", files=fields, data={"steps": "100", "size": "96x96"}, headers=LISTEN
        ) as answer:
            next(answer.iter_text())
    assert read_trace(decoded(ask(server, parts)))["steps"] == 2
