"""The categories of things: how each is built, how much room it takes, where it belongs and in which colours."""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from viral.scenes import animals, indoor_things, outdoor_things
from viral.scenes.palette import COLOURS, GLOSSY, HAIR, PAINTS, SKIN, Paint, shade_of
from viral.scenes.person import person
from viral.scenes.scene import Thing
from viral.scenes.solids import Part


class Category(NamedTuple):
    """One kind of thing; lengths in metres at scale 1."""

    build: Callable[[float, float, float], list[Part]] | None
    """None for people, whose pose matters too."""
    radius: float
    """Of the circle on the ground that it takes."""
    height: float
    places: str
    """Any of "o" outdoors, "i" indoors, "w" on water, and "s": small enough for a large scale."""
    colours: tuple[str, ...] = ()
    """Those it is born with; all when empty. Edits may use any."""
    plural: str = ""


CATEGORIES: dict[str, Category] = {
    "person": Category(None, 0.42, 1.7, "oi", plural="people"),
    "dog": Category(animals.dog, 0.55, 1.0, "oi", ("brown", "white", "black", "grey", "orange", "yellow")),
    "cat": Category(animals.cat, 0.42, 0.8, "ois", ("orange", "black", "white", "grey", "brown")),
    "duck": Category(animals.duck, 0.45, 0.9, "ows", ("white", "yellow", "brown", "green", "grey")),
    "horse": Category(animals.horse, 0.9, 1.6, "o", ("brown", "white", "black", "grey", "orange")),
    "car": Category(outdoor_things.car, 1.1, 1.2, "o"),
    "truck": Category(outdoor_things.truck, 1.2, 1.5, "o"),
    "boat": Category(outdoor_things.boat, 1.15, 2.3, "ow"),
    "rocket": Category(outdoor_things.rocket, 0.5, 2.0, "ois"),
    "house": Category(outdoor_things.house, 1.45, 2.8, "o"),
    "tent": Category(outdoor_things.tent, 1.2, 1.6, "o"),
    "tree": Category(outdoor_things.tree, 0.75, 2.4, "o", ("green", "green", "green", "orange", "yellow", "red")),
    "cactus": Category(outdoor_things.cactus, 0.6, 1.5, "ois", ("green", "green", "teal")),
    "flower": Category(
        outdoor_things.flower, 0.35, 1.1, "ois", ("red", "orange", "yellow", "blue", "purple", "pink", "white")
    ),
    "mushroom": Category(outdoor_things.mushroom, 0.45, 0.8, "os", ("red", "brown", "orange", "purple", "yellow")),
    "snowman": Category(outdoor_things.snowman, 0.55, 1.7, "o"),
    "cone": Category(outdoor_things.cone, 0.4, 0.9, "os", ("orange", "orange", "red", "yellow", "blue")),
    "barrel": Category(outdoor_things.barrel, 0.42, 0.95, "ois"),
    "chair": Category(indoor_things.chair, 0.4, 1.1, "oi"),
    "table": Category(indoor_things.table, 0.9, 0.8, "oi", ("brown", "white", "black", "grey", "blue", "red", "green")),
    "sofa": Category(indoor_things.sofa, 1.0, 1.0, "i"),
    "bed": Category(indoor_things.bed, 1.15, 1.1, "i"),
    "lamp": Category(indoor_things.lamp, 0.38, 1.7, "oi"),
    "cup": Category(indoor_things.cup, 0.42, 0.5, "ois"),
    "bottle": Category(indoor_things.bottle, 0.25, 1.0, "ois", ("green", "blue", "brown", "teal", "red", "white")),
    "vase": Category(indoor_things.vase, 0.35, 1.1, "is"),
    "clock": Category(indoor_things.clock, 0.45, 0.9, "is"),
    "umbrella": Category(indoor_things.umbrella, 0.8, 1.8, "o"),
    "ball": Category(indoor_things.toy, 0.38, 0.7, "ois"),
    "box": Category(indoor_things.box, 0.42, 0.7, "ois", plural="boxes"),
}  # fmt: skip


def plural(category: str) -> str:
    return CATEGORIES[category].plural or category + "s"


class Shapes(NamedTuple):
    """Parts of an individual and their paints."""

    parts: list[Part]
    paints: list[Paint]
    textured: list[bool]
    """Whether the thing's texture lies on that part."""


@lru_cache(maxsize=1024)
def _chances(variant: int) -> tuple[float, ...]:
    """Numbers in 0..1 that make one individual differ from the next."""
    return tuple(np.random.default_rng(variant).random(12).tolist())


def proportions(variant: int) -> tuple[float, float, float]:
    """Three numbers in 0..1 that builders take."""
    a, b, c = _chances(variant)[:3]
    return a, b, c


def _own_paints(thing: Thing) -> dict[str, Paint]:
    chances = _chances(thing.variant)
    names = [name for name in COLOURS if name != thing.colour]
    choose = lambda options, chance: options[int(chance * len(options))]
    return {
        "main": Paint(shade_of(thing.colour, chances[3:7]), GLOSSY.get(thing.category, 0.0)),
        "second": Paint(shade_of(choose(names, chances[7]), chances[3:7])),
        "third": Paint(shade_of(choose(names, chances[8]), chances[3:7])),
        "skin": Paint(choose(SKIN, chances[9])),
        "hair": Paint(choose(HAIR, chances[10])),
    }


@lru_cache(maxsize=64)
def shapes(thing: Thing) -> Shapes:
    """The solids of `thing` in its own frame."""
    varied = proportions(thing.variant)
    build = CATEGORIES[thing.category].build
    parts = build(*varied) if build else person(thing.pose, *varied)
    paints = PAINTS | _own_paints(thing)
    return Shapes(parts, [paints[part.paint] for part in parts], [part.paint == "main" for part in parts])


def frame(thing: Thing) -> np.ndarray:
    """(3, 4) from the thing's frame to the world: scaled, tilted, turned about the vertical, set down."""
    s, (cy, sy), (ct, st) = thing.scale, _cos_sin(thing.yaw), _cos_sin(thing.tilt)
    radius = CATEGORIES[thing.category].radius
    y = thing.lift + s * radius * 0.6 * abs(st)  # a tipped thing lies on its side, not in the ground
    return np.array(
        [
            [s * cy * ct, -s * cy * st, s * sy, thing.x],
            [s * st, s * ct, 0.0, y],
            [-s * sy * ct, s * sy * st, s * cy, thing.z],
        ]
    )


def _cos_sin(angle: float) -> tuple[float, float]:
    return math.cos(angle), math.sin(angle)
