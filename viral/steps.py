"""How long each step of a run took, kept with the run so that a step found finished keeps its own time."""

import json
import time
from collections.abc import Callable
from typing import TypeVar

from viral.storage import Storage

Result = TypeVar("Result")
TIMES = "seconds.json"


class Clock:
    """Times steps and tells those that worked from those that found their work done."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.seconds: dict[str, float] = json.loads(storage.read(TIMES)) if storage.exists(TIMES) else {}

    def time(self, step: str, marker: str, work: Callable[[], Result]) -> Result:
        """Run `work`; when it changed the file `marker`, which a step writes last, its wall time counts.

        The time of a step that was interrupted before is added up only over the calls that ended it.
        """
        print(f"== {step}", flush=True)
        before, start = self._marker(marker), time.monotonic()
        result = work()
        elapsed = time.monotonic() - start
        if self._marker(marker) != before:
            self.seconds = {**self.seconds, step: round(elapsed, 1)}
            self.storage.write(TIMES, json.dumps(self.seconds).encode())
            print(f"   {step} took {elapsed:.0f} s", flush=True)
        return result

    def _marker(self, name: str) -> bytes | None:
        *folders, file = name.split("/")
        place = self.storage.join(*folders) if folders else self.storage
        return place.read(file) if place.exists(file) else None
