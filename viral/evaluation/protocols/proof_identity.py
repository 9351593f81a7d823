"""Examples that change nothing: the query should come back as the VAE gives it back."""

from collections.abc import Iterator, Sequence

import numpy as np

from viral.config import RunConfig
from viral.evaluation.intervals import grouped_interval
from viral.evaluation.protocols.analogies import question
from viral.evaluation.protocols.case import Case
from viral.evaluation.protocols.known_pairs import KnownPair, known_pairs
from viral.evaluation.protocols.proof_error import CEILING, OURS, SAMPLES
from viral.evaluation.protocols.protocol import Score
from viral.tasks import Rendering

IDENTITY = "identity"


def identity_cases(config: RunConfig) -> Iterator[Case]:
    """`protocol.cases` scenes, each shown another one that stays as it is."""
    scenes = [_unchanged(pair) for pair in known_pairs(config, "negative", config.protocol.cases)]
    for example, query in zip([scenes[-1], *scenes], scenes, strict=False):
        yield question(config, IDENTITY, query, example)


def conclude_identity(scores: Sequence[Score]) -> list[str]:
    """By how many dB the output falls short of what the VAE gives."""
    values = {
        method: {score.case_id: score for score in scores if score.method == method and score.value is not None}
        for method in (OURS, CEILING)
    }
    shared = sorted(values[OURS].keys() & values[CEILING].keys())
    if not shared:
        return []
    differences = [float(values[OURS][case].value or 0) - float(values[CEILING][case].value or 0) for case in shared]
    lost = grouped_interval(np.array(differences), [values[OURS][case].source_id for case in shared], SAMPLES, 0)
    return [
        f"After an example that changes nothing the output is {lost.mean:+.2f} [{lost.low:+.2f}, {lost.high:+.2f}] dB "
        f"from what the VAE alone gives, {len(shared)} cases; within 1 dB was asked for."
    ]


def _unchanged(pair: KnownPair) -> KnownPair:
    source = pair.rendering.source
    return KnownPair(pair.pair_id, pair.source_id, Rendering(source, source), "Change nothing.")
