"""The example exchanged: the same picture, asked for by examples of seven tasks. Does the output follow the example?"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from viral.config import RunConfig
from viral.evaluation.intervals import grouped_interval
from viral.evaluation.metrics import HIGHER_IS_BETTER, METRICS
from viral.evaluation.protocols.analogies import question
from viral.evaluation.protocols.case import Case, Image
from viral.evaluation.protocols.known_pairs import KnownPair, known_pairs
from viral.evaluation.protocols.proof_error import OURS, SAMPLES
from viral.evaluation.protocols.protocol import Score
from viral.tasks import TASKS

EXCHANGED = ("edge", "depth", "normal", "entity", "negative", "colorization_inverse", "low_light_inverse")
"""Tasks whose query is the picture as it is, so that nothing but the example says which is meant."""
FOLLOWS = "follows"


def exchange_cases(config: RunConfig) -> Iterator[Case]:
    """`protocol.cases` scenes, each asked for in every task of `EXCHANGED` by the same example scene."""
    pairs = {task: _by_scene(config, task) for task in EXCHANGED}
    shared = [scene for scene in pairs[EXCHANGED[0]] if all(scene in own for own in pairs.values())]
    scenes = shared[: config.protocol.cases]
    free = {task: _free_error(task, [pairs[task][scene] for scene in scenes]) for task in EXCHANGED}
    for example, query in zip([scenes[-1], *scenes], scenes, strict=False):
        truths = {f"truth {task}": pairs[task][query].rendering.target for task in EXCHANGED}
        for task in EXCHANGED:
            case = question(config, task, pairs[task][query], pairs[task][example])
            yield replace(case, labels={**case.labels, **truths, "free": free})


def follows(output: Image, case: Case) -> float:
    """1 where the task whose truth the output matches best is the example's, else 0.

    A match is the task's error relative to that of its best free answer.
    """
    errors = {
        task: error_of(task, output, case.labels[f"truth {task}"]) / case.labels["free"][task] for task in EXCHANGED
    }
    return float(min(errors, key=errors.__getitem__) == case.task)


def error_of(task: str, output: Image, truth: Image) -> float:
    """The task's metric as an error, 0 for the truth itself: 1 - a share, and the root mean square of 255 for PSNR."""
    metric = TASKS[task].metric
    value = METRICS[metric](output, truth, None)
    if metric == "psnr":
        return float(255 * 10 ** (-value / 20))
    return 1 - value if metric in HIGHER_IS_BETTER else value


def conclude_exchange(scores: Sequence[Score]) -> list[str]:
    """The share of outputs that follow their example."""
    ours = [score for score in scores if score.method == OURS and score.value is not None]
    if not ours:
        return []
    values = np.array([score.value for score in ours], float)
    share = grouped_interval(values, [score.source_id for score in ours], SAMPLES, 0)
    return [
        f"{share.mean:.0%} [{share.low:.0%}, {share.high:.0%}] of {len(ours)} outputs match the truth of their "
        f"example's task best, of {len(EXCHANGED)} tasks; 90 % were asked for, chance is {1 / len(EXCHANGED):.0%}."
    ]


def _by_scene(config: RunConfig, task: str) -> dict[str, KnownPair]:
    return {pair.pair_id: pair for pair in known_pairs(config, task, config.protocol.cases)}


def _free_error(task: str, pairs: Sequence[KnownPair]) -> float:
    """The mean error of the best of the query, the example's target and the mean target."""
    targets = [pair.rendering.target for pair in pairs]
    mean = np.mean(targets, axis=0).round().astype(np.uint8)
    examples = [targets[-1], *targets[:-1]]
    answers = ([pair.rendering.source for pair in pairs], examples, [mean] * len(pairs))
    errors = [np.mean([error_of(task, a, t) for a, t in zip(own, targets, strict=True)]) for own in answers]
    return float(max(min(errors), 1e-6))
