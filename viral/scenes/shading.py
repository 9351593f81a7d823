"""Light of surfaces: paints and patterns, sun and shadow, lamps, mirrors, haze; sums written out, float32, linear."""

from dataclasses import dataclass

import numpy as np

from viral.scenes.casting import Bundle, Caster, Rays, shaded
from viral.scenes.light import Light, light_of
from viral.scenes.palette import Paint, linear
from viral.scenes.scene import Scene
from viral.scenes.solids import Solids
from viral.scenes.stage import GROUND, SKY, WALL, ground_light, sky_light, wall_light
from viral.scenes.surfaces import Triple
from viral.scenes.textures import PATTERNS

CELLS = 40
"""Cells of the grid across the sunlight, each way."""
BIAS = np.float32(0.01)
"""Metres that a solid must stand above a surface to shade it; hides rounding on the surface itself."""


@dataclass(frozen=True)
class Surfaces:
    """What the rays met; n rays."""

    solid: np.ndarray
    """(n,) index of the solid, -1 for none."""
    owner: np.ndarray
    """(n,) id of the thing, or of the stage."""
    depth: np.ndarray
    point: Triple
    normal: Triple
    direction: Triple


@dataclass(frozen=True)
class Coats:
    """Paints of all solids, and the patterns of the things they belong to."""

    rgb: np.ndarray
    """(3, solids), linear."""
    second: np.ndarray
    """(3, solids): the pattern's other colour."""
    gloss: np.ndarray
    glow: np.ndarray
    pattern: np.ndarray
    """(solids,) index into PATTERN_NAMES."""
    frames: np.ndarray
    """(12, solids): world to the frame of the thing, where it has a pattern."""


PATTERN_NAMES = ("plain", *PATTERNS)


def coats(paints: list[Paint], textures: list[str], frames: np.ndarray) -> Coats:
    """Coats of solids with these paints and textures, in things that stand by `frames` (solids, 3, 4)."""
    rgb = linear(np.array([paint.rgb for paint in paints], np.float32).reshape(-1, 3)).T
    bright = rgb.sum(0) > 0.6
    second = np.where(bright, rgb * np.float32(0.16), rgb * np.float32(0.3) + np.float32(0.6))
    pattern = np.array([PATTERN_NAMES.index(texture) for texture in textures], int)
    inverse = np.zeros((12, len(paints)), np.float32)
    for solid in np.flatnonzero(pattern):
        back = np.linalg.inv(frames[solid, :, :3])
        inverse[:, solid] = np.concatenate([back, -(back @ frames[solid, :, 3:])], 1).ravel()
    gloss, glow = (np.array([paint[i] for paint in paints], np.float32) for i in (1, 2))
    return Coats(np.ascontiguousarray(rgb), second, gloss, glow, pattern, inverse)


@dataclass(frozen=True)
class Sunlight:
    """The bundle of sunlight through the things, ready to find shadows."""

    direction: np.ndarray
    """(3,) unit vector towards the sun."""
    caster: Caster
    columns: np.ndarray
    """(2, 4): the cell coordinates x and y of world points are their products with these."""


def sunlight(direction: np.ndarray, solids: Solids, around: np.ndarray) -> Sunlight:
    """The sunlight over solids, in a grid of CELLS by CELLS that just holds their corners `around`."""
    flat = np.hypot(direction[0], direction[2])
    across = np.array([direction[2] / flat, 0.0, -direction[0] / flat])
    sides = np.stack([across, np.cross(direction, across)])
    spread = around.reshape(-1, 3) @ sides.T if len(around) else np.zeros((1, 2))
    low = spread.min(0)
    cell = np.maximum(spread.max(0) - low, 1e-3) / CELLS
    right, down = ((*side * c, 0.0) for side, c in zip(sides, cell, strict=True))
    base = (*(low @ sides), 1.0)
    bundle = Bundle(np.array(right), np.array(down), np.array((*direction, 0.0)), np.array(base))
    columns = np.concatenate([sides, -low[:, None]], 1) / cell[:, None]
    sun = direction.astype(np.float32)
    return Sunlight(sun, Caster(solids, around, bundle, CELLS, 0.5), columns.astype(np.float32))


def shadows(sun: Sunlight, seen: Surfaces) -> np.ndarray:
    """(n,) whether a solid that casts shadows stands between each surface and the sun; sky counts as lit."""
    x, y = (_dot(seen.point, row) + row[3] for row in sun.columns)
    inside = (x > 0) & (x < CELLS) & (y > 0) & (y < CELLS)
    chosen = np.flatnonzero(inside & (_dot(seen.normal, sun.direction) > 0))
    x, y = x[chosen], y[chosen]
    cell = y.astype(np.int16) * CELLS + x.astype(np.int16)
    order = np.argsort(cell, kind="stable")
    chosen = chosen[order]
    starts = np.concatenate([[0], np.cumsum(np.bincount(cell, minlength=CELLS * CELLS))])
    height = _dot([axis[chosen] for axis in seen.point], sun.direction) + BIAS
    dark = np.zeros(len(seen.depth), bool)
    dark[chosen] = shaded(sun.caster, Rays(x[order], y[order], starts, CELLS), height)
    return dark


def _dot(a, b) -> np.ndarray:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _column(rgb: tuple[float, float, float]) -> np.ndarray:
    return np.array(rgb, np.float32)[:, None]


