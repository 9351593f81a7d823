"""One kind of edit, one picture, two examples that differ in a parameter: does the output follow its own example?

No combination that is asked for was trained on (`viral.data.sources.combinations`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, islice

import numpy as np

from viral.config import RunConfig
from viral.data.sources.combinations import is_apart
from viral.evaluation.intervals import grouped_interval
from viral.evaluation.protocols.case import Case, Image
from viral.evaluation.protocols.known_pairs import UNSEEN, number_of
from viral.evaluation.protocols.proof_error import OURS, SAMPLES
from viral.evaluation.protocols.protocol import Score
from viral.scenes import EDITS, Scene, able_edits, apply, instruction, render, sample_scene

VARIED = {
    "colour": (("recolour", "colour"), ("recolour_all", "colour")),
    "category": (("remove", "category"), ("keep_only", "category")),
    "style": (("style", "style"), ("tone", "look")),
    "direction": (("move", "direction"), ("pan", "side"), ("zoom", "way"), ("orbit", "side")),
}
"""By what is varied, kinds of edit and the parameter in which the two examples differ."""
OWN = "own example"
GUIDED = "guided"
LEAST = 4.0
"""What two truths differ by at least, root mean square of 255: where they look alike nothing can be followed."""
TRIES = 2000
"""Scenes looked at until there are enough."""


@dataclass(frozen=True)
class Choice:
    """One picture and two edits of one kind that both mean something in it."""

    scene: Scene
    kind: str
    params: tuple[dict[str, str], dict[str, str]]


def parameter_cases(config: RunConfig) -> Iterator[Case]:
    """`protocol.cases` questions of each of `VARIED`, two to a picture; the kinds take turns."""
    for varied, kinds in VARIED.items():
        couples = (_questions(config, varied, number, *kinds[number % len(kinds)]) for number in range(TRIES))
        for couple in islice(filter(None, couples), config.protocol.cases // 2):
            yield from couple


def nearer_own(output: Image, case: Case) -> float:
    """1 where the output is nearer to the truth of its own example than to that of the other one, else 0."""
    assert case.truth is not None
    return float(_distance(output, case.truth) < _distance(output, case.labels["other"]))


def conclude_parameters(scores: Sequence[Score]) -> list[str]:
    """The share of outputs that follow their own example, in all and by what was varied; then steered by examples."""
    return _shares(scores, OURS, "") + _shares(scores, GUIDED, "example guidance 2, ")


def _shares(scores: Sequence[Score], method: str, how: str) -> list[str]:
    own = [score for score in scores if score.method == method and score.value is not None]
    names = dict.fromkeys(score.column for score in own)
    groups = {"all": own} | {name.partition("/")[0]: [s for s in own if s.column == name] for name in names}
    return [_sentence(how + name, group) for name, group in groups.items() if group]


def _choice(scene: Scene, kind: str, varied: str, seed: int) -> Choice | None:
    """Two edits of the scene that differ in `varied` alone, if there are such."""
    able = [params for params in able_edits(scene, kind) if is_apart(kind, params, scene)]
    couples = [couple for couple in combinations(able, 2) if _differ_in(couple) == {varied}]
    if not couples:
        return None
    return Choice(scene, kind, couples[np.random.default_rng(seed).integers(len(couples))])


def _questions(config: RunConfig, varied: str, number: int, kind: str, parameter: str) -> list[Case]:
    """The two questions of a scene, if it has two edits that can be told apart and there is an example of both."""
    seed, size = number_of("parameters", UNSEEN + config.seed, varied, number), config.data.size
    choice = _choice(sample_scene(seed), kind, parameter, seed)
    if choice is None:
        return []
    truths = [render(apply(choice.scene, kind, params), size).image for params in choice.params]
    shown = _example(choice, size, seed + 1)
    if shown is None or _distance(*truths) < LEAST:
        return []
    query, (source, targets), name = render(choice.scene, size).image, shown, f"{varied}/{number}"
    return [
        Case(
            f"{name}/{i}", varied, name, ((source, targets[i]),), query, truths[i], seed,
            instruction=instruction(kind, params), labels={"kind": kind, "params": params, "other": truths[1 - i]},
        )
        for i, params in enumerate(choice.params)
    ]  # fmt: skip


def _example(choice: Choice, size: int, seed: int) -> tuple[Image, list[Image]] | None:
    """Another scene, with the same backdrop and things, before and after both edits; none where none of a few has a
    place for both that can be seen."""
    present = EDITS[choice.kind].present
    wanted = tuple(dict.fromkeys(params[name] for name in present for params in choice.params))
    for attempt in range(12):
        try:
            scene = sample_scene(seed + attempt, wanted, choice.scene.backdrop)
            after = [apply(scene, choice.kind, params) for params in choice.params]
        except ValueError:  # the things do not fit, or the edit means nothing here
            continue
        targets = [render(one, size).image for one in after]
        if _distance(*targets) >= LEAST:
            return render(scene, size).image, targets
    return None


def _differ_in(couple: tuple[dict[str, str], dict[str, str]]) -> set[str]:
    one, other = couple
    return {name for name in one if one[name] != other[name]}


def _distance(one: Image, other: Image) -> float:
    return float(np.sqrt(np.mean((one.astype(float) - other) ** 2)))


def _sentence(name: str, scores: Sequence[Score]) -> str:
    values = np.array([score.value for score in scores], float)
    share = grouped_interval(values, [score.source_id for score in scores], SAMPLES, 0)
    return (
        f"{name}: {share.mean:.0%} [{share.low:.0%}, {share.high:.0%}] of {len(scores)} outputs are nearer to the "
        "truth of their own example; chance is 50 %, 70 % were asked for."
    )
