"""One way to say what is happening and how long it will still take."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINE_EVERY_S = 10.0


@contextmanager
def progress(what: str, total: int, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Yield `advance(n)`; shows a bar with the time left on a terminal, a line now and then elsewhere."""
    console = Console(stderr=True)
    with _bar(console, what, total, done) if console.is_terminal else _lines(what, total, done) as advance:
        yield advance


@contextmanager
def _bar(console: Console, what: str, total: int, done: int) -> Iterator[Callable[[int], None]]:
    columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task(what, total=total, completed=done)
        yield lambda n=1: bar.advance(task, n)


@contextmanager
def _lines(what: str, total: int, done: int) -> Iterator[Callable[[int], None]]:
    start, count, spoken = time.monotonic(), done, float("-inf")

    def advance(n: int = 1) -> None:
        nonlocal count, spoken
        count += n
        elapsed = time.monotonic() - start
        if elapsed - max(spoken, 0.0) >= LINE_EVERY_S or (count >= total and spoken != elapsed):
            spoken = elapsed
            rest = f", about {elapsed / (count - done) * (total - count):.0f} s left" if count > done else ""
            print(f"{what}: {count}/{total}, {elapsed:.0f} s so far{rest}", flush=True)

    yield advance
