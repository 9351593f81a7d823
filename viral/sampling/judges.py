"""Who is to say which of two candidates answers a request better: the protocol, and judges that compare scores."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Generic, Literal, Protocol, TypeVar, runtime_checkable
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from PIL.Image import Image
from torch import Tensor


class JudgeError(RuntimeError):
    """The judge is broken: it has no opinion on anything that it is asked."""


@dataclass(frozen=True, eq=False)
class Request:
    """What was asked: example pairs (A, A'), the query B, and words, if any."""

    examples: tuple[tuple[Image, Image], ...]
    query: Image
    instruction: str | None = None

    def __post_init__(self) -> None:
        if not self.examples and not self.instruction:
            raise ValueError("a request has neither example pairs nor an instruction; give at least one of them")


@dataclass(frozen=True, eq=False)
class Candidate:
    """A possible answer: its image, painted when a judge first looks, and its clean latents where they are at hand."""

    paint: Callable[[], Image]
    latents: Float[Tensor, "1 z h w"] | None = None

    @cached_property
    def image(self) -> Image:
        with torch.no_grad():
            return self.paint()


Choice = Literal["first", "second", "tie", "none"]


@dataclass(frozen=True)
class Verdict:
    """Which of two candidates is better; `none` where the judge's answer to this one question cannot be used."""

    choice: Choice
    p_first: float | None = None
    """The judge's probability that the first is better, where it has one."""
    reason: str = ""

    def swapped(self) -> "Verdict":
        """The same verdict with the candidates named the other way round."""
        other: dict[Choice, Choice] = {"first": "second", "second": "first", "tie": "tie", "none": "none"}
        return replace(self, choice=other[self.choice], p_first=None if self.p_first is None else 1 - self.p_first)


@runtime_checkable
class Judge(Protocol):
    """Compares two candidates for a request; raises `JudgeError` when it is broken."""

    @property
    def name(self) -> str: ...

    def better(self, request: Request, first: Candidate, second: Candidate) -> Verdict: ...


@runtime_checkable
class FieldJudge(Judge, Protocol):
    """A judge that looks at all candidates of a request before it compares two of them."""

    def meet(self, field: Sequence[Candidate]) -> None: ...


def combine(verdicts: tuple[Verdict, ...]) -> Verdict:
    """One verdict of the same question asked in several orders: a tie unless all agree, none if any is none."""
    for verdict in verdicts:
        if verdict.choice == "none":
            return verdict
    choices = [verdict.choice for verdict in verdicts]
    if len(set(choices)) > 1:
        return Verdict("tie", reason=f"the orders disagree: {', '.join(choices)}")
    known = [verdict.p_first for verdict in verdicts if verdict.p_first is not None]
    return replace(verdicts[0], p_first=sum(known) / len(known) if known else None)


Known = TypeVar("Known")


class ScoringJudge(ABC, Generic[Known]):
    """A judge that prefers the higher score; each candidate is measured once, each request prepared once."""

    name: str
    """Which judge this is, for the trace."""

    def __init__(self) -> None:
        self._requests: WeakKeyDictionary[Request, tuple[Known, WeakKeyDictionary[Candidate, float]]]
        self._requests = WeakKeyDictionary()

    @abstractmethod
    def prepare(self, request: Request) -> Known:
        """What all candidates of a request share."""

    @abstractmethod
    def measure(self, known: Known, candidate: Candidate) -> float:
        """The candidate's score, higher is better."""

    @torch.no_grad()
    def score(self, request: Request, candidate: Candidate) -> float:
        """The candidate's score, measured at most once; `JudgeError` when it is not a finite number."""
        if request not in self._requests:
            self._requests[request] = self.prepare(request), WeakKeyDictionary()
        known, scores = self._requests[request]
        if candidate not in scores:
            scores[candidate] = self.measure(known, candidate)
        if not math.isfinite(scores[candidate]):
            raise JudgeError(f"{self.name} scored a candidate {scores[candidate]}; its images or weights are damaged")
        return scores[candidate]

    def better(self, request: Request, first: Candidate, second: Candidate) -> Verdict:
        """The one with the higher score; equal scores tie."""
        one, other = self.score(request, first), self.score(request, second)
        choice: Choice = "first" if one > other else "second" if other > one else "tie"
        return Verdict(choice, reason=f"{self.name}: {one:.6g} and {other:.6g}")
