"""What the driver does while workers train: show the progress, and mirror the run's figures and pictures in MLflow."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from viral.progress import progress
from viral.storage import Storage
from viral.tracking import Tracker, TrackerAway
from viral.train.journal import read_journal
from viral.train.run import note
from viral.train.validation import grid_step

POLL_S = 1.0


class Mirror:
    """Sends what lies in the run's folder to the tracker, each thing once; what an outage held up goes later.

    The workers never speak to MLflow, so no step waits for it.
    """

    def __init__(self, storage: Storage, tracker: Tracker, sent_images: list[int]) -> None:
        self.storage, self.tracker = storage, tracker
        self.sent_lines, self.sent_images = 0, sent_images
        self.away: str | None = None

    def send(self) -> None:
        """Send all that is new; an outage is kept in `away` until a later call gets through."""
        try:
            self._send_lines()
            self._send_images()
            self.away = None
        except TrackerAway as error:
            self.away = str(error)

    def _send_lines(self) -> None:
        lines = read_journal(self.storage)
        if len(lines) > self.sent_lines:
            self.tracker.log_lines(lines[self.sent_lines :])
            self.sent_lines = len(lines)

    def _send_images(self) -> None:
        place = self.storage.join("validation")
        for name in place.list():
            if (step := grid_step(name)) not in self.sent_images:
                self.tracker.log_image(place.read(name), "validation", step)
                self.sent_images = [*self.sent_images, step]
                note(self.storage, images=self.sent_images)


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
