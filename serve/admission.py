"""Whether a new edit stands a chance, known before its body is read."""

import time

FULL = "all editors are busy and the queue is full; try again"
PROBE_S = 1.0
"""How long a refusal by the editors is taken as still true; there may be more of them by then."""


class Admission:
    """Learns from the editors' refusals that their queue is full, and from every edit that ends of one place in it."""

    def __init__(self) -> None:
        self._places: int | None = None  # None while nobody was refused
        self._refused = 0.0

    def enter(self) -> bool:
        """Whether to let one more edit in; it takes the place."""
        if self._places is None or time.monotonic() - self._refused > PROBE_S:
            self._places = None
            return True
        self._places -= 1
        if self._places < 0:
            self._places = 0
            return False
        return True

    def refused(self) -> None:
        """The editors refused an edit."""
        self._places, self._refused = 0, time.monotonic()

    def ended(self) -> None:
        """An edit ended that the editors had taken."""
        if self._places is not None:
            self._places += 1
