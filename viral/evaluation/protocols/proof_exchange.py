"""The example exchanged: the same picture, asked for by examples of seven tasks. Does the output follow the example?

It follows where it matches the truth of the example's task best of all. A match is an error relative to the task's best
free answer, by one measure for all tasks, as they are held against each other: the root mean square of pixels. Beside
it stands what the tasks' own metrics say, which do not compare: the F-score of lines gives any picture with texture a
part of the lines, so that a blurred map of depth counts as a drawing of edges.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from viral.config import RunConfig
from viral.evaluation.intervals import grouped_interval
from viral.evaluation.metrics import HIGHER_IS_BETTER, METRICS, rmse
from viral.evaluation.protocols.analogies import question
from viral.evaluation.protocols.case import Case, Image
from viral.evaluation.protocols.known_pairs import KnownPair, known_pairs
from viral.evaluation.protocols.proof_error import OURS, SAMPLES
from viral.evaluation.protocols.protocol import Score
from viral.tasks import TASKS

EXCHANGED = ("edge", "depth", "normal", "entity", "negative", "colorization_inverse", "low_light_inverse")
"""Tasks whose query is the picture as it is, so that nothing but the example says which is meant."""
FOLLOWS, FOLLOWS_OWN = "follows", "follows by the tasks' own metrics"
Measure = Callable[[str, Image, Image], float]
"""The error of an output of a task against a truth."""


def exchange_cases(config: RunConfig) -> Iterator[Case]:
    """`protocol.cases` scenes, each asked for in every task of `EXCHANGED` by the same example scene."""
    pairs = {task: _by_scene(config, task) for task in EXCHANGED}
    shared = [scene for scene in pairs[EXCHANGED[0]] if all(scene in own for own in pairs.values())]
    scenes = shared[: config.protocol.cases]
    known = {task: [pairs[task][scene] for scene in scenes] for task in EXCHANGED}
    free, free_own = (
        {task: _free_error(task, known[task], measure) for task in EXCHANGED} for measure in (pixel_error, error_of)
    )
    for example, query in zip([scenes[-1], *scenes], scenes, strict=False):
        truths = {f"truth {task}": pairs[task][query].rendering.target for task in EXCHANGED}
        for task in EXCHANGED:
            case = question(config, task, pairs[task][query], pairs[task][example])
            yield replace(case, labels={**case.labels, **truths, "free": free, "free own": free_own})


def follows(output: Image, case: Case) -> float:
    """1 where the task whose truth the output matches best, pixel by pixel, is the example's, else 0."""
    return _follows(output, case, pixel_error, "free")


def follows_own(output: Image, case: Case) -> float:
    """The same by each task's own metric."""
    return _follows(output, case, error_of, "free own")


def pixel_error(_task: str, output: Image, truth: Image) -> float:
    """Root mean square of 255, whatever the task."""
    return rmse(output, truth)


def error_of(task: str, output: Image, truth: Image) -> float:
    """The task's metric as an error, 0 for the truth itself: 1 - a share, and the root mean square of 255 for PSNR."""
    metric = TASKS[task].metric
    value = METRICS[metric](output, truth, None)
    if metric == "psnr":
        return float(255 * 10 ** (-value / 20))
    return 1 - value if metric in HIGHER_IS_BETTER else value


def conclude_exchange(scores: Sequence[Score]) -> list[str]:
    """The share of outputs that follow their example, by pixels and by the tasks' own metrics."""
    ours = [score for score in scores if score.method == OURS and score.value is not None]
    parts = {FOLLOWS: "by pixels", FOLLOWS_OWN: "by the tasks' own metrics"}
    by_measure = {how: [s for s in ours if s.column.endswith(f"/{name}")] for name, how in parts.items()}
    return [_sentence(how, scores) for how, scores in by_measure.items() if scores]


def _sentence(how: str, scores: Sequence[Score]) -> str:
    share = grouped_interval(np.array([s.value for s in scores], float), [s.source_id for s in scores], SAMPLES, 0)
    return (
        f"{share.mean:.0%} [{share.low:.0%}, {share.high:.0%}] of {len(scores)} outputs match the truth of "
        f"their example's task best {how}, of {len(EXCHANGED)} tasks; 90 % were asked for, chance is "
        f"{1 / len(EXCHANGED):.0%}."
    )


def _follows(output: Image, case: Case, measure: Measure, free: str) -> float:
    errors = {task: measure(task, output, case.labels[f"truth {task}"]) / case.labels[free][task] for task in EXCHANGED}
    return float(min(errors, key=errors.__getitem__) == case.task)


def _by_scene(config: RunConfig, task: str) -> dict[str, KnownPair]:
    return {pair.pair_id: pair for pair in known_pairs(config, task, config.protocol.cases)}


def _free_error(task: str, pairs: Sequence[KnownPair], measure: Measure) -> float:
    """The mean error of the best of the query, the example's target and the mean target."""
    targets = [pair.rendering.target for pair in pairs]
    mean = np.mean(targets, axis=0).round().astype(np.uint8)
    examples = [targets[-1], *targets[:-1]]
    answers = ([pair.rendering.source for pair in pairs], examples, [mean] * len(pairs))
    errors = [np.mean([measure(task, a, t) for a, t in zip(own, targets, strict=True)]) for own in answers]
    return float(max(min(errors), 1e-6))
