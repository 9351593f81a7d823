"""Findings that take no training: ways of asking the adapter that is there, as protocols."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from viral.config import RunConfig
from viral.evaluation.findings import Arm, Changes
from viral.evaluation.protocols.analogies import question
from viral.evaluation.protocols.case import Case
from viral.evaluation.protocols.known_pairs import known_pairs, number_of
from viral.evaluation.protocols.proof import FILTER
from viral.evaluation.protocols.proof_error import OURS, CaseError, case_errors
from viral.evaluation.protocols.proof_filter import filter_cases
from viral.evaluation.protocols.protocol import Column, Protocol, Score
from viral.tasks import TASKS

FREE_ROWS = ("copy_query", "copy_example", "mean", "vae")
SHOWN = ("depth", "normal", "edge", "colorization", "entity", "low_light", "negative")
"""Tasks in which any pair may be a further example."""
MOST = 4
"""Examples."""


@dataclass(frozen=True)
class Asked:
    """A protocol that puts all arms of a finding, and how the errors of one are read from its scores."""

    protocol: Protocol
    errors: Callable[[Sequence[Score], Arm], dict[str, CaseError]]
    changes: Changes = field(default_factory=dict)
    """Of the configuration, for all arms."""


def ask_filters(arms: Sequence[Arm], seed: int) -> Asked:
    """Every arm a row of the proof's early filter, judged by consensus; the arm without changes is one seed."""
    filtered = {"kind": "analogy", "adapter": OURS}
    peers = {
        arm.slug: {**filtered, "title": arm.name, "filter": {**arm.changes, "judge": "consensus"}}
        for arm in arms
        if arm.changes
    }
    protocol = replace(
        FILTER, name=f"finding_filter_{seed}", cases=partial(_with_noise, seed, filter_cases), peers=peers,
        methods=(OURS, *peers, *FREE_ROWS), conclude=None,
    )  # fmt: skip
    steps = {"evaluate.steps": 2 * max(arm.changes["preview_steps"] for arm in arms if arm.changes)}
    return Asked(protocol, lambda scores, arm: case_errors(scores, arm.slug if arm.changes else OURS), steps)


def ask_examples(arms: Sequence[Arm], seed: int) -> Asked:
    """Every arm a group of columns: the same queries with more examples."""
    columns = tuple(Column(f"{task}, {arm.name}", TASKS[task].metric) for task in SHOWN for arm in arms)
    counts = {arm.name: int(arm.changes["examples"]) for arm in arms}
    protocol = Protocol(
        name=f"finding_examples_{seed}", title="K examples", table="Findings",
        cases=partial(_with_noise, seed, partial(_example_cases, counts)), columns=columns,
        methods=(OURS, *FREE_ROWS),
    )  # fmt: skip
    return Asked(protocol, _errors_of_count)


def _example_cases(counts: dict[str, int], config: RunConfig) -> Iterator[Case]:
    """Queries of each of `SHOWN`; who has more examples has those of who has fewer."""
    for task in SHOWN:
        pairs = list(known_pairs(config, task, config.protocol.cases + MOST))
        queries, others = pairs[:-MOST], pairs[-MOST:]
        for name, count in counts.items():
            for query in queries:
                case = question(config, task, query, others[0], f"{task}, {name}")
                shown = tuple((pair.rendering.source, pair.rendering.target) for pair in others[:count])
                yield replace(case, examples=shown)


def _errors_of_count(scores: Sequence[Score], arm: Arm) -> dict[str, CaseError]:
    """The errors of the columns of one arm, by task and query, so that arms can be paired."""
    own = [score for score in scores if score.column.partition("/")[0].endswith(f", {arm.name}")]
    return {
        case.replace(f", {arm.name}/", "/"): replace(error, column=error.column.replace(f", {arm.name}/", "/"))
        for case, error in case_errors(own).items()
    }


def _with_noise(seed: int, cases: Callable[[RunConfig], Iterator[Case]], config: RunConfig) -> Iterator[Case]:
    """The same questions from other noise."""
    return (replace(case, seed=number_of("round", seed, case.seed)) for case in cases(config))


ASKED: dict[str, Callable[[Sequence[Arm], int], Asked]] = {"filter": ask_filters, "examples": ask_examples}
"""By the name of the finding."""
