"""Work that is answered later, and work that is asked for twice."""

import time

import httpx
import pytest

from tests.serve.asking import ask, decoded, error
from viral.provenance import read_trace

LATER = {"Prefer": "respond-async"}


def finished(server: httpx.Client, job: str) -> dict:
    """The job when it is over, asked for as a client does."""
    for _ in range(600):
        answer = server.get(f"/v1/jobs/{job}")
        assert answer.status_code == 200, answer.text
        if answer.json()["status"] not in ("queued", "running"):
            return answer.json()
        assert int(answer.headers["retry-after"]) > 0
        time.sleep(0.1)
    raise AssertionError(f"{job} did not end")


def test_work_for_later_is_accepted_and_done(server, parts):
    answer = ask(server, parts, LATER, seed="21")
    assert answer.status_code == 202 and answer.headers["preference-applied"] == "respond-async"
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}" and job["status"] in ("queued", "running")
    done = finished(server, job["id"])
    assert done["status"] == "done" and done["error"] is None and done["ended"] >= done["created"]
    png = decoded(ask(server, parts, seed="21"))
    assert done["result"] == {**ask(server, parts, seed="21").json()}
    raw = server.get(f"/v1/jobs/{job['id']}", headers={"Accept": "image/png"})
    assert raw.content == png
    assert read_trace(server.get(f"/v1/jobs/{job['id']}", headers={"Accept": "image/webp"}).content)["seed"] == 21


def test_openais_route_takes_work_for_later_too(server, parts):
    answer = ask(server, {"image[]": list(parts.values())}, LATER, path="/v1/images/edits", seed="22")
    assert finished(server, answer.json()["id"])["result"]["viral"]["seed"] == 22
    many = ask(server, {"image[]": list(parts.values())}, LATER, path="/v1/images/edits", n="2")
    assert error(many, 422)["param"] == "n"


def test_cancelled_work_ends_and_stays_cancelled(server, parts):
    job = ask(server, parts, LATER, steps="100", seed="23").json()["id"]
    assert server.delete(f"/v1/jobs/{job}").json()["status"] == "cancelled"
    assert finished(server, job)["status"] == "cancelled"
    assert error(server.get(f"/v1/jobs/{job}", headers={"Accept": "image/png"}), 400)["code"] == "cancelled"


def test_work_that_cannot_be_done_says_why(server, parts):
    job = ask(server, parts, LATER, steps="3", candidates="2", preview_steps="1", judge="vlm").json()["id"]
    failed = finished(server, job)
    assert failed["status"] == "failed" and "no vision-language model" in failed["error"]["message"]


def test_same_key_with_the_same_request_is_one_job(server, parts):
    key = {"Idempotency-Key": "twice"}
    first, again = (ask(server, parts, key | LATER, seed="24").json()["id"] for _ in range(2))
    assert first == again
    finished(server, first)
    assert decoded(ask(server, parts, key, seed="24")) == decoded(ask(server, parts, seed="24"))


def test_same_key_with_another_request_is_refused(server, parts):
    key = {"Idempotency-Key": "other"}
    decoded(ask(server, parts, key, seed="25"))
    body = error(ask(server, parts, key, seed="26"), 422)
    assert (body["param"], body["code"]) == ("Idempotency-Key", "idempotency_key_reused")


@pytest.mark.parametrize("key", ["", "with space", "x" * 256])
def test_key_that_is_none_is_refused(server, parts, key):
    error(ask(server, parts, {"Idempotency-Key": key}), 422)


def test_stream_cannot_have_a_key(server, parts):
    headers = {"Idempotency-Key": "stream", "Accept": "text/event-stream"}
    assert error(ask(server, parts, headers), 422)["param"] == "Idempotency-Key"
