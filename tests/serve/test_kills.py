"""SIGKILL of each part under load. tests/chaos has the long versions."""

import base64
from uuid import uuid4

import pytest

from tests.serve.load import PROXY, Asker, fire, kill

COUNT, AT_ONCE = 24, 8


@pytest.fixture
def asker(server, parts) -> Asker:
    return Asker(str(server.base_url), parts, steps=10)


def test_killed_editor_costs_no_accepted_request(asker):
    expected = [asker.once(seed).body for seed in range(3)]
    answers = fire(lambda number: asker.once(number % 3), COUNT, AT_ONCE, lambda: kill("Editor"))
    assert [answer.status for answer in answers] == [200] * COUNT
    assert all(answer.body == expected[number % 3] for number, answer in enumerate(answers))


def test_retried_keys_get_one_answer_and_jobs_are_done_whoever_else_is_killed(asker):
    expected = asker.once(1).body
    jobs = [asker.later(1) for _ in range(4)]
    run = uuid4().hex

    def killing() -> None:
        for victim in ("Ingress", "Journal", PROXY):
            kill(victim)

    answers = fire(lambda number: asker.insist(1, f"{run}-{number}"), 16, AT_ONCE, killing)
    assert {(answer.status, answer.body) for answer in answers} == {(200, expected)}
    ends = [asker.end(job) for job in jobs]
    assert {end["status"] for end in ends} == {"done"}
    assert {end["result"]["data"][0]["b64_json"] for end in ends} == {base64.b64encode(expected).decode()}
