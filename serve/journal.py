"""The one place that knows all accepted jobs, runs them, and counts who asks how often."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from serve.arguments import AppArgs
from serve.dispatch import Dispatcher, Unavailable
from serve.edit import EditRequest
from serve.ledger import Claim, Full, Job, KeyReused, Ledger, NoSuchJob
from serve.runner import Runner
from serve.visits import Visits

__all__ = ["Claim", "Full", "Job", "Journal", "JournalReplica", "KeyReused", "NoSuchJob"]

T = TypeVar("T")
POLL_S = 5.0
"""Longest single call that waits for a job."""
PATIENCE_S = 60.0
"""How long a client of the journal outlasts its absence."""


class JournalReplica:
    """The deployment: a single replica over one SQLite file. Every call may be sent again: its caller names the job."""

    def __init__(self, args: AppArgs, editors: dict[str, DeploymentHandle]) -> None:
        # One thread of its own: a write that waits for the disk holds up no other call.
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._ledger = Ledger(Path(args.journal_file()), args.max_jobs, args.keep_jobs_s)
        self._visits = Visits()
        self._runner = Runner(self._ledger, self._disk, Dispatcher(editors, args.timeout_s), args.jobs_at_once)

    async def begin(self, job: str, owner: str, key: str | None, digest: str, request: bytes) -> Claim:
        claim = await self._write(self._ledger.begin, job, owner, key, digest, request)
        self._runner.wake()
        return claim

    async def job(self, job: str, owner: str | None) -> Job:
        return self._runner.seen(await self._write(self._ledger.job, job, owner))

    async def wait(self, job: str, owner: str | None, timeout_s: float) -> Job:
        await self._runner.over(job, timeout_s)
        return await self.job(job, owner)

    async def cancel(self, job: str, owner: str | None) -> Job:
        await self._write(self._ledger.job, job, owner)
        await self._runner.cancel(job)
        return await self.job(job, owner)

    async def admit(self, visit: str, owner: str, per_minute: int | None, concurrent: int | None) -> float:
        return self._visits.admit(visit, owner, per_minute, concurrent, time.monotonic())

    async def leave(self, visit: str) -> None:
        self._visits.leave(visit)

    async def check_health(self) -> None:
        """Raises when the runner died, so that Serve starts this replica anew."""
        self._runner.check()

    async def _write(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, work, *arguments)


class Journal:
    """The journal as other deployments use it; a call that meets its restart is sent again."""

    def __init__(self, handle: DeploymentHandle) -> None:
        self._handle = handle

    async def begin(self, request: EditRequest, key: str | None = None, owner: str = "") -> Claim:
        """Accept a settled request for good: when this returns it will be run, whatever process dies.

        The same key of the same owner with the same request is the same job. `KeyReused` for a key that stands for
        another request, `Full` when too many jobs wait.
        """
        digest, data = await asyncio.to_thread(lambda: (request.digest(), request.dump()))
        return await self._call("begin", uuid4().hex, owner, key, digest, data)

    async def job(self, job: str, owner: str | None = None) -> Job:
        """How a job stands; `NoSuchJob` for an unknown one and for another owner's."""
        return await self._call("job", job, owner)

    async def wait(self, job: str, timeout_s: float, owner: str | None = None) -> Job:
        """The job when it is over, or as it stands after `timeout_s`."""
        end = time.monotonic() + timeout_s
        while True:
            left = end - time.monotonic()
            found: Job = await self._call("wait", job, owner, max(0.0, min(POLL_S, left)))
            if found.over or left <= POLL_S:
                return found

    async def cancel(self, job: str, owner: str | None = None) -> Job:
        """End a job that is not over; its editor leaves the loop within one step."""
        return await self._call("cancel", job, owner)

    async def admit(self, visit: str, owner: str, per_minute: int | None, concurrent: int | None) -> float:
        """0 where `owner` may send one more request, named `visit`, now; else the seconds to wait.

        Counted over all ingress replicas. An admitted visit lasts until `leave`.
        """
        return await self._call("admit", visit, owner, per_minute, concurrent)

    async def leave(self, visit: str) -> None:
        """The visit is over."""
        await self._call("leave", visit)

    async def _call(self, method: str, *arguments: Any) -> Any:
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await self._insist(method, arguments)
        except TimeoutError:
            raise Unavailable("the journal does not answer; send it again soon") from None
        except RayTaskError as error:
            raise error.cause from None

    async def _insist(self, method: str, arguments: tuple[Any, ...]) -> Any:
        while True:
            try:
                return await getattr(self._handle, method).remote(*arguments)
            except (RayActorError, DeploymentUnavailableError):
                await asyncio.sleep(0.25)
