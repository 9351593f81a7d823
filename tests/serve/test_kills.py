"""SIGKILL of each part under load. tests/chaos has the long versions."""

import time
from uuid import uuid4

import pytest

from tests.serve.load import PROXY, Asker, fire, kill

COUNT, AT_ONCE = 24, 8


@pytest.fixture
def asker(server, parts) -> Asker:
    return Asker(str(server.base_url), parts, steps=10)


def test_killed_editor_costs_no_accepted_request(asker):
    expected = [asker.once(seed).body for seed in range(3)]

    def killing() -> None:
        time.sleep(0.5)
        kill("Editor")

    answers = fire(lambda number: asker.once(number % 3), COUNT, AT_ONCE, killing)
    assert [answer.status for answer in answers] == [200] * COUNT
    assert all(answer.body == expected[number % 3] for number, answer in enumerate(answers))


@pytest.mark.parametrize("victim", ["Ingress", PROXY, "Journal"])
def test_retry_with_the_same_key_gets_one_answer_whoever_was_killed(asker, victim):
    expected = asker.once(1).body
    run = uuid4().hex

    def killing() -> None:
        time.sleep(0.5)
        kill(victim)

    answers = fire(lambda number: asker.insist(1, f"{run}-{number}"), 12, AT_ONCE, killing)
    assert {(answer.status, answer.body) for answer in answers} == {(200, expected)}


def test_accepted_jobs_are_done_though_journal_and_editor_are_killed(asker):
    jobs = [asker.later(seed) for seed in range(6)]
    kill("Editor")
    kill("Journal")
    assert [asker.end(job)["status"] for job in jobs] == ["done"] * 6
