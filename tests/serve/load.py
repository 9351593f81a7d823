"""Load on a served application, and death in it."""

import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx
import psutil

T = TypeVar("T")
PROXY = "ray::ProxyActor"
PATIENCE_S = 120.0


@dataclass(frozen=True)
class Answered:
    """A request's last answer and the seconds from its first attempt to it."""

    status: int
    body: bytes
    seconds: float
    attempts: int = 1


class Asker:
    """Sends analogies of one set of images, each on a connection of its own."""

    def __init__(self, url: str, parts: dict[str, bytes], **fields: object) -> None:
        self.url, self.fields = url, {name: str(value) for name, value in fields.items()}
        self.files = {name: (f"{name}.png", data, "image/png") for name, data in parts.items()}
        # One client, whose set-up costs more than a request; no connection is kept for a second one.
        self._client = httpx.Client(timeout=PATIENCE_S, limits=httpx.Limits(max_keepalive_connections=0))

    def once(self, seed: int, **headers: str) -> Answered:
        """One attempt."""
        start = time.perf_counter()
        answer = self._client.post(
            f"{self.url}/v1/analogies", files=self.files, data={**self.fields, "seed": str(seed)},
            headers={"Accept": "image/png", **headers},
        )  # fmt: skip
        return Answered(answer.status_code, answer.content, time.perf_counter() - start)

    def insist(self, seed: int, key: str) -> Answered:
        """As a client that retries does: the same key until an answer comes that is none of a dying server."""
        start, attempts = time.perf_counter(), 0
        while True:
            attempts += 1
            try:
                answer = self.once(seed, **{"Idempotency-Key": key})
            except httpx.TransportError:
                answer = None
            late = time.perf_counter() - start > PATIENCE_S
            if answer is not None and (answer.status not in (429, 500, 502, 503, 504) or late):
                return Answered(answer.status, answer.body, time.perf_counter() - start, attempts)
            assert not late, f"no answer to {key} within {PATIENCE_S} s"
            time.sleep(0.5)

    def later(self, seed: int) -> str:
        """The id of a job that was accepted."""
        answer = self._client.post(
            f"{self.url}/v1/analogies", files=self.files, data={**self.fields, "seed": str(seed)},
            headers={"Prefer": "respond-async"},
        )  # fmt: skip
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    def end(self, job: str) -> dict:
        """The job when it is over."""
        end = time.perf_counter() + PATIENCE_S
        while time.perf_counter() < end:
            try:
                answer = self._client.get(f"{self.url}/v1/jobs/{job}", timeout=30)
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.is_success and answer.json()["status"] not in ("queued", "running"):
                return answer.json()
            time.sleep(0.2)
        raise AssertionError(f"job {job} did not end within {PATIENCE_S} s")


def fire(ask: Callable[[int], T], count: int, at_once: int, beside: Callable[[], None] = lambda: None) -> list[T]:
    """The results of `ask(0)`, ..., `at_once` at a time, while `beside` runs in this thread."""
    with ThreadPoolExecutor(at_once) as pool:
        results = [pool.submit(ask, number) for number in range(count)]
        beside()
        return [result.result() for result in results]


def replicas(deployment: str) -> list[psutil.Process]:
    """The processes of a deployment on the cluster that this process started; `PROXY` for the proxies."""
    name = deployment if deployment == PROXY else f"ray::ServeReplica:viral:{deployment}"
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.cmdline() and process.cmdline()[0].startswith(name):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found


def kill(deployment: str) -> None:
    """SIGKILL one process of a deployment, when there is one."""
    end = time.perf_counter() + PATIENCE_S
    while not (found := replicas(deployment)):
        assert time.perf_counter() < end, f"no process of {deployment} within {PATIENCE_S} s"
        time.sleep(0.2)
    found[0].kill()


def memory(*deployments: str) -> int:
    """Bytes that the processes of deployments hold."""
    return sum(process.memory_info().rss for name in deployments for process in replicas(name))


def executions(storage: Path) -> int:
    """Jobs in the journal under `storage`."""
    with sqlite3.connect(f"file:{storage}/serve/journal.sqlite?mode=ro", uri=True) as db:
        return db.execute("SELECT count(*) FROM jobs").fetchone()[0]
