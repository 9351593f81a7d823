"""Edits of things: each takes a scene and words, and returns the scene afterwards or raises NotApplicable."""

import math
from collections.abc import Callable
from dataclasses import replace
from zlib import crc32

import numpy as np

from viral.scenes.camera import view_of
from viral.scenes.layout import find_place, fits, individual, radius_of
from viral.scenes.scene import Scene, Thing
from viral.scenes.things import CATEGORIES


class NotApplicable(ValueError):
    """The edit means nothing in this scene; the message says why."""


MOVES = {"to the left": (-1, 0), "to the right": (1, 0), "nearer": (0, 1), "farther away": (0, -1)}
SIZES = {"larger": 1.5, "smaller": 0.6}
TURNS = {"around": math.pi, "to the left": -math.pi / 2, "to the right": math.pi / 2}
HEIGHTS = {"slightly": 0.45, "high": 1.1}
SIDES = {"on the left": (0.0, 0.36), "in the middle": (0.36, 0.64), "on the right": (0.64, 1.0)}
FRONTED = (
    "person", "dog", "cat", "duck", "horse", "car", "truck", "boat", "house", "tent", "chair", "sofa", "bed",
    "clock", "cup",
)  # fmt: skip
"""Categories whose turning is seen."""


def _those(scene: Scene, category: str) -> list[Thing]:
    found = [thing for thing in scene.things if thing.category == category]
    if not found:
        raise NotApplicable(f"there is no {category} in the scene")
    return found


def _only(scene: Scene, category: str) -> Thing:
    found = _those(scene, category)
    if len(found) > 1:
        raise NotApplicable(f"there are {len(found)} of the category {category}, the edit needs one")
    return found[0]


def _each(scene: Scene, category: str, change: Callable[[Thing], Thing]) -> Scene:
    _those(scene, category)
    return replace(scene, things=tuple(change(t) if t.category == category else t for t in scene.things))


def recolour(scene: Scene, category: str, colour: str) -> Scene:
    return _each(scene, category, lambda thing: replace(thing, colour=colour))


def retexture(scene: Scene, category: str, texture: str) -> Scene:
    return _each(scene, category, lambda thing: replace(thing, texture=texture))


def recolour_all(scene: Scene, colour: str) -> Scene:
    return replace(scene, things=tuple(replace(thing, colour=colour) for thing in scene.things))


def remove(scene: Scene, category: str) -> Scene:
    _those(scene, category)
    return replace(scene, things=tuple(t for t in scene.things if t.category != category))


def keep_only(scene: Scene, category: str) -> Scene:
    return replace(scene, things=tuple(_those(scene, category)))


def _next_id(scene: Scene) -> int:
    return max((thing.id for thing in scene.things), default=9) + 1


def add(scene: Scene, category: str, colour: str, side: str) -> Scene:
    rng = np.random.default_rng([scene.seed, crc32(f"{category} {colour} {side}".encode())])
    thing = replace(individual(rng, _next_id(scene), category, scene), colour=colour, texture="plain")
    view, (low, high) = view_of(scene.camera), SIDES[side]
    for _ in range(40):
        placed = find_place(rng, scene, view, thing, list(scene.things))
        if placed is None:
            break
        x = view.project(np.array([[placed.x, 0.3, placed.z]]), 1)[0, 0]
        if low <= x <= high:
            return replace(scene, things=(*scene.things, placed))
    raise NotApplicable(f"there is no room for a {category} {side}")


def replace_by(scene: Scene, category: str, other: str) -> Scene:
    old, new = CATEGORIES[category], CATEGORIES[other]
    fit = min(1.0, 1.3 * old.radius / new.radius)
    return _each(scene, category, lambda t: replace(t, category=other, scale=round(t.scale * fit, 4), tilt=0.0))


def _settled(scene: Scene, thing: Thing, spots: list[tuple[float, float]]) -> Thing:
    others = [other for other in scene.things if other.id != thing.id]
    view = view_of(scene.camera)
    for x, z in spots:
        moved = replace(thing, x=round(x, 4), z=round(z, 4))
        if fits(scene, view, moved, others):
            return moved
    raise NotApplicable(f"there is no free place for the {thing.category}")


def _ground_axes(scene: Scene) -> tuple[tuple[float, float], tuple[float, float]]:
    """The picture's right and the way to the viewer along the ground, as x and z."""
    sin, cos = math.sin(scene.camera.azimuth), math.cos(scene.camera.azimuth)
    side = -1.0 if scene.camera.mirrored else 1.0
    return (side * cos, side * -sin), (sin, cos)


def move(scene: Scene, category: str, direction: str) -> Scene:
    thing, (across, near) = _only(scene, category), MOVES[direction]
    right, toward = _ground_axes(scene)
    way = [across * right[i] + near * toward[i] for i in (0, 1)]
    spots = [(thing.x + way[0] * reach, thing.z + way[1] * reach) for reach in (1.8, 1.5, 1.2, 0.9, 0.7)]
    moved = _settled(scene, thing, spots)
    return replace(scene, things=tuple(moved if t.id == thing.id else t for t in scene.things))


def duplicate(scene: Scene, category: str) -> Scene:
    thing, (right, toward) = _only(scene, category), _ground_axes(scene)
    gap = 2.05 * radius_of(thing)
    ways = [(1, 0), (-1, 0), (0.7, 0.7), (-0.7, 0.7), (0.7, -0.7), (-0.7, -0.7)]
    spots = [
        (thing.x + gap * (a * right[0] + b * toward[0]), thing.z + gap * (a * right[1] + b * toward[1]))
        for a, b in ways
    ]
    twin = _settled(scene, replace(thing, id=_next_id(scene)), spots)
    return replace(scene, things=(*scene.things, twin))


def swap(scene: Scene, category: str, other: str) -> Scene:
    one, two = _only(scene, category), _only(scene, other)
    if one.id == two.id:
        raise NotApplicable("a thing does not change places with itself")
    places = {one.id: two, two.id: one}
    return replace(
        scene,
        things=tuple(replace(t, x=places[t.id].x, z=places[t.id].z) if t.id in places else t for t in scene.things),
    )


def resize(scene: Scene, category: str, size: str) -> Scene:
    return _each(scene, category, lambda thing: replace(thing, scale=round(thing.scale * SIZES[size], 4)))


def turn(scene: Scene, category: str, way: str) -> Scene:
    if category not in FRONTED:
        raise NotApplicable(f"a turned {category} looks the same")
    return _each(scene, category, lambda thing: replace(thing, yaw=round(thing.yaw + TURNS[way], 4)))


def lift(scene: Scene, category: str, height: str) -> Scene:
    return _each(scene, category, lambda thing: replace(thing, lift=round(thing.lift + HEIGHTS[height], 4)))


def tip(scene: Scene, category: str) -> Scene:
    if category == "ball":
        raise NotApplicable("a ball does not fall over")
    return _each(scene, category, lambda thing: replace(thing, tilt=round(math.pi / 2 - thing.tilt, 4)))


def pose(scene: Scene, pose: str) -> Scene:
    return _each(scene, "person", lambda thing: replace(thing, pose=pose))
