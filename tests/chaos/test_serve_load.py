"""Figures of the served application under load: overload, scaling, growth, interleaving."""

import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.serve.load import PROXY, Answered, Asker, fire, memory, replicas

pytestmark = pytest.mark.timeout(3600)
PARTS = ("Editor", "Ingress", "Journal", PROXY)
MB = 1 << 20
ROUNDS = 40
"""Of 200 requests each."""


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def test_at_ten_times_capacity_the_accepted_wait_no_longer_than_the_queue(serving, parts):
    queue = 4
    with serving(queue=queue) as url:
        asker = Asker(url, parts, steps=30)
        asker.once(0)
        median = statistics.median(asker.once(0).seconds for _ in range(15))
        before = memory(*PARTS)
        answers = at_rate(asker, 10 / median, seconds=30)
        after = memory(*PARTS)
    accepted = [answer.seconds for answer in answers if answer.status == 200]
    refused = [answer.seconds for answer in answers if answer.status == 429]
    p99 = percentile(accepted, 0.99)
    print(f"unloaded median {median:.3f} s; {len(answers)} requests at ten times that: {len(accepted)} accepted, "
          f"p99 {p99:.3f} s = {p99 / median:.2f} medians (limit {queue + 2}); {len(refused)} refused, "
          f"median {statistics.median(refused):.3f} s; memory {before / MB:.0f} -> {after / MB:.0f} MB")  # fmt: skip
    assert len(accepted) + len(refused) == len(answers)
    assert p99 < (queue + 2) * median
    assert after - before < 200 * MB


def at_rate(asker: Asker, rate: float, seconds: float) -> list[Answered]:
    """Requests sent at a rate, whether or not earlier ones are answered."""
    with ThreadPoolExecutor(100) as pool:
        start, sent = time.perf_counter(), []
        for number in range(int(rate * seconds)):
            time.sleep(max(0.0, start + number / rate - time.perf_counter()))
            sent.append(pool.submit(asker.once, 0))
        return [each.result() for each in sent]


@pytest.mark.parametrize("editors", [1, 2, 4])
def test_throughput_with_more_editors(serving, parts, editors):
    with serving(min_editors=editors, max_editors=editors) as url:
        asker = Asker(url, parts, steps=30)
        fire(asker.once, 2 * editors, 2 * editors)
        start = time.perf_counter()
        answers = fire(lambda number: asker.once(0), 60, 8)
        seconds = time.perf_counter() - start
    print(f"{editors} editors: {len(answers) / seconds:.2f} requests/s, "
          f"median {statistics.median(a.seconds for a in answers):.2f} s")  # fmt: skip
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1, "the same request has the same bytes on every replica"


def test_autoscaler_follows_the_load(serving, parts):
    curve: list[tuple[float, int]] = []
    over = threading.Event()
    start = time.perf_counter()

    def watch() -> None:
        while not over.wait(0.5):
            count = len(replicas("Editor"))
            if not curve or curve[-1][1] != count:
                curve.append((round(time.perf_counter() - start, 1), count))

    with serving(max_editors=2) as url:
        asker = Asker(url, parts, steps=30)
        asker.once(0)
        start = time.perf_counter()
        watcher = threading.Thread(target=watch)
        watcher.start()
        end = time.perf_counter() + 90
        statuses = set()
        while time.perf_counter() < end:
            statuses |= {answer.status for answer in fire(lambda number: asker.once(0), 16, 8)}
        over.set()
        watcher.join()
    print(f"editors over time in s, from the first of 8 callers on: {curve}")
    assert statuses == {200}
    assert curve[0][1] == 1 and max(count for _, count in curve) == 2


def test_memory_does_not_grow_over_thousands_of_requests(serving, parts):
    """At most 1 MB per 1000 requests, by the slope of a line through the second half.

    All processes fill what they keep for long, a few MB of Ray's and their own, in the first three thousand or so.
    """
    with serving() as url:
        asker = Asker(url, parts, steps=1, size="16x16")
        seen = []
        for _ in range(ROUNDS):
            answers = fire(lambda number: asker.once(0), 200, 4)
            assert {answer.status for answer in answers} == {200}
            seen.append({part: memory(part) / MB for part in PARTS})
    counts = [200 * (i + 1) / 1000 for i in range(len(seen))]
    half = len(seen) // 2
    growth = {
        part: statistics.linear_regression(counts[half:], [each[part] for each in seen[half:]]).slope for part in PARTS
    }
    print(f"MB per 1000 requests over the second half of {int(counts[-1] * 1000)}: "
          + ", ".join(f"{part} {slope:+.2f}" for part, slope in growth.items()))  # fmt: skip
    assert sum(growth.values()) < 1
