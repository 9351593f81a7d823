"""Known pairs put as questions: each with an example of the same task, or of another."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from viral.config import RunConfig
from viral.evaluation.protocols.case import Case
from viral.evaluation.protocols.known_pairs import KnownPair, known_pairs, number_of
from viral.tasks import Labelled, describe_task

CANDIDATES = 3
"""Pairs that are rendered for each that is asked, where only those of one category may meet."""
DRAWS, EXEMPLARS = 5, 16
"""VIRAL's Table 7 has five random exemplars; the curated one is chosen from this many (ours)."""


def analogies(config: RunConfig, task: str, kinds: tuple[str, ...] = ("all",)) -> Iterator[Case]:
    """`protocol.cases` pairs of a task as queries, each with one random example that it may meet.

    The example comes from the training side where there is one, and never from the query's own picture.
    """
    wanted = config.protocol.cases
    grouped = describe_task(task, config.tasks).meets == "category"
    pool = list(known_pairs(config, task, wanted * (CANDIDATES if grouped else 1) + 1, kinds))
    asked = 0
    for pair in pool:
        if pair.asked and asked < wanted and (others := _partners(pair, pool)):
            rng = np.random.default_rng(number_of("example", config.seed, task, pair.pair_id))
            yield question(config, task, pair, others[rng.integers(len(others))])
            asked += 1
    if not asked:
        raise ValueError(f"no two pairs of the task {task} may meet, of {len(pool)}; give more pictures of it")


def exemplars(config: RunConfig, task: str) -> Iterator[Case]:
    """The same queries under a fixed exemplar, and again under each of five random ones.

    Curated is, of 16, the exemplar whose target has the strongest contrast: the paper does not say how it chose. The
    cases' tasks are `TASK curated` and `TASK random`, the latter labelled with their `draw`.
    """
    wanted = config.protocol.cases
    pool = list(known_pairs(config, task, wanted + EXEMPLARS))
    shown = [pair for pair in pool if not pair.asked] or pool[wanted:]
    queries = [pair for pair in pool if pair.asked and pair not in shown][:wanted]
    curated = max(shown, key=lambda pair: float(pair.rendering.target.std()))
    drawn = np.random.default_rng(number_of("exemplars", config.seed, task)).permutation(len(shown))[:DRAWS]
    for query in queries:
        yield question(config, task, query, curated, f"{task} curated")
    for draw, i in enumerate(drawn):
        for query in queries:
            yield question(config, task, query, shown[i], f"{task} random", draw)


def crossed(config: RunConfig, task: str, degradation: str) -> Iterator[Case]:
    """Queries of a task after a `degradation` of another's, with an example on clear pictures: the example says what
    is wanted, the query what is usual. The truth is that of the clear picture."""
    degrade = describe_task(degradation, config.tasks).render
    for case in analogies(config, task):
        rng = np.random.default_rng(number_of("crossed", degradation, case.case_id))
        spoiled = degrade(Labelled(case.query), rng).source
        name = f"{task} on {degradation}"
        yield replace(case, case_id=f"{name}/{case.case_id}", task=name, query=spoiled)


def question(
    config: RunConfig, task: str, pair: KnownPair, example: KnownPair, name: str | None = None, draw: int | None = None
) -> Case:
    """A pair as a case whose noise depends on the pair and the run's seed alone; `name` is the group of its columns,
    if that is not the task."""
    asked, shown = pair.rendering, example.rendering
    return Case(
        case_id="/".join(str(part) for part in (name or task, draw, pair.pair_id) if part is not None),
        task=name or task,
        source_id=pair.source_id,
        examples=((shown.source, shown.target),),
        query=asked.source,
        truth=asked.target,
        seed=number_of("noise", config.seed, task, pair.pair_id),
        mask=asked.mask,
        instruction=pair.instruction or describe_task(task, config.tasks).instruction,
        labels={"example": example.pair_id, **({} if draw is None else {"draw": draw})},
    )


def _partners(pair: KnownPair, pool: Sequence[KnownPair]) -> list[KnownPair]:
    """Pairs that may be the example of another; of those, the ones that are only examples, if there are such."""
    group = pair.rendering.group
    met = [other for other in pool if other.pair_id != pair.pair_id and other.rendering.group == group]
    if group is None:
        met = [other for other in met if other.source_id != pair.source_id]
    return [other for other in met if not other.asked] or met
