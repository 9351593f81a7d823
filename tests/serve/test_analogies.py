"""The interface over real HTTP."""

import base64
import io

import httpx
import pytest
from PIL import Image

from viral.provenance import read_trace


def ask(server: httpx.Client, parts: dict[str, bytes], headers: dict | None = None, **fields: str) -> httpx.Response:
    files = {name: (f"{name}.png", data, "image/png") for name, data in parts.items()}
    return server.post("/v1/analogies", files=files, data=fields, headers=headers)


def error(answer: httpx.Response, status: int) -> dict:
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"}
    body = answer.json()["error"]
    assert set(body) == {"message", "type", "param", "code"}
    return body


def test_analogy_is_answered_as_base64_with_what_made_it(server, parts):
    answer = ask(server, parts, seed="7")
    assert answer.status_code == 200, answer.text
    trace = answer.json()["viral"]
    png = base64.b64decode(answer.json()["data"][0]["b64_json"])
    image = Image.open(io.BytesIO(png))
    assert image.size == (32, 32) == tuple(trace["size"])
    assert (trace["seed"], trace["steps"], trace["adapter"], trace["version"]) == (7, 2, "viral-adapter@champion", "1")
    assert read_trace(png) == trace
    assert "TrainedAlgorithmicMedia" in image.info["XML:com.adobe.xmp"]


def test_png_is_answered_where_accept_asks_for_it(server, parts):
    as_json = ask(server, parts).json()
    raw = ask(server, parts, {"Accept": "image/png"})
    assert raw.headers["content-type"] == "image/png"
    assert raw.content == base64.b64decode(as_json["data"][0]["b64_json"])
    assert '"seed":0' in raw.headers["x-viral-trace"]


def test_same_request_gives_the_same_bytes_and_another_seed_others(server, parts):
    assert ask(server, parts).content == ask(server, parts).content
    png = {"Accept": "image/png"}
    assert ask(server, parts, png).content != ask(server, parts, png, seed="1").content


def test_jpeg_and_webp_are_taken(server, parts, picture):
    parts |= {"query": picture(3, 48, 32, "JPEG"), "example_source": picture(4, kind="WEBP")}
    answer = ask(server, parts)
    assert answer.status_code == 200, answer.text


def test_models_name_base_and_adapter_with_their_hashes(server):
    base, adapter = server.get("/v1/models").json()["data"]
    assert (base["kind"], adapter["kind"], adapter["id"]) == ("base", "adapter", "viral-adapter@champion")
    assert (adapter["version"], adapter["size"]) == ("1", 32)
    assert all(len(model["sha256"]) == 64 for model in (base, adapter))


def test_health_and_readiness_are_told(server):
    assert server.get("/health").json() == {"status": "ok"}
    assert server.get("/ready").json() == {"status": "ready"}


def test_interface_describes_itself(server):
    paths = server.get("/openapi.json").json()["paths"]
    assert set(paths) == {"/v1/analogies", "/v1/models", "/health", "/ready"}


def test_missing_part_is_named(server, parts):
    del parts["query"]
    assert error(ask(server, parts), 422)["param"] == "query"


@pytest.mark.parametrize("fields", [{"seed": "-1"}, {"seed": "x"}, {"steps": "0"}, {"steps": "1000"}])
def test_bad_parameter_is_named(server, parts, fields):
    assert error(ask(server, parts, **fields), 422)["param"] == next(iter(fields))


def test_damaged_image_is_named(server, parts):
    parts["query"] = parts["query"][:200]
    body = error(ask(server, parts), 400)
    assert (body["param"], body["code"]) == ("query", "invalid_image")


def test_empty_file_is_named(server, parts):
    parts["query"] = b""
    assert error(ask(server, parts), 400)["param"] == "query"


def test_image_beyond_the_limits_is_refused(server, parts, picture):
    for data in (picture(0, 400, 300), picture(0, 400, 10)):
        assert error(ask(server, parts | {"query": data}), 400)["param"] == "query"


@pytest.mark.parametrize("data", [b"GIF89a and so on", b"not an image"])
def test_other_kinds_of_file_are_refused(server, parts, data):
    assert error(ask(server, parts | {"example_target": data}), 415)["param"] == "example_target"


def test_body_must_be_multipart(server):
    error(server.post("/v1/analogies", json={"query": "x"}), 415)
    error(server.post("/v1/analogies"), 415)


def test_body_beyond_the_limit_is_refused(server, parts):
    body = error(ask(server, parts | {"query": bytes(3_000_000)}), 413)
    assert body["code"] == "body_too_large"


def test_body_of_undeclared_length_is_refused_as_it_grows(server):
    head = b'--x\r\nContent-Disposition: form-data; name="query"; filename="q"\r\n\r\n'
    chunks = (chunk for chunk in [head, *[bytes(100_000)] * 30])
    answer = server.post("/v1/analogies", content=chunks, headers={"Content-Type": "multipart/form-data; boundary=x"})
    error(answer, 413)


def test_garbled_multipart_is_an_error_object(server):
    for kind in ("multipart/form-data", "multipart/form-data; boundary=x"):
        answer = server.post("/v1/analogies", content=b"garbage", headers={"Content-Type": kind})
        assert error(answer, answer.status_code)["type"] == "invalid_request_error"
        assert answer.status_code in (400, 422)


def test_unknown_path_and_method_are_error_objects(server):
    assert error(server.get("/v1/nothing"), 404)["code"] == "not_found"
    answer = server.get("/v1/analogies")
    assert error(answer, 405)["code"] == "method_not_allowed"
    assert answer.headers["allow"] == "POST"
