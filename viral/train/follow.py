"""What the driver does while workers train: show the progress, and mirror the run's figures and pictures in MLflow."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from viral.progress import progress
from viral.storage import Storage
from viral.tracking import Tracker, TrackerAway
from viral.train import router_picture, validation
from viral.train.journal import read_journal
from viral.train.run import note

POLL_S = 1.0
PLACES = (validation.PLACE, router_picture.PLACE)
"""Folders of what is made at checkpoints: pictures, and JSON of figures."""


class Mirror:
    """Sends what lies in the run's folder to the tracker, each thing once; what an outage held up goes later.

    The workers never speak to MLflow, so no step waits for it.
    """

    def __init__(self, storage: Storage, tracker: Tracker, sent_files: list[str]) -> None:
        self.storage, self.tracker, self.sent_files = storage, tracker, sent_files
        self.sent_lines: dict[str, int] = {}
        self.away: str | None = None

    def send(self) -> None:
        """Send all that is new; an outage is kept in `away` until a later call gets through."""
        try:
            self._send_lines()
            self._send_files()
            self.away = None
        except TrackerAway as error:
            self.away = str(error)

    def _send_lines(self) -> None:
        for name in self.storage.list():
            if name.endswith(".jsonl"):
                lines, sent = read_journal(self.storage, name), self.sent_lines.get(name, 0)
                if len(lines) > sent:
                    self.tracker.log_lines(lines[sent:])
                    self.sent_lines[name] = len(lines)

    def _send_files(self) -> None:
        for place in PLACES:
            for name in self.storage.join(place).list():
                if (path := f"{place}/{name}") not in self.sent_files:
                    self._send_file(place, name)
                    self.sent_files = [*self.sent_files, path]
                    note(self.storage, sent=self.sent_files)

    def _send_file(self, place: str, name: str) -> None:
        data, step = self.storage.join(place).read(name), int(name.partition(".")[0].removeprefix("step-"))
        if name.endswith(".png"):
            self.tracker.log_image(data, place, step)
        else:
            self.tracker.log_lines([{"step": step, "time": time.time(), **json.loads(data)}])


@contextmanager
def following(storage: Storage, mirror: Mirror, steps: int) -> Iterator[None]:
    """Follow the run under `storage` in a thread for the length of the block."""
    print("training: starting the workers", flush=True)
    ended = threading.Event()
    thread = threading.Thread(target=_follow, args=(storage, mirror, steps, ended), name="follow", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    mirror.send()


def last_step(storage: Storage) -> int:
    """The last step that the journal tells of, 0 where it tells of none."""
    lines = read_journal(storage)
    return lines[-1]["step"] if lines else 0


def _follow(storage: Storage, mirror: Mirror, steps: int, ended: threading.Event) -> None:
    shown, last = last_step(storage), False
    advance: Callable[[int], None] | None = None
    with ExitStack() as stack:
        while not last:
            last = ended.wait(POLL_S)
            now = last_step(storage)
            if now > shown and advance is None:
                # The bar begins with the first steps, so that the workers' start does not spoil its time left.
                advance = stack.enter_context(progress("training", steps, now))
            elif advance is not None and now > shown:
                advance(now - shown)
            shown = now
            mirror.send()
