"""The scene world as a source: pictures whose labels are exact, and edits of scenes whose both sides are."""

import hashlib
import json
from functools import partial
from typing import Any, Literal

import numpy as np

from viral.data.sources.combinations import Combinations, is_allowed
from viral.data.sources.source import Item, Needs, Reader, Source
from viral.scenes import (
    EDITS,
    AppliedEdit,
    Scene,
    apply,
    changed_region,
    render,
    sample_edit,
    sample_scene,
    sample_scene_for,
)
from viral.scenes import Labelled as Seen
from viral.tasks import LABELS, Instance, Labelled

FAR = 1e-6
"""Inverse depth of the sky, which is known to be far."""
PEOPLE = "person"
ATTEMPTS = 64
"""Scenes tried until one has a place for an edit that is asked for."""


class Scenes(Source):
    """Scenes made from numbers; with `edits`, scenes before and after an edit, always two scenes with the same one."""

    kind: Literal["scenes"]
    licence: str = "CC0-1.0 (made by this program)"
    categories: tuple[str, ...] = ()
    """Categories of which every scene shows one or more; people where keypoints are needed."""
    edits: tuple[str, ...] = ()
    """Kinds of edit (`viral.scenes.EDITS`); `all` is every kind."""
    combinations: Combinations = "all"
    """Which edits: all, those to train on, or those kept from training (`viral.data.sources.combinations`)."""
    first: int = 0
    """Number of the first scene, so that two sources share none."""

    @property
    def gives(self) -> frozenset[str]:
        """All there is to know."""
        return frozenset(LABELS) - (frozenset() if self.edits else {"target", "instruction"})

    def items(self, count: int, seed: int, needs: Needs) -> list[Item]:
        """As many as are asked for."""
        if unknown := sorted(set(self.edits) - {*EDITS, "all"}):
            raise ValueError(f"there is no edit {', '.join(unknown)}; choose from {', '.join(EDITS)}")
        shown = {*self.categories, *([PEOPLE] if "keypoints" in needs else [])}
        numbers = range(self.first, self.first + count)
        kinds = list(EDITS) if "all" in self.edits else list(self.edits)
        return [self._item(seed, number, sorted(shown), kinds) for number in numbers]

    def reader(self, device: str) -> Reader:
        """Renders a scene, or one before and after its edit."""
        return partial(_read_edit, self.combinations) if self.edits else _read_scene

    def _item(self, seed: int, number: int, categories: list[str], kinds: list[str]) -> Item:
        key = f"{seed}/{number}"
        if not kinds:
            return Item(key, f"scene/{key}", {"seed": number_of(key), "categories": categories})
        couple, second = divmod(number, 2)
        shared = f"{seed}/couple/{couple}"
        data = {
            "seed": number_of(shared),
            "kind": kinds[couple % len(kinds)],
            "other": number_of(key) if second else None,
        }
        return Item(key, f"scene/{shared}", data)


def read_scene(seed: int, size: int, categories: tuple[str, ...] = ()) -> Labelled:
    """The scene of a number, in which these categories are shown, with all its labels."""
    return labelled(render(sample_scene(seed, with_categories=categories), size), {"scene": seed})


def _read_scene(item: Item, size: int) -> Labelled:
    return read_scene(item.data["seed"], size, tuple(item.data["categories"]))


def _read_edit(combinations: Combinations, item: Item, size: int) -> Labelled:
    """A scene and its edit; the other one of a couple is another scene under the same edit."""
    kind, seed = item.data["kind"], item.data["seed"]
    edit, scene = sampled_edit(kind, seed, combinations)
    after = edit.scene_after
    if item.data["other"] is not None:
        scene = sampled_scene_for(kind, edit.params, item.data["other"], combinations)
        after = apply(scene, kind, edit.params)
    before, done = render(scene, size), render(after, size)
    about = {"scene": seed, "other": item.data["other"], "edit": kind, "edit_params": edit.params}
    about["group"] = json.dumps([kind, edit.params], sort_keys=True)
    given = {"target": done.image, "changed": changed_region(before, done), "instruction": edit.instruction}
    return labelled(before, about, **given)


def sampled_edit(kind: str, seed: int, combinations: Combinations = "all") -> tuple[AppliedEdit, Scene]:
    """An edit of this kind and a scene it applies to; the first scene that has a place for one that is asked for."""
    rng = np.random.default_rng(seed)
    reason: ValueError | str = f"none is among those asked for, {combinations}"
    for attempt in range(ATTEMPTS):
        scene = sample_scene(seed + attempt)
        try:
            edit = sample_edit(scene, kind, rng)
        except ValueError as error:
            reason = error
            continue
        if is_allowed(combinations, kind, edit.params, scene):
            return edit, scene
    raise ValueError(f"no scene of {ATTEMPTS} has a place for the edit {kind}: {reason}")


def sampled_scene_for(kind: str, params: dict[str, str], seed: int, combinations: Combinations = "all") -> Scene:
    """Another scene to which an edit applies and where it is among those asked for."""
    for attempt in range(ATTEMPTS):
        scene = sample_scene_for(kind, params, seed + attempt)
        if is_allowed(combinations, kind, params, scene):
            return scene
    raise ValueError(f"no scene of {ATTEMPTS} is one to do {kind} {params} in: none is among those asked for")


def labelled(seen: Seen, about: dict[str, Any], **given: Any) -> Labelled:
    """A rendered scene with all its labels."""
    inverse = np.where(np.isfinite(seen.depth), 1 / np.maximum(seen.depth, 1e-6), FAR).astype(np.float32)
    things = tuple(
        Instance(thing.category, tuple(map(float, thing.box)), seen.mask(thing.id), thing.keypoints)
        for thing in seen.entities
        if thing.is_thing
    )
    entities = (seen.instances - min(0, int(seen.instances.min())) + 1).astype(np.int32)
    return Labelled(
        seen.image, inverse, seen.normals, entities, things, caption=seen.caption, about=about, **given
    )  # fmt: skip


def number_of(key: str) -> int:
    """The seed that a name stands for."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:6])
