"""How often and how many at once each key's owner asks."""

from collections import deque

WINDOW_S = 60.0
FORGET_S = 3600.0
"""A visit that nobody ended, its ingress having died, ends by itself."""


class Visits:
    """A sliding window of one minute, and the visits that are going on; in memory, as both are soon over."""

    def __init__(self) -> None:
        self._begun: dict[str, deque[float]] = {}
        self._inside: dict[str, tuple[str, float]] = {}

    def admit(self, visit: str, owner: str, per_minute: int | None, concurrent: int | None, now: float) -> float:
        """0, and the visit counts, where both limits allow it; else the seconds after which to ask again."""
        self._forget(now)
        if visit in self._inside:
            return 0.0
        begun = self._begun.get(owner, deque())
        if per_minute is not None and len(begun) >= per_minute:
            return max(begun[-per_minute] + WINDOW_S - now, 0.001)
        if concurrent is not None and sum(who == owner for who, _ in self._inside.values()) >= concurrent:
            return 1.0
        self._begun.setdefault(owner, begun).append(now)
        self._inside[visit] = (owner, now)
        return 0.0

    def leave(self, visit: str) -> None:
        """End a visit; one that is unknown is over already."""
        self._inside.pop(visit, None)

    def _forget(self, now: float) -> None:
        for owner, begun in list(self._begun.items()):
            while begun and begun[0] <= now - WINDOW_S:
                begun.popleft()
            if not begun:
                del self._begun[owner]
        self._inside = {visit: entry for visit, entry in self._inside.items() if entry[1] > now - FORGET_S}
