"""Does the early filter earn its keep: eight seeds and an embedded judge against one seed, on the same pictures."""

from collections.abc import Iterator, Sequence

import numpy as np

from viral.config import RunConfig
from viral.evaluation.intervals import grouped_interval
from viral.evaluation.protocols.analogies import analogies
from viral.evaluation.protocols.case import Case
from viral.evaluation.protocols.proof_error import OURS, SAMPLES
from viral.evaluation.protocols.protocol import Score

FILTERED = ("filtered_direction", "filtered_cycle", "filtered_consensus")
ASKED = (
    "depth",
    "normal",
    "edge",
    "colorization",
    "interactive",
    "entity",
    "deraining",
    "low_light",
    "negative",
    "edit",
)
LEAST = 200
"""Cases that the interval is asked to stand on."""


def filter_cases(config: RunConfig) -> Iterator[Case]:
    """`protocol.cases` questions of each of `ASKED`, at least `LEAST` in all."""
    each = max(config.protocol.cases, -(-LEAST // len(ASKED)))
    protocol = config.protocol.model_copy(update={"cases": each})
    for task in ASKED:
        yield from analogies(config.model_copy(update={"protocol": protocol}), task)


def conclude_filter(scores: Sequence[Score]) -> list[str]:
    """By how many dB of PSNR each judge's choice beats the first seed, case by case."""
    one = {score.case_id: score for score in scores if score.method == OURS and score.value is not None}
    return [sentence for name in FILTERED if (sentence := _sentence(name, one, scores))]


def _sentence(name: str, one: dict[str, Score], scores: Sequence[Score]) -> str | None:
    picked = {s.case_id: s.value for s in scores if s.method == name and s.value is not None and s.case_id in one}
    if not picked:
        return None
    gains = np.array([value - (one[case].value or 0) for case, value in picked.items()])
    gain = grouped_interval(gains, [one[case].source_id for case in picked], SAMPLES, 0)
    verdict = "earns its keep" if gain.low > 0 else "harms" if gain.high < 0 else "makes no difference that shows"
    return (
        f"{name}: {gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}] dB against one seed over {len(picked)} cases: "
        f"the filter {verdict}."
    )
