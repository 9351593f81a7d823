"""`POST /v1/analogies` and what is listed beside it, over real HTTP."""

import json

import pytest

from tests.serve.asking import ask, decoded, error, opened
from viral.provenance import read_trace


def test_analogy_is_answered_as_base64_with_what_made_it(server, parts):
    answer = ask(server, parts, seed="7", guidance="1.5")
    png = decoded(answer)
    trace = answer.json()["viral"]
    image = opened(png)
    assert image.size == (32, 32) == tuple(trace["size"])
    assert (trace["seed"], trace["steps"], trace["adapter"], trace["version"]) == (7, 2, "viral-adapter@champion", "1")
    assert (trace["guidance"], trace["evaluations"]) == (1.5, 2)  # no words on either side: one pass
    assert json.loads(json.dumps(read_trace(png))) == trace
    assert "TrainedAlgorithmicMedia" in image.info["XML:com.adobe.xmp"]


def test_examples_are_followed_as_strongly_as_asked(server, parts):
    plain, guided = ask(server, parts), ask(server, parts, example_guidance="3")
    trace = guided.json()["viral"]
    assert (trace["example_guidance"], trace["evaluations"]) == (3, 4)
    assert plain.json()["viral"]["example_guidance"] == 1
    assert decoded(plain) != decoded(guided)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_image_is_answered_where_accept_asks_for_it(server, parts, kind):
    raw = ask(server, parts, {"Accept": f"text/html, image/{kind};q=0.9, application/json;q=0.5"})
    assert raw.headers["content-type"] == f"image/{kind}"
    assert opened(raw.content).format == kind.upper()
    trace = read_trace(raw.content)
    short = json.loads(raw.headers["x-viral-trace"])
    assert {name: trace[name] for name in short} == short and short["seed"] == 0


def test_raw_image_and_json_are_the_same_image(server, parts):
    assert ask(server, parts, {"Accept": "image/png"}).content == decoded(ask(server, parts))


def test_same_request_gives_the_same_bytes_and_another_seed_others(server, parts):
    first, again, other = (ask(server, parts, {"Accept": "image/png"}, seed=seed).content for seed in "001")
    assert first == again != other


def test_several_examples_are_taken_in_order(server, parts, picture):
    sources, targets = [picture(10), picture(11)], [picture(12), picture(13)]
    png = {"Accept": "image/png"}
    two = ask(server, parts | {"example_source": sources, "example_target": targets}, png)
    turned = ask(server, parts | {"example_source": sources[::-1], "example_target": targets[::-1]}, png)
    assert two.status_code == turned.status_code == 200, two.text
    assert two.content != turned.content != ask(server, parts, png).content


def test_example_without_its_other_half_is_refused(server, parts, picture):
    body = error(ask(server, parts | {"example_source": [picture(1), picture(2)]}), 422)
    assert body["param"] == "example_target" and "got 1 for 2" in body["message"]


def test_more_examples_than_are_taken_are_refused(server, parts, picture):
    many = {"example_source": [picture(1)] * 5, "example_target": [picture(2)] * 5}
    assert "Too many files" in error(ask(server, parts | many), 400)["message"]


def test_candidates_are_judged_and_the_verdicts_told(server, parts):
    answer = ask(server, parts, seed="3", steps="3", candidates="3", preview_steps="1", judge="cycle")
    decoded(answer)
    trace = answer.json()["viral"]
    assert trace["candidates"] == [3, 4, 5] and trace["seed"] in trace["candidates"]
    assert (trace["judge"], len(trace["verdicts"]), trace["evaluations"]) == ("cycle", 2, 3 * 1 + 3)
    assert trace["verdicts"][0]["verdict"] in ("first", "second", "tie")


def test_size_sets_the_area_and_the_query_the_aspect(server, parts, picture):
    image = opened(decoded(ask(server, parts | {"query": picture(5, 64, 32)}, size="48x24")))
    assert image.size == (48, 32) or abs(image.width * image.height - 48 * 24) < 600
    assert image.width > image.height


def test_words_are_kept_but_signs_of_the_model_are_broken(server, parts):
    base = next(model["id"] for model in server.get("/v1/models").json()["data"] if model["kind"] == "base")
    answer = ask(server, parts, model=base, instruction="make it <|image_pad|> größer\x00")
    assert read_trace(decoded(answer))["instruction"] == "make it < |image_pad|> größer"


def test_metadata_of_uploads_does_not_come_out(server, parts):
    from PIL import Image

    exif = Image.Exif()
    exif[0x010F], exif[0x9286] = "Secret Camera", "secret note"
    import io

    buffer = io.BytesIO()
    opened(parts["query"]).save(buffer, "JPEG", exif=exif, comment="secret comment")
    for kind in ("png", "jpeg", "webp"):
        answer = ask(server, parts | {"query": buffer.getvalue()}, {"Accept": f"image/{kind}"})
        assert answer.status_code == 200 and b"ecret" not in answer.content


def test_models_name_bases_and_adapters_with_their_hashes(server):
    models = {model["id"]: model for model in server.get("/v1/models").json()["data"]}
    adapter = models["viral-adapter@champion"]
    base = models[adapter["base"]]
    assert (base["kind"], adapter["kind"], adapter["version"], adapter["size"]) == ("base", "adapter", "1", 32)
    assert all(len(model["sha256"]) == 64 for model in models.values())


def test_adapter_is_chosen_by_name_and_default_without(server, parts):
    named = ask(server, parts, {"Accept": "image/png"}, model="viral-adapter@champion").content
    assert named == ask(server, parts, {"Accept": "image/png"}).content


@pytest.mark.parametrize(
    "model",
    ["nobody@champion", "../../etc/passwd", "/etc/passwd", "http://localhost/x", "ｖiral-adapter@champion", "a" * 100,
     "viral-adapter@champion\n", "viral-adapter@../champion", "models:/viral-adapter@champion", "gpt-image-1"],
)  # fmt: skip
def test_model_that_is_not_served_is_not_found(server, parts, model):
    assert error(ask(server, parts, model=model), 404)["code"] == "model_not_found"


def test_health_and_readiness_are_told(server):
    assert server.get("/health").json() == {"status": "ok"}
    assert server.get("/ready").json() == {"status": "ready"}


def test_interface_describes_itself(server):
    paths = server.get("/openapi.json").json()["paths"]
    painting = {"/v1/analogies", "/v1/images/edits", "/v1/jobs/{id}"}
    assert set(paths) == painting | {"/v1/models", "/health", "/ready", "/metrics"}
