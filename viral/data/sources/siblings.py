"""Two scenes, each under two edits that differ in one parameter: what the example says is all that tells them apart."""

import json
from functools import lru_cache, partial
from itertools import permutations
from typing import Literal

import numpy as np
from jaxtyping import Float

from viral.data.sources.combinations import Combinations, is_allowed
from viral.data.sources.scenes import ATTEMPTS, labelled, number_of
from viral.data.sources.source import Item, Needs, Reader, Source
from viral.scenes import EDITS, Scene, able_edits, apply, changed_region, instruction, render, sample_scene
from viral.tasks import LABELS, Labelled

Params = dict[str, str]
Family = tuple[tuple[Scene, Scene], tuple[Params, Params]]
"""Two scenes and two edits of one kind."""
FAMILY = 4
"""Pairs of a family: every scene under every edit."""
LEAST = 4.0
"""What the two results in a scene differ by at least, root mean square of 255."""
LOOK = 64
"""Pixels of the side at which that is looked at."""


class Siblings(Source):
    """Families of four pairs. Pairs of one edit are a group; those of one scene are siblings (`train.siblings`)."""

    kind: Literal["siblings"]
    licence: str = "CC0-1.0 (made by this program)"
    edits: dict[str, str]
    """Kinds of edit (`viral.scenes.EDITS`), and the parameter in which the two differ."""
    combinations: Combinations = "all"
    """Which edits: all, those to train on, or those kept from training (`viral.data.sources.combinations`)."""
    first: int = 0
    """Number of the first pair, so that two sources share no scene."""

    @property
    def gives(self) -> frozenset[str]:
        """All there is to know."""
        return frozenset(LABELS)

    def items(self, count: int, seed: int, needs: Needs) -> list[Item]:
        """As many as are asked for; `ValueError` for an edit or a parameter that is not there."""
        for kind, name in self.edits.items():
            if kind not in EDITS or name not in EDITS[kind].choices:
                known = ", ".join(f"{one}: {'/'.join(EDITS[one].choices)}" for one in EDITS if EDITS[one].choices)
                raise ValueError(f"there is no edit {kind} with a parameter {name}; choose from {known}")
        return [self._item(seed, number) for number in range(self.first, self.first + count)]

    def reader(self, device: str) -> Reader:
        """Renders a scene before and after its edit."""
        return partial(_read_pair, self.combinations)

    def _item(self, seed: int, number: int) -> Item:
        family, place = divmod(number, FAMILY)
        kinds, shared = list(self.edits.items()), f"{seed}/family/{family}"
        kind, varied = kinds[family % len(kinds)]
        data = {"seed": number_of(shared), "kind": kind, "varied": varied, "edit": place // 2, "scene": place % 2}
        return Item(f"{seed}/{number}", f"scene/{shared}", data)


def _read_pair(combinations: Combinations, item: Item, size: int) -> Labelled:
    data = item.data
    kind = data["kind"]
    scenes, edits = find_family(kind, data["varied"], data["seed"], combinations)
    scene, params = scenes[data["scene"]], edits[data["edit"]]
    before, after = render(scene, size), render(apply(scene, kind, params), size)
    about = {"scene": data["seed"], "edit": kind, "edit_params": params}
    about["group"] = json.dumps([kind, params, data["seed"]], sort_keys=True)
    given = {"target": after.image, "changed": changed_region(before, after), "instruction": instruction(kind, params)}
    return labelled(before, about, **given)


@lru_cache(maxsize=8)
def find_family(kind: str, varied: str, seed: int, combinations: Combinations = "all") -> Family:
    """Two scenes of like things and backdrop, and two edits that differ in `varied` and can be told apart in both.

    `ValueError` where none of a few scenes has them.
    """
    rng = np.random.default_rng(seed)
    for attempt in range(ATTEMPTS):
        scene = sample_scene(seed + attempt)
        couples = _couples(scene, kind, varied, combinations)
        if not couples:
            continue
        edits = couples[int(rng.integers(len(couples)))]
        if not _tells_apart(scene, kind, edits):
            continue
        other = _other_scene(scene, kind, edits, seed + ATTEMPTS * (attempt + 1), combinations)
        if other is not None:
            return (scene, other), edits
    raise ValueError(f"no scene of {ATTEMPTS} has a place for two edits {kind} that differ in {varied}")


def _couples(scene: Scene, kind: str, varied: str, combinations: Combinations) -> list[tuple[Params, Params]]:
    able = [params for params in able_edits(scene, kind) if is_allowed(combinations, kind, params, scene)]
    return [(one, other) for one, other in permutations(able, 2) if _differ_in(one, other) == {varied}]


def _differ_in(one: Params, other: Params) -> set[str]:
    return {name for name in one if one[name] != other[name]}


def _other_scene(
    scene: Scene, kind: str, edits: tuple[Params, Params], seed: int, combinations: Combinations
) -> Scene | None:
    wanted = tuple(dict.fromkeys(params[name] for name in EDITS[kind].present for params in edits))
    for attempt in range(12):
        try:
            other = sample_scene(seed + attempt, wanted, scene.backdrop)
        except ValueError:  # the things do not fit
            continue
        able = [params for params in able_edits(other, kind) if is_allowed(combinations, kind, params, other)]
        if all(params in able for params in edits) and _tells_apart(other, kind, edits):
            return other
    return None


def _tells_apart(scene: Scene, kind: str, edits: tuple[Params, Params]) -> bool:
    one, other = (_look(apply(scene, kind, params)) for params in edits)
    return float(np.sqrt(np.mean((one - other) ** 2))) >= LEAST


def _look(scene: Scene) -> Float[np.ndarray, "h w 3"]:
    return render(scene, LOOK).image.astype(float)
