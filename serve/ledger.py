"""Accepted work in one SQLite file on shared storage: what is written here outlives every process."""

import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

State = Literal["queued", "running", "done", "failed", "cancelled"]
OVER = ("done", "failed", "cancelled")

_TABLES = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, key TEXT, digest TEXT NOT NULL, request BLOB,
    state TEXT NOT NULL, answer BLOB, error TEXT, status INTEGER, created REAL NOT NULL, ended REAL,
    UNIQUE (owner, key)
);
CREATE INDEX IF NOT EXISTS waiting ON jobs (created) WHERE state = 'queued';
CREATE INDEX IF NOT EXISTS ended ON jobs (ended) WHERE ended IS NOT NULL;
"""


class KeyReused(ValueError):
    """An idempotency key came again with another request."""


class NoSuchJob(LookupError):
    """There is no job of this id, or none that its asker may see."""


class Full(RuntimeError):
    """As many jobs wait as may."""


@dataclass(frozen=True)
class Claim:
    """A place in the journal: `new` unless an earlier request with the same key holds it."""

    job: str
    new: bool


@dataclass(frozen=True)
class Job:
    """An accepted edit. On disk it is `queued` until it is over; that it runs is known to who runs it."""

    id: str
    state: State
    created: float
    """Seconds since 1970."""
    ended: float | None = None
    answer: bytes | None = None
    """The PNG of a job that is done."""
    error: str | None = None
    status: int | None = None
    """HTTP status that the error means."""
    step: int = 0
    steps: int = 0

    @property
    def over(self) -> bool:
        return self.state in OVER


class Ledger:
    """The jobs of one file. Every change is on disk when its method returns."""

    def __init__(self, file: Path, max_waiting: int, keep_s: float) -> None:
        """At most `max_waiting` jobs may be queued; what is over is forgotten after `keep_s` seconds."""
        file.parent.mkdir(parents=True, exist_ok=True)
        self._max_waiting, self._keep_s = max_waiting, keep_s
        self._db = sqlite3.connect(file, timeout=30, check_same_thread=False)
        # No write-ahead log: it needs shared memory, which network file systems lack.
        self._db.execute("PRAGMA journal_mode = DELETE")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        self._db.executescript(_TABLES)

    def begin(self, job: str, owner: str, key: str | None, digest: str, request: bytes) -> Claim:
        """Write an accepted request down as `job`; that job again, or its key with the same digest, changes nothing.

        `KeyReused` for a key that stands for another request, `Full` when too many wait.
        """
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            known = self._db.execute(
                "SELECT id, digest FROM jobs WHERE id = ? OR (owner = ? AND key = ?)", (job, owner, key)
            ).fetchone()
            if known is None:
                self._make_room()
                self._db.execute(
                    "INSERT INTO jobs (id, owner, key, digest, request, state, created) "
                    "VALUES (?, ?, ?, ?, ?, 'queued', ?)",
                    (job, owner, key, digest, request, time.time()),
                )
                return Claim(job, True)
        if known[1] != digest:
            raise KeyReused(f"idempotency key {key!r} came before with another request; take a new key")
        return Claim(known[0], known[0] == job)

    def _make_room(self) -> None:
        self._db.execute("DELETE FROM jobs WHERE ended < ?", (time.time() - self._keep_s,))
        (waiting,) = self._db.execute("SELECT count(*) FROM jobs WHERE state = 'queued'").fetchone()
        if waiting >= self._max_waiting:
            raise Full(f"{waiting} jobs wait already; try again later")

    def job(self, job: str, owner: str | None = None) -> Job:
        """A job as it stands; `NoSuchJob` for an unknown one, or for another owner's where `owner` is given."""
        row = self._db.execute(
            "SELECT id, state, created, ended, answer, error, status, owner FROM jobs WHERE id = ?", (job,)
        ).fetchone()
        if row is None or owner not in (None, row[-1]):
            raise NoSuchJob(f"there is no job {job}; jobs are kept for {self._keep_s / 3600:g} h after their end")
        return Job(*row[:-1])

    def waiting(self) -> list[str]:
        """Ids of all jobs that are not over, the oldest first."""
        rows = self._db.execute("SELECT id FROM jobs WHERE state = 'queued' ORDER BY created, rowid")
        return [job for (job,) in rows]

    def request(self, job: str) -> bytes:
        """What a job was asked; `NoSuchJob` for one that is over."""
        row = self._db.execute("SELECT request FROM jobs WHERE id = ? AND state = 'queued'", (job,)).fetchone()
        if row is None:
            raise NoSuchJob(f"job {job} is over")
        return row[0]

    def finish(
        self,
        job: str,
        state: State,
        *,
        answer: bytes | None = None,
        error: str | None = None,
        status: int | None = None,
    ) -> bool:
        """End a job; False, and nothing changed, where it was over before. The request is forgotten."""
        assert state in OVER
        with self._db:
            done = self._db.execute(
                "UPDATE jobs SET state = ?, answer = ?, error = ?, status = ?, ended = ?, request = NULL "
                "WHERE id = ? AND state = 'queued'",
                (state, answer, error, status, time.time(), job),
            )
        return done.rowcount == 1

    def close(self) -> None:
        self._db.close()