def _albedo(scene: Scene, coat: Coats, seen: Surfaces) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Albedo (3, n), gloss and glow (n,)."""
    count = len(seen.depth)
    albedo = np.zeros((3, count), np.float32)
    gloss, glow = np.zeros(count, np.float32), np.zeros(count, np.float32)
    on = np.flatnonzero(seen.solid >= 0)
    solid = seen.solid[on]
    albedo[:, on], gloss[on], glow[on] = coat.rgb[:, solid], coat.gloss[solid], coat.glow[solid]
    pattern = coat.pattern[solid]
    for number in np.unique(pattern):
        if number:
            there = on[pattern == number]
            albedo[:, there] = _patterned(coat, seen, there, PATTERN_NAMES[number])
    bare = seen.solid < 0
    floor = np.flatnonzero(bare & (seen.owner == GROUND))
    x, y, z = seen.point
    albedo[:, floor], wet = ground_light(scene, x[floor], z[floor], seen.depth[floor])
    gloss[floor] = wet * np.float32(0.9)
    wall = np.flatnonzero(bare & (seen.owner == WALL))
    albedo[:, wall] = wall_light(scene, x[wall], y[wall], z[wall])
    return albedo, gloss, glow


def _patterned(coat: Coats, seen: Surfaces, there: np.ndarray, pattern: str) -> np.ndarray:
    solid = seen.solid[there]
    m = coat.frames[:, solid]
    x, y, z = (axis[there] for axis in seen.point)
    inside = [m[i] * x + m[i + 1] * y + m[i + 2] * z + m[i + 3] for i in (0, 4, 8)]
    share = PATTERNS[pattern](*inside)
    return coat.rgb[:, solid] * (1 - share) + coat.second[:, solid] * share


def _contact(scene: Scene, radii: np.ndarray, seen: Surfaces, floor: np.ndarray) -> np.ndarray:
    """Share of the sky's light that reaches the ground beside things."""
    x, z = seen.point[0][floor], seen.point[2][floor]
    open_ = np.ones(len(floor), np.float32)
    for thing, radius in zip(scene.things, radii, strict=True):
        reach = np.float32(1 / (1.5 * radius) ** 2)
        dx, dz = x - np.float32(thing.x), z - np.float32(thing.z)
        near = np.maximum(1 - (dx * dx + dz * dz) * reach, 0)
        open_ -= np.float32(0.55 / (1 + 4 * thing.lift)) * near * near
    return np.maximum(open_, np.float32(0.3))


def _lamp_light(lamps: list[tuple[np.ndarray, np.ndarray]], seen: Surfaces) -> np.ndarray | float:
    """Light (3, n) of point lamps, each a position and a colour."""
    total: np.ndarray | float = 0.0
    for position, colour in lamps:
        way = [position[i] - seen.point[i] for i in range(3)]
        square = _dot(way, way)
        cosine = np.maximum(_dot(way, seen.normal), 0) / np.sqrt(square)
        total = total + colour[:, None] * (cosine * 3 / (1 + square * np.float32(0.8)))
    return total


def shade(
    scene: Scene, rays_of_sun: Sunlight, coat: Coats, radii: np.ndarray, lamps: list, seen: Surfaces
) -> np.ndarray:
    """Linear light (3, n) that the rays carry back to the eye."""
    light = light_of(scene)
    sun = rays_of_sun.direction
    albedo, gloss, glow = _albedo(scene, coat, seen)
    facing = np.maximum(_dot(seen.normal, sun), 0)
    lit = np.where(shadows(rays_of_sun, seen), 0, facing).astype(np.float32)

    open_ = np.float32(0.72) + np.float32(0.28) * np.clip(seen.point[1] * 2, 0, 1)
    floor = np.flatnonzero(seen.owner == GROUND)
    open_[floor] = _contact(scene, radii, seen, floor)
    up = seen.normal[1] * np.float32(0.5) + np.float32(0.5)
    around = (_column(light.below) + (_column(light.above) - _column(light.below)) * up) * open_
    colour = albedo * (around + _column(light.sun) * lit + _lamp_light(lamps, seen))
    colour += _mirrored(scene, light, sun, seen, gloss, lit) + albedo * (glow * np.float32(light.lamps + 0.35))
    return _hazed(scene, light, sun, seen, colour)


def _mirrored(
    scene: Scene, light: Light, sun: np.ndarray, seen: Surfaces, gloss: np.ndarray, lit: np.ndarray
) -> np.ndarray:
    """What glossy surfaces (and water) mirror of sun and sky."""
    out = np.zeros((3, len(gloss)), np.float32)
    on = np.flatnonzero(gloss > 0.02)
    n, d = [axis[on] for axis in seen.normal], [axis[on] for axis in seen.direction]
    length = np.sqrt(_dot(d, d))
    d = [axis / length for axis in d]
    cosine = -_dot(n, d)
    rim = 1 - np.clip(cosine, 0, 1)
    fresnel = np.float32(0.06) + np.float32(0.7) * rim * rim * rim
    bounced = [d[i] + 2 * cosine * n[i] for i in range(3)]
    peak = np.maximum(_dot(bounced, sun), 0)
    for _ in range(5):
        peak = peak * peak
    climb = np.clip(bounced[1] * np.float32(1.4), 0, 1)
    sky = _column(light.horizon) + (_column(light.zenith) - _column(light.horizon)) * climb
    if scene.indoors:
        sky = sky * 0 + _column(light.above)
    out[:, on] = gloss[on] * (sky * fresnel + _column(light.sun) * (peak * (lit[on] > 0) * np.float32(0.7)))
    return out


def _hazed(scene: Scene, light: Light, sun: np.ndarray, seen: Surfaces, colour: np.ndarray) -> np.ndarray:
    sky = np.flatnonzero(seen.owner == SKY)
    colour[:, sky] = sky_light(scene, light, sun, tuple(axis[sky] for axis in seen.direction))
    if scene.indoors and scene.weather != "fog":
        return colour
    far = seen.depth * seen.depth
    share = np.where(seen.owner == SKY, 0, far / (far + np.float32(light.haze**2))).astype(np.float32)
    return colour + (_column(light.horizon) - colour) * share
