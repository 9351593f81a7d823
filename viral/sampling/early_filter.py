"""The early filter (ICEdit 3.3): look at several seeds after a few steps, finish the one that a judge prefers."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from jaxtyping import Float
from PIL.Image import Image
from torch import Tensor

from viral.flow import data_estimate
from viral.model.tokens import Latents
from viral.model.velocity import Velocity
from viral.sampling.denoise import denoise, start_noise
from viral.sampling.judges import Candidate, FieldJudge, Judge, JudgeError, Request, Verdict, combine

Mode = Literal["restart", "continue"]
Tournament = Literal["bubble", "knockout"]


@dataclass(frozen=True)
class Filtered:
    """The winner's clean latents, and how it was chosen in plain values."""

    latents: Float[Tensor, "1 z h w"]
    trace: dict[str, Any]


@dataclass(frozen=True)
class Progress:
    """Event: evaluations of the velocity so far, counted per image, and how many there will be."""

    done: int
    total: int
    seed: int | None = field(default=None, compare=False)
    """The winner, once it is being finished."""
    clean: Latents | None = field(default=None, compare=False)
    """The winner as the last evaluation foresees it: x0 = x_t - t v."""


@dataclass(frozen=True, eq=False)
class Preview:
    """Event: a seed's early result, whose image is decoded when it is first asked for."""

    seed: int
    candidate: Candidate


@dataclass(frozen=True)
class Comparison:
    """Event: two seeds were compared; `asked` holds the verdict of each order, told in the order of the seeds."""

    first: int
    second: int
    verdict: Verdict
    asked: tuple[Verdict, ...]


Event = Progress | Preview | Comparison


@dataclass(frozen=True, eq=False)
class _Runner:
    """A seed in the tournament, with the latents from which it would go on."""

    seed: int
    latents: Float[Tensor, "1 z h w"]
    candidate: Candidate


def early_filter(
    problem: Velocity,
    scheduler: FlowMatchEulerDiscreteScheduler,
    decode: Callable[[Latents], list[Image]],
    request: Request,
    judge: Judge,
    *,
    seeds: list[int],
    preview_steps: int,
    steps: int,
    mode: Mode = "restart",
    tournament: Tournament = "bubble",
    swap: bool = True,
    batch_size: int | None = None,
    at_once: int = 1,
    device: str | torch.device = "cpu",
    on_event: Callable[[Event], None] = lambda event: None,
) -> Filtered:
    """Latents of the seed whose preview wins a tournament: M seeds, m preview steps, n steps.

    `restart` (the paper) previews a complete schedule of m steps, and the winner takes n steps from its own noise,
    alone: the bytes of that seed without a filter, for M m + n evaluations. `continue` previews the first m of n steps
    by x0 = x_t - sigma_t v and goes on from there, for M m + n - m; previews run in batches of `batch_size` (all by
    default), so the bytes are the seed's own at batch size 1 and equal to rounding otherwise.

    `bubble` (the paper) holds the best so far against each next seed; `knockout` halves the field in rounds, of which
    `at_once` comparisons run in parallel. Both compare M - 1 times, in both orders where `swap`. A tie and an answer
    that cannot be used keep the earlier seed. A broken judge decides nothing: the first seed goes on, and the trace's
    `error` says why. One seed is not judged. What a judge evaluates itself is not counted. Whatever `on_event` raises
    ends the filter. Raises `ValueError` for seeds or steps that make no filter.
    """
    _check(seeds, preview_steps, steps, batch_size)
    judged = len(seeds) > 1
    start = preview_steps if judged and mode == "continue" else 0
    run = _Run(problem, scheduler, judged * len(seeds) * preview_steps + steps - start, on_event)
    noise = start_noise(seeds, problem.shape).to(device)
    winner, latents, error, comparisons = seeds[0], noise, None, []
    if judged:
        looks = [run.look(batch, preview_steps, steps, mode) for batch in noise.split(batch_size or len(seeds))]
        begun, clean = (torch.cat(parts) for parts in zip(*looks, strict=True))
        field = _field(seeds, begun, clean, decode)
        for runner in field:
            on_event(Preview(runner.seed, runner.candidate))
        if isinstance(judge, FieldJudge):
            judge.meet([runner.candidate for runner in field])
        referee = _Referee(request, judge, swap, at_once, on_event)
        best, error = _elect(field, referee, tournament)
        winner, latents, comparisons = best.seed, best.latents, referee.comparisons
    latents = run.denoise(latents, steps, start=start, seed=winner)
    trace = {
        "seed": winner, "seeds": list(seeds), "mode": mode, "tournament": tournament, "steps": steps,
        "preview_steps": preview_steps, "evaluations": run.evaluations, "judge": judge.name, "error": error,
        "comparisons": [asdict(comparison) for comparison in comparisons],
    }  # fmt: skip
    return Filtered(latents, trace)


