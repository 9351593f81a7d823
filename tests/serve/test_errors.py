"""Every refusal is an OpenAI error object that names what is wrong."""

import pytest

from tests.serve.asking import ask, error


def test_missing_part_is_named(server, parts):
    del parts["query"]
    assert error(ask(server, parts), 422)["param"] == "query"


def test_text_where_a_file_belongs_is_named(server, parts):
    del parts["query"]
    body = error(ask(server, parts, query="text"), 422)
    assert body["param"] == "query" and "send it as a file" in body["message"]


def test_unknown_field_is_named(server, parts):
    assert error(ask(server, parts, stepz="3"), 422)["param"] == "stepz"


@pytest.mark.parametrize(
    "fields",
    [{"seed": "-1"}, {"seed": "x"}, {"seed": "9" * 5000}, {"steps": "0"}, {"steps": "1000"}, {"guidance": "nan"},
     {"example_guidance": "0.5"},
     {"guidance": "1e999"}, {"candidates": "0"}, {"candidates": "99"}, {"preview_steps": "0"}, {"judge": "me"},
     {"size": "0x0"}, {"size": "9999x9999"}, {"size": "32x1024"}, {"size": "big"},
     {"preview_steps": "2", "candidates": "2"}],
)  # fmt: skip
def test_bad_parameter_is_named(server, parts, fields):
    assert error(ask(server, parts, **fields), 422)["param"] == next(iter(fields))


def test_words_beyond_the_limit_are_refused(server, parts):
    assert error(ask(server, parts, instruction="ü" * 2001), 422)["param"] == "instruction"
    error(ask(server, parts, instruction="x" * 100_000), 400)


def test_damaged_image_is_named(server, parts):
    parts["query"] = parts["query"][:200]
    body = error(ask(server, parts), 400)
    assert (body["param"], body["code"]) == ("query", "invalid_image")


def test_image_beyond_the_limits_is_refused(server, parts, picture):
    for data in (picture(0, 400, 300), picture(0, 400, 10)):
        assert error(ask(server, parts | {"query": data}), 400)["param"] == "query"


def test_other_kinds_of_file_are_refused(server, parts):
    assert error(ask(server, parts | {"example_target": b"GIF89a and so on"}), 415)["param"] == "example_target"


def test_judge_that_is_not_there_is_refused(server, parts):
    body = error(ask(server, parts, steps="3", candidates="2", preview_steps="1", judge="vlm"), 400)
    assert "no vision-language model" in body["message"]


@pytest.mark.parametrize("path", ["/v1/analogies", "/v1/images/edits"])
def test_body_must_be_multipart(server, path):
    error(server.post(path, json={"query": "x"}), 415)
    error(server.post(path), 415)


@pytest.mark.parametrize("path", ["/v1/analogies", "/v1/images/edits"])
def test_body_beyond_the_limit_is_refused(server, parts, path):
    body = error(ask(server, parts | {"query": bytes(3_000_000)}, path=path), 413)
    assert body["code"] == "body_too_large"


def test_body_of_undeclared_length_is_refused_as_it_grows(server):
    head = b'--x\r\nContent-Disposition: form-data; name="query"; filename="q"\r\n\r\n'
    chunks = (chunk for chunk in [head, *[bytes(100_000)] * 30])
    answer = server.post("/v1/analogies", content=chunks, headers={"Content-Type": "multipart/form-data; boundary=x"})
    error(answer, 413)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/nothing", 404), ("GET", "/page/../keys.py", 404), ("GET", "/page/nothing.js", 404),
     ("GET", "/v1/analogies", 405), ("PUT", "/v1/models", 405), ("POST", "/health", 405), ("GET", "/v1/jobs/0", 404),
     ("DELETE", "/v1/jobs/x'--", 404)],
)  # fmt: skip
def test_unknown_path_and_method_are_error_objects(server, method, path, status):
    body = error(server.request(method, path), status)
    assert body["code"] == ("not_found" if status == 404 else "method_not_allowed")


def test_methods_that_a_path_takes_are_told(server):
    assert server.get("/v1/analogies").headers["allow"] == "POST"
    assert server.put("/v1/jobs/x").headers["allow"] == "DELETE, GET"


def test_answer_names_the_request_as_the_client_did(server):
    assert server.get("/v1/nothing", headers={"X-Request-ID": "mine-7"}).headers["x-request-id"] == "mine-7"
