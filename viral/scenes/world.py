"""A scene made solid: its parts in the world, their coats and owners, ready for rays."""

import math
from dataclasses import dataclass

import numpy as np

from viral.scenes.camera import View, view_of
from viral.scenes.casting import Bundle, Caster, Rays, corners, first_hits
from viral.scenes.light import light_of, sun_direction
from viral.scenes.palette import PAINTS, linear
from viral.scenes.scene import Scene
from viral.scenes.shading import Coats, Sunlight, Surfaces, coats, shade, sunlight
from viral.scenes.solids import Solids, collect
from viral.scenes.stage import FIRST_THING, SKY, planes_of, scenery
from viral.scenes.surfaces import Triple, normals
from viral.scenes.things import CATEGORIES, frame, shapes

STRAY = 0.4
"""How far from the middle of their pixels, in pixels, the rays of edges pass."""


@dataclass(frozen=True)
class World:
    """All that a render of one size needs."""

    scene: Scene
    view: View
    solids: Solids
    owner: np.ndarray
    """(solids,) ids."""
    coat: Coats
    radii: np.ndarray
    """(things,) of their footprints, in metres."""
    lamps: list[tuple[np.ndarray, np.ndarray]]
    bundle: Bundle
    caster: Caster
    sunlight: Sunlight


def build(scene: Scene, size: int) -> World:
    """The world of `scene` for a picture of `size` pixels; scenery first, then the things in their order."""
    parts, paints, owners = scenery(scene)
    textures = ["plain"] * len(parts)
    frames, counts = [np.eye(3, 4)], [len(parts)]
    for thing in scene.things:
        made = shapes(thing)
        parts, paints = parts + made.parts, paints + made.paints
        owners = owners + [thing.id] * len(made.parts)
        textures += [thing.texture if on else "plain" for on in made.textured]
        frames.append(frame(thing))
        counts.append(len(made.parts))
    placed = np.repeat(np.stack(frames), counts, axis=0)
    view, solids, owner = view_of(scene.camera), collect(parts, placed), np.array(owners, np.int32)
    bundle, around = _bundle(view, size), corners(solids)
    return World(
        scene,
        view,
        solids,
        owner,
        coats(paints, textures, placed),
        np.array([CATEGORIES[thing.category].radius * thing.scale for thing in scene.things]),
        _lamps(scene),
        bundle,
        Caster(solids, around, bundle, size, STRAY),
        _sunlight(scene, solids, around, owner),
    )


def _sunlight(scene: Scene, solids: Solids, around: np.ndarray, owner: np.ndarray) -> Sunlight:
    """The sun over the things alone: scenery is too far away to cast shadows on them."""
    mine = owner >= FIRST_THING
    things = Solids(solids.kind[mine], solids.forward[mine], solids.inverse[:, mine], solids.shape[:, mine])
    return sunlight(sun_direction(scene, light_of(scene)), things, around[mine])


def _lamps(scene: Scene) -> list[tuple[np.ndarray, np.ndarray]]:
    strength = light_of(scene).lamps * (1.0 if not scene.indoors else 1.3)
    colour = linear(PAINTS["shade"].rgb) * np.float32(strength)
    lamps = [thing for thing in scene.things if thing.category == "lamp"]
    return [
        (np.array([t.x, t.lift + 1.35 * t.scale * math.cos(t.tilt), t.z], np.float32), colour * np.float32(t.scale))
        for t in lamps
    ]


def _bundle(view: View, size: int) -> Bundle:
    """The rays of the eye, x and y in pixels from the left and upper edge, r = 1 / depth."""
    scale = 2 * view.half / size
    right, down = view.axes[0] * scale * view.mirror, -view.axes[1] * scale
    base = -view.axes[2] - (right + down) * size / 2
    flat = lambda v: np.array([*v, 0.0])
    return Bundle(flat(right), flat(down), np.array([*view.position, 1.0]), flat(base))


def trace(world: World, rays: Rays) -> Surfaces:
    """What each ray of the eye meets first."""
    solid, r = first_hits(world.caster, rays)
    owner = np.where(solid >= 0, world.owner[solid] if len(world.owner) else SKY, SKY).astype(np.int32)
    return _against_planes(world, rays, solid, owner, r)


def _against_planes(world: World, rays: Rays, solid: np.ndarray, owner: np.ndarray, r: np.ndarray) -> Surfaces:
    right, down, source, base = (v.astype(np.float32) for v in world.bundle)
    d: Triple = tuple(right[i] * rays.x + down[i] * rays.y + base[i] for i in range(3))  # pyright: ignore
    planes = planes_of(world.scene)
    which = np.full(len(r), -1, np.int8)
    for index, plane in enumerate(planes):
        above = plane.sign * source[plane.axis] - np.float32(plane.offset)
        if above > 0:  # not seen from behind
            here = d[plane.axis] * np.float32(-plane.sign / above)
            np.copyto(which, index, where=here > r)
            np.maximum(r, here, out=r)
    flat = np.flatnonzero(which >= 0)
    solid[flat], owner[flat] = -1, np.array([plane.owner for plane in planes])[which[flat]]
    normal = np.zeros((3, len(r)), np.float32)
    for axis in range(3):
        normal[axis, flat] = np.array([p.sign * (p.axis == axis) for p in planes], np.float32)[which[flat]]
    depth = np.where(owner == SKY, 0, 1 / np.maximum(r, np.float32(1e-6))).astype(np.float32)
    point: Triple = tuple(source[i] + depth * d[i] for i in range(3))  # pyright: ignore
    on = np.flatnonzero(solid >= 0)
    normal[:, on] = normals(world.solids, solid[on], tuple(p[on] for p in point), tuple(v[on] for v in d))  # pyright: ignore
    return Surfaces(solid, owner, depth, point, (normal[0], normal[1], normal[2]), d)


def colours(world: World, seen: Surfaces) -> np.ndarray:
    """Linear light (3, n) of what the rays met."""
    return shade(world.scene, world.sunlight, world.coat, world.radii, world.lamps, seen)
