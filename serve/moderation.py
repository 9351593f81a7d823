"""A hook that may refuse a request or withhold an answer; off unless the application names one."""

from collections.abc import Callable, Sequence
from importlib import import_module

from PIL.Image import Image

Moderator = Callable[[Sequence[Image], str | None], str | None]
"""Asked about images and the words with them; the reason to refuse them, or None. Runs beside the editor."""


class Moderated(ValueError):
    """The moderator refused a request or its answer."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"refused by moderation: {reason}")


def load_moderator(path: str | None) -> Moderator:
    """The function at `module:function`, or one that lets everything pass; `ValueError` where there is none."""
    if path is None:
        return lambda images, words: None
    module, colon, name = path.partition(":")
    try:
        return getattr(import_module(module), name if colon else "")
    except (ImportError, AttributeError) as error:
        raise ValueError(f"moderation is {path!r}, expected module:function that can be imported ({error})") from None
