"""Edits that wait for the one thread that paints."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from serve.edit import EditAnswer, EditRequest, Event


class Cancelled(Exception):
    """Nobody waits for this edit any more."""


@dataclass(eq=False)
class Work:
    """A request in the line, with the folder of its adapter and who is told what happens."""

    request: EditRequest
    folder: Path | None
    tell: Callable[[Event], None]
    answer: Future[EditAnswer] = field(default_factory=Future)
    cancelled: threading.Event = field(default_factory=threading.Event)

    def report(self, event: Event) -> None:
        """Tell of an event; raises `Cancelled` where nobody waits, which ends the denoise loop."""
        if self.cancelled.is_set():
            raise Cancelled
        self.tell(event)

    def joins(self, other: "Work") -> bool:
        """Whether the two may be painted in one batch: same adapter and steps, one candidate each, nothing shown."""
        mine, theirs = ((w.folder, w.request.steps, bool(w.request.examples)) for w in (self, other))
        plain = all(w.request.candidates == 1 and not w.request.previews for w in (self, other))
        return plain and mine == theirs


class Line:
    """First come, first painted, by one thread: an image never depends on what is painted beside it.

    Unless `at_once` is above 1: then the first takes along what may join it, up to that many.
    """

    def __init__(self, paint: Callable[[list[Work]], None], at_once: int) -> None:
        """`paint` answers every work that it is given."""
        self._paint, self._at_once = paint, at_once
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="edit")
        self._waiting: deque[Work] = deque()

    async def painted(self, work: Work) -> EditAnswer:
        """The answer when its turn has come; a caller that is cancelled takes its work out of the line or the loop."""
        self._waiting.append(work)
        turn = self._thread.submit(self._turn)
        try:
            return await asyncio.wrap_future(work.answer)
        finally:
            work.cancelled.set()
            turn.cancel()

    def _turn(self) -> None:
        works = self._take()
        try:
            if works:
                self._paint(works)
        except Exception as error:  # noqa: BLE001 - it belongs to those who wait, and the thread goes on
            for work in works:
                if not work.answer.done():
                    work.answer.set_exception(error)

    def _take(self) -> list[Work]:
        """The next works to paint; none where an earlier turn took them along."""
        taken: list[Work] = []
        for work in list(self._waiting):
            if work.cancelled.is_set():
                self._waiting.remove(work)
            elif len(taken) < self._at_once and (not taken or work.joins(taken[0])):
                self._waiting.remove(work)
                if work.answer.set_running_or_notify_cancel():
                    taken.append(work)
        return taken
