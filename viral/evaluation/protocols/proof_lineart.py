"""Line drawing, never trained: is the output nearer to it than the query is, and than an output of edges?"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from viral.config import RunConfig
from viral.evaluation.intervals import grouped_interval
from viral.evaluation.protocols.analogies import question
from viral.evaluation.protocols.case import Case
from viral.evaluation.protocols.known_pairs import known_pairs
from viral.evaluation.protocols.proof_error import OURS, SAMPLES
from viral.evaluation.protocols.protocol import Score

DRAWN, EDGES = "lineart", "lineart, asked for edges"
COPY = "copy_query"


def lineart_cases(config: RunConfig) -> Iterator[Case]:
    """`protocol.cases` scenes, each once with an example of line drawing and once with one of edges; the truth of
    both is the line drawing."""
    pairs = {
        task: {pair.pair_id: pair for pair in known_pairs(config, task, config.protocol.cases)}
        for task in ("lineart", "edge")
    }
    scenes = [scene for scene in pairs["lineart"] if scene in pairs["edge"]]
    examples = [scenes[-1], *scenes]
    for name, task in ((DRAWN, "lineart"), (EDGES, "edge")):
        for example, query in zip(examples, scenes, strict=False):
            case = question(config, "lineart", pairs["lineart"][query], pairs[task][example], name)
            yield replace(case, case_id=f"{name}/{query}")


def conclude_lineart(scores: Sequence[Score]) -> list[str]:
    """How much nearer, in dB of PSNR to the line drawing."""
    drawn = _values(scores, OURS, DRAWN)
    others = {
        "the query": _values(scores, COPY, DRAWN),
        "the output after an example of edges": _values(scores, OURS, EDGES),
    }
    sentences = []
    for name, values in others.items():
        shared = sorted(drawn.keys() & values.keys())
        if shared:
            gain = grouped_interval(np.array([drawn[s] - values[s] for s in shared]), shared, SAMPLES, 0)
            sentences.append(
                f"Asked for a line drawing, the output is {gain.mean:+.2f} [{gain.low:+.2f}, {gain.high:+.2f}] dB "
                f"nearer to it than {name}, {len(shared)} scenes."
            )
    return sentences


def _values(scores: Sequence[Score], method: str, task: str) -> dict[str, float]:
    return {
        score.source_id: score.value
        for score in scores
        if score.method == method and score.column.startswith(f"{task}/") and score.value is not None
    }
