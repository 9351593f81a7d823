"""The figures of a run as lines of JSON, written beside the checkpoints by a thread that no step waits for."""

import json
import threading
import time
from typing import Any

from viral.storage import Storage

NAME = "metrics.jsonl"


def machine_journal(node: int) -> str:
    """Name of the journal of a further node's machine; that of the first stands in the run's own."""
    return f"machine-{node}.jsonl"


def read_journal(storage: Storage, name: str = NAME) -> list[dict[str, Any]]:
    """All lines so far, one per logged step, ascending; empty where there are none."""
    if not storage.exists(name):
        return []
    return [json.loads(line) for line in storage.read(name).decode().splitlines() if line]


class Journal:
    """Keeps a file of lines, one per step, also when a stretch of steps is taken twice after a restart.

    The file is put in place whole at each writing, so a reader never sees half a line, and an object store will do.
    """

    def __init__(self, storage: Storage, name: str = NAME) -> None:
        self.storage, self.name = storage, name
        self.lines = {line["step"]: line for line in read_journal(storage, name)}
        self._changed, self._closed = threading.Event(), False
        self._trouble: ValueError | None = None
        self._thread = threading.Thread(target=self._keep_writing, name="journal", daemon=True)
        self._thread.start()

    def add(self, step: int, figures: dict[str, float]) -> None:
        """Note figures of a step; one that is known already keeps its first line, as its values are the same again."""
        if self._trouble is not None:
            raise self._trouble
        self.lines = {step: {"step": step, "time": time.time(), **figures}, **self.lines}
        self._changed.set()

    def close(self) -> None:
        """Write what is left; raises what kept the thread from writing."""
        self._closed = True
        self._changed.set()
        self._thread.join()
        if self._trouble is not None:
            raise self._trouble

    def _keep_writing(self) -> None:
        while not self._closed:
            self._changed.wait()
            self._changed.clear()
            lines = [json.dumps(line) for _, line in sorted(self.lines.items())]
            try:
                self.storage.write(self.name, "".join(f"{line}\n" for line in lines).encode())
            except ValueError as error:  # no room, no right to write: the next `add` tells the run
                self._trouble = error
                return