def _check(seeds: list[int], preview_steps: int, steps: int, batch_size: int | None) -> None:
    if not seeds:
        raise ValueError("the early filter got no seeds; give at least one")
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds {seeds} hold one twice, which would paint the same image; give different ones")
    if len(seeds) > 1 and not 1 <= preview_steps < steps:
        raise ValueError(f"preview_steps is {preview_steps}, expected 1 to {steps - 1}, fewer than the {steps} steps")
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be at least 1")


class _Run:
    """The problem as a velocity that counts its evaluations and keeps the clean estimate x0 of the last one."""

    def __init__(
        self,
        problem: Velocity,
        scheduler: FlowMatchEulerDiscreteScheduler,
        total: int,
        on_event: Callable[[Event], None],
    ) -> None:
        self.problem, self.shape, self.scheduler = problem, problem.shape, scheduler
        self.total, self.evaluations, self.on_event = total, 0, on_event
        self.clean: Latents | None = None

    def __call__(self, latents: Latents, t: Float[Tensor, " b"]) -> Latents:
        v = self.problem(latents, t)
        self.evaluations += len(latents)
        self.clean = data_estimate(latents, v.float(), t)
        return v

    def denoise(
        self, latents: Latents, steps: int, *, start: int = 0, stop: int | None = None, seed: int | None = None
    ) -> Latents:
        """The denoise loop, with an event after each step."""

        def report(step: int, latents: Tensor) -> None:
            self.on_event(Progress(self.evaluations, self.total, seed, None if seed is None else self.clean))

        return denoise(self, self.scheduler, latents, steps, start=start, stop=stop, on_step=report)

    def look(self, noise: Latents, preview_steps: int, steps: int, mode: Mode) -> tuple[Latents, Latents]:
        """The latents from which each of a batch would go on, and its preview."""
        if mode == "restart":
            return noise, self.denoise(noise, preview_steps)
        begun = self.denoise(noise, steps, stop=preview_steps)
        assert self.clean is not None
        return begun, self.clean


def _field(seeds: list[int], begun: Latents, clean: Latents, decode: Callable[[Latents], list[Image]]) -> list[_Runner]:
    return [
        _Runner(seed, latents, Candidate(lambda x0=x0: decode(x0)[0], x0))
        for seed, latents, x0 in zip(seeds, begun.split(1), clean.split(1), strict=True)
    ]


Compare = Callable[[list[tuple[_Runner, _Runner]]], list[_Runner]]
"""The winners of comparisons that do not depend on each other."""


def _elect(field: list[_Runner], compare: Compare, tournament: Tournament) -> tuple[_Runner, str | None]:
    """The tournament's winner, or the first of the field and the reason why there was no tournament."""
    try:
        return (_bubble if tournament == "bubble" else _knockout)(field, compare), None
    except JudgeError as error:
        return field[0], str(error)


def _bubble(field: list[_Runner], compare: Compare) -> _Runner:
    best = field[0]
    for challenger in field[1:]:
        (best,) = compare([(best, challenger)])
    return best


def _knockout(field: list[_Runner], compare: Compare) -> _Runner:
    while len(field) > 1:
        paired = len(field) // 2 * 2
        field = compare(list(zip(field[:paired:2], field[1:paired:2], strict=True))) + field[paired:]
    return field[0]


class _Referee:
    """Asks the judge about pairs and writes down what it said."""

    def __init__(
        self, request: Request, judge: Judge, swap: bool, at_once: int, on_event: Callable[[Event], None]
    ) -> None:
        self.request, self.judge, self.swap, self.at_once, self.on_event = request, judge, swap, at_once, on_event
        self.comparisons: list[Comparison] = []

    def __call__(self, pairs: list[tuple[_Runner, _Runner]]) -> list[_Runner]:
        winners = []
        with ThreadPoolExecutor(self.at_once) as threads:
            for (first, second), asked in zip(pairs, threads.map(self._ask, pairs), strict=True):
                verdict = combine(asked)
                self.comparisons.append(Comparison(first.seed, second.seed, verdict, asked))
                self.on_event(self.comparisons[-1])
                winners.append(second if verdict.choice == "second" else first)
        return winners

    def _ask(self, pair: tuple[_Runner, _Runner]) -> tuple[Verdict, ...]:
        first, second = (runner.candidate for runner in pair)
        try:
            verdict = self.judge.better(self.request, first, second)
            if not self.swap:
                return (verdict,)
            return verdict, self.judge.better(self.request, second, first).swapped()
        except TimeoutError as error:
            raise JudgeError(f"{self.judge.name} did not answer in time: {error}") from error
