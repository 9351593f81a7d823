"""A function of yours as a method: any other model, wrapped in a few lines."""

import hashlib
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, Field

from viral.config import RunConfig
from viral.data_config import absolute
from viral.evaluation.peers.canvas import grid_of, last_cell
from viral.evaluation.peers.peer import Peer
from viral.evaluation.peers.pictures import pillow, sized_as
from viral.evaluation.protocols.case import Case, Image
from viral.evaluation.protocols.method import Method
from viral.model.licences import UNDECLARED, Licence
from viral.tasks import load_function


def _absolute(address: str) -> str:
    place, colon, name = address.rpartition(":")
    return f"{absolute(place) if place.endswith('.py') else place}{colon}{name}"


class Function(Peer):
    """A function that gives a uint8 RGB picture of any size; None where it has nothing to say to a query or case."""

    kind: Literal["function"]
    function: Annotated[str, AfterValidator(_absolute)]
    """module:function or folder/file.py:function."""
    takes: Literal["query", "case", "grid"] = "query"
    """The query's pixels; the whole `Case` with examples, words and seed; or, of an inpainter, a grid of A beside A'
    over B beside a hole, and the mask (255 in the hole), to be given back filled."""
    size: int = Field(224, ge=2)
    """Side of a 2x2 grid of square cells in pixels (VisualPrompt's and IMProv's)."""
    licence: str | None = None
    """What it is under, for the table."""

    def licences(self, config: RunConfig) -> tuple[Licence, ...]:
        """As declared."""
        return (declared(self.licence),)

    def record(self, config: RunConfig) -> dict[str, Any]:
        """Settings, and the function by the hash of its file."""
        file = Path(inspect.getfile(inspect.getmodule(self._function) or self._function))
        return {**self.settings, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}

    def load(self, name: str, config: RunConfig, device: str) -> "FunctionMethod":
        """The function."""
        return FunctionMethod(name, self, self._function)

    @property
    def _function(self) -> Callable[..., Any]:
        return load_function(self.function, "function")


class FunctionMethod(Method):
    """Answers what the function answers."""

    def __init__(self, name: str, peer: Function, function: Callable[..., Any]) -> None:
        super().__init__(name)
        self._peer, self._function = peer, function

    def answer(self, cases: Sequence[Case]) -> list[Image | None]:
        """One by one; `ValueError` for something that is no picture."""
        return [self._answer(case) for case in cases]

    def _answer(self, case: Case) -> Image | None:
        match self._peer.takes:
            case "query":
                made = self._function(case.query)
            case "case":
                made = self._function(case)
            case "grid":
                return self._filled(case)
        return None if made is None else sized_as(pillow(self._checked(made)), case.query)

    def _filled(self, case: Case) -> Image | None:
        """None without an example."""
        if not case.examples:
            return None
        grid, hole = grid_of(case, (self._peer.size // 2, self._peer.size // 2))
        filled = self._checked(self._function(np.asarray(grid), np.asarray(hole)))
        return sized_as(last_cell(pillow(filled), case), case.query)

    def _checked(self, made: Any) -> Image:
        if isinstance(made, np.ndarray) and made.dtype == np.uint8 and made.ndim == 3 and made.shape[2] == 3:
            return made
        kind = f"{made.dtype} of shape {made.shape}" if isinstance(made, np.ndarray) else type(made).__name__
        raise ValueError(f"{self.name}: the function gave {kind}, expected uint8 of shape (y, x, 3)")


def declared(licence: str | None) -> Licence:
    """A licence by what its owner calls it."""
    return UNDECLARED if licence is None else Licence(licence, licence)
