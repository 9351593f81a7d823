"""Runs the jobs of a ledger on the editors, each to its end and a few at once."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from serve.dispatch import Dispatcher, Unavailable
from serve.edit import Done, EditRequest, Step
from serve.ledger import Job, Ledger, NoSuchJob

log = logging.getLogger("ray.serve")
T = TypeVar("T")


class Runner:
    """Begins with what the ledger holds, so that jobs outlive whoever ran them. Lives in one event loop."""

    def __init__(self, ledger: Ledger, disk: Executor, dispatcher: Dispatcher, at_once: int) -> None:
        self._ledger, self._disk, self._dispatcher, self._at_once = ledger, disk, dispatcher, at_once
        self._running: dict[str, asyncio.Task[None]] = {}
        self._progress: dict[str, Step] = {}
        self._ends: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()
        self._woken = asyncio.Event()
        self._pump = asyncio.get_running_loop().create_task(self._take())

    def wake(self) -> None:
        """Look for jobs to run."""
        self._woken.set()

    def check(self) -> None:
        """Raise what ended the loop, if it has ended."""
        if self._pump.done():
            self._pump.result()

    def seen(self, job: Job) -> Job:
        """The job with what is known only here: that it runs, and how far it is."""
        if job.over or job.id not in self._running:
            return job
        at = self._progress.get(job.id)
        return replace(job, state="running", step=at.step if at else 0, steps=at.steps if at else 0)

    async def over(self, job: str, timeout_s: float) -> None:
        """Return when the job is over or after `timeout_s`."""
        end = self._ends.setdefault(job, asyncio.Event())
        if not (await self._write(self._ledger.job, job)).over:
            with suppress(TimeoutError):
                await asyncio.wait_for(end.wait(), timeout_s)

    async def cancel(self, job: str) -> None:
        """End a job that is not over."""
        if await self._finish(job, "cancelled") and job in self._running:
            self._running[job].cancel()

    async def _take(self) -> None:
        while True:
            self._woken.clear()
            for job in await self._write(self._ledger.waiting):
                if job not in self._running and len(self._running) < self._at_once:
                    self._running[job] = asyncio.create_task(self._run(job))
            await self._woken.wait()

    async def _run(self, job: str) -> None:
        try:
            request = EditRequest.load(await self._write(self._ledger.request, job))
            await self._paint(job, request)
        except NoSuchJob:
            pass  # it ended before it began
        except ValueError as error:
            await self._finish(job, "failed", error=str(error), status=400)
        except TimeoutError as error:
            await self._finish(job, "failed", error=str(error), status=504)
        except Unavailable as error:
            await self._finish(job, "failed", error=str(error), status=503)
        except Exception as error:
            log.exception("job %s failed", job)
            await self._finish(job, "failed", error=f"the editor failed ({type(error).__name__})", status=500)
        finally:
            self._running.pop(job)
            self._progress.pop(job, None)
            self.wake()

    async def _paint(self, job: str, request: EditRequest) -> None:
        async for event in self._dispatcher.stream(request, accepted=True):
            if isinstance(event, Step):
                self._progress[job] = event
            elif isinstance(event, Done):
                await self._finish(job, "done", answer=event.answer.png)

    async def _finish(self, job: str, state: str, **how: Any) -> bool:
        won = await self._write(lambda: self._ledger.finish(job, state, **how))
        if won and (end := self._ends.get(job)):
            end.set()
        return won

    async def _write(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, work, *arguments)
