"""Each part of the served application killed again and again at 8-way load; not one accepted request is lost."""

import base64
import time
from uuid import uuid4

import pytest

from tests.serve.load import PROXY, Asker, executions, fire, kill

AT_ONCE, KILLS = 8, 4
pytestmark = pytest.mark.timeout(1800)


def killing(victim: str, pause_s: float = 4.0) -> None:
    for _ in range(KILLS):
        time.sleep(pause_s)
        kill(victim)


@pytest.mark.parametrize("editors", [1, 2])
def test_killed_editors_cost_no_accepted_request(serving, parts, editors):
    with serving(min_editors=editors, max_editors=editors) as url:
        asker = Asker(url, parts, steps=20)
        expected = [asker.once(seed).body for seed in range(3)]
        answers = fire(lambda number: asker.once(number % 3), 240, AT_ONCE, lambda: killing("Editor"))
    lost = sum(answer.status != 200 for answer in answers)
    print(f"{editors} editors, {KILLS} killed: {lost} of {len(answers)} requests lost, "
          f"slowest {max(answer.seconds for answer in answers):.1f} s")  # fmt: skip
    assert lost == 0
    assert all(answer.body == expected[number % 3] for number, answer in enumerate(answers))


def test_killed_judge_costs_no_accepted_request(serving, parts, tiny_base):
    with serving(judge=str(tiny_base)) as url:
        asker = Asker(url, parts, steps=6, candidates=2, preview_steps=2, judge="vlm")
        expected = asker.once(0).body
        answers = fire(lambda number: asker.once(0), 80, AT_ONCE, lambda: killing("Judge"))
    lost = sum(answer.status != 200 for answer in answers)
    same = sum(answer.body == expected for answer in answers)
    print(f"judge killed {KILLS} times: {lost} of {len(answers)} requests lost, {same} judged as without")
    assert lost == 0


@pytest.mark.parametrize("victim", ["Ingress", PROXY, "Journal"])
def test_retries_with_the_same_key_get_one_answer_and_one_execution(serving, parts, tmp_path, victim):
    with serving() as url:
        asker = Asker(url, parts, steps=10)
        expected = asker.once(1).body
        run = uuid4().hex
        answers = fire(
            lambda number: asker.insist(1, f"{run}-{number}"), 80, AT_ONCE, lambda: killing(victim)
        )  # fmt: skip
    retried = sum(answer.attempts > 1 for answer in answers)
    print(f"{victim} killed {KILLS} times: {len(answers)} keys answered, {retried} after retries, "
          f"slowest {max(answer.seconds for answer in answers):.1f} s")  # fmt: skip
    assert {(answer.status, answer.body) for answer in answers} == {(200, expected)}
    assert executions(tmp_path) == len(answers)


def test_jobs_survive_kills_of_everything_and_a_restart_of_the_server(serving, parts):
    with serving() as url:
        asker = Asker(url, parts, steps=10)
        expected = asker.once(0).body
        jobs = [asker.later(0) for _ in range(30)]
        for victim in ("Journal", "Editor", "Ingress", PROXY):
            kill(victim)
    with serving() as url:
        ends = [asker.end(job) for job in jobs]
    print(f"{sum(end['status'] == 'done' for end in ends)} of {len(jobs)} jobs done after kills and a restart")
    assert {end["status"] for end in ends} == {"done"}
    images = {end["result"]["data"][0]["b64_json"] for end in ends}
    assert images == {base64.b64encode(expected).decode()}


def test_redeployment_finishes_what_was_accepted(serving, parts):
    with serving() as url:
        asker = Asker(url, parts, steps=20)

        def redeploy() -> None:
            time.sleep(2)
            serving.again(max_steps=50)

        answers = fire(lambda number: asker.once(0), 60, 4, redeploy)
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
