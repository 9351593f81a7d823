"""The official OpenAI client works against this server unchanged."""

import base64

import httpx
import openai
import pytest

from tests.serve.asking import ask, decoded, opened
from viral.provenance import read_trace


@pytest.fixture
def client(server: httpx.Client) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.base_url}/v1", api_key="none needed here", max_retries=0)


def image_of(answer) -> bytes:
    return base64.b64decode(answer.data[0].b64_json)


def test_three_images_are_an_analogy(client, server, parts):
    images = [(f"{name}.png", data) for name, data in parts.items()]
    answer = client.images.edit(image=images, prompt="", model="viral-adapter@champion", extra_body={"seed": 5})
    assert image_of(answer) == decoded(ask(server, parts, seed="5"))
    assert (answer.size, answer.output_format, answer.background) == ("32x32", "png", "opaque")
    assert answer.created > 1_700_000_000 and answer.viral[0]["adapter"] == "viral-adapter@champion"


def test_five_images_are_an_analogy_of_two_examples(client, server, picture):
    a, a2, c, c2, b = (picture(seed) for seed in range(5))
    answer = client.images.edit(image=[a, a2, c, c2, b], prompt="")
    two = {"example_source": [a, c], "example_target": [a2, c2], "query": b}
    assert image_of(answer) == decoded(ask(server, two))


def test_one_image_and_a_prompt_is_an_edit_as_told(client, parts):
    answer = client.images.edit(image=parts["query"], prompt="make it darker")
    trace = read_trace(image_of(answer))
    assert (trace["instruction"], trace["adapter"], answer.size) == ("make it darker", None, "32x32")


def test_n_images_are_those_of_n_seeds(client, server, parts):
    answer = client.images.edit(image=list(parts.values()), prompt="", n=2, extra_body={"seed": 8})
    each = [decoded(ask(server, parts, seed=seed)) for seed in ("8", "9")]
    assert [base64.b64decode(image.b64_json) for image in answer.data] == each


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_output_format_is_kept(client, parts, kind):
    answer = client.images.edit(
        image=list(parts.values()), prompt="", output_format=kind, output_compression=80, response_format="b64_json"
    )
    image = opened(image_of(answer))
    assert image.format == kind.upper() and read_trace(image_of(answer))["seed"] == 0


def test_stream_is_partial_images_and_the_image(client, server, parts):
    stream = client.images.edit(
        image=list(parts.values()), prompt="", stream=True, partial_images=1,
        extra_body={"steps": 3, "candidates": 2, "preview_steps": 1},
    )  # fmt: skip
    *partial, completed = list(stream)
    assert [event.type for event in partial] == ["image_edit.partial_image"]
    assert partial[0].partial_image_index == 0 and opened(base64.b64decode(partial[0].b64_json))
    assert completed.type == "image_edit.completed" and completed.size == "32x32"
    plain = ask(server, parts, steps="3", candidates="2", preview_steps="1")
    assert base64.b64decode(completed.b64_json) == decoded(plain)


@pytest.mark.parametrize(
    ("options", "error", "param"),
    [
        ({"prompt": ""}, openai.UnprocessableEntityError, "prompt"),
        ({"prompt": "x", "size": "1x1"}, openai.UnprocessableEntityError, "size"),
        ({"prompt": "x", "n": 11}, openai.UnprocessableEntityError, "n"),
        ({"prompt": "x", "model": "gpt-image-1"}, openai.NotFoundError, "model"),
        ({"prompt": "x", "mask": b"x"}, openai.UnprocessableEntityError, "mask"),
        ({"prompt": "x", "response_format": "url"}, openai.UnprocessableEntityError, "response_format"),
        ({"prompt": "x", "image": b"no image"}, openai.APIStatusError, "image"),
        ({"prompt": "x", "image": [b"1", b"2"]}, openai.UnprocessableEntityError, "image[]"),
        ({"prompt": "x", "image": []}, openai.UnprocessableEntityError, "image"),
    ],
)
def test_refusals_are_the_clients_own_errors(client, picture, options, error, param):
    with pytest.raises(error) as raised:
        client.images.edit(**{"image": picture(0), **options})
    assert raised.value.param == param and raised.value.request_id


def test_models_are_listed_and_waiting_work_keeps_its_key(client, parts):
    assert "viral-adapter@champion" in [model.id for model in client.models.list()]
    key = {"Idempotency-Key": "openai-1"}
    first, again = (client.images.edit(image=list(parts.values()), prompt="", extra_headers=key) for _ in range(2))
    assert image_of(first) == image_of(again)
