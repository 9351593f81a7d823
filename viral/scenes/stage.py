"""What surrounds the things: ground, walls, sky, and scenery far away. Ids below 10 name it."""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from viral.scenes.light import Light
from viral.scenes.palette import COLOURS, Paint, linear
from viral.scenes.scene import Scene
from viral.scenes.solids import Part, ball, block, tube
from viral.scenes.textures import GROUND_PATTERNS, PATTERNS, noise

SKY, GROUND, WALL, WATER, SCENERY = 0, 1, 2, 3, 4
FIRST_THING = 10

GROUND_COLOURS = {
    "grass": ((0.20, 0.36, 0.12), (0.48, 0.62, 0.24)),
    "sand": ((0.78, 0.64, 0.42), (0.93, 0.82, 0.60)),
    "asphalt": ((0.27, 0.27, 0.29), (0.42, 0.42, 0.43)),
    "snow": ((0.78, 0.84, 0.93), (0.97, 0.98, 1.0)),
    "earth": ((0.33, 0.22, 0.14), (0.56, 0.41, 0.27)),
    "water": ((0.05, 0.22, 0.40), (0.34, 0.60, 0.72)),
    "cobbles": ((0.20, 0.19, 0.18), (0.62, 0.58, 0.53)),
    "planks": ((0.26, 0.15, 0.08), (0.74, 0.52, 0.31)),
    "tiles": ((0.30, 0.36, 0.42), (0.88, 0.88, 0.84)),
    "carpet": ((0.42, 0.20, 0.24), (0.60, 0.32, 0.34)),
}
WALLPAPERS = ("plain", "plain", "striped", "brick", "dotted", "zigzag")


class Room(NamedTuple):
    """Inner sides of a room in metres, the camera's side open; x from -wide to wide, the back wall at z = -deep."""

    wide: float
    deep: float
    high: float


@lru_cache(maxsize=256)
def _chances(seed: int, salt: int, count: int) -> tuple[float, ...]:
    """Numbers in 0..1 of a scene's small accidents."""
    return tuple(np.random.default_rng([seed, salt]).random(count).tolist())


def room_of(scene: Scene) -> Room | None:
    """The walls indoors; a studio is one far wall."""
    if scene.backdrop == "studio":
        return Room(1e4, 5.0, 1e4)
    if scene.backdrop == "room":
        a, b, c = _chances(scene.seed, 11, 3)
        return Room(3.8 + 1.6 * a, 2.6 + 1.4 * b, 3.2 + 0.8 * c)
    return None


class Plane(NamedTuple):
    """A flat boundary: the world lies where sign * p[axis] > offset."""

    owner: int
    axis: int
    sign: int
    offset: float


def planes_of(scene: Scene) -> list[Plane]:
    """The ground and the walls."""
    room, ground = room_of(scene), Plane(GROUND, 1, 1, 0.0)
    if room is None:
        return [ground]
    back, left, right = Plane(WALL, 2, 1, -room.deep), Plane(WALL, 0, 1, -room.wide), Plane(WALL, 0, -1, -room.wide)
    return [ground, back, left, right, Plane(WALL, 1, -1, -room.high)]


def scenery(scene: Scene) -> tuple[list[Part], list[Paint], list[int]]:
    """Solids that are no things, their paints and owners."""
    rng = np.random.default_rng([scene.seed, 12])
    makers = {"hills": _hills, "mountains": _mountains, "town": _town, "forest": _forest, "room": _fittings}
    made = makers[scene.backdrop](scene, rng) if scene.backdrop in makers else []
    return [part for part, _, _ in made], [paint for _, paint, _ in made], [owner for _, _, owner in made]


Made = list[tuple[Part, Paint, int]]


def _ring(rng: np.random.Generator, count: int, away: tuple[int, int]) -> list[tuple[float, float, float]]:
    """Azimuth, x and z of places around the scene, from the nearest to the farthest metres `away`."""
    turns = (np.arange(count) + rng.uniform(-0.4, 0.4, count)) * 2 * math.pi / count
    reach = rng.uniform(*away, count)
    return [(float(t), float(r * math.sin(t)), float(r * math.cos(t))) for t, r in zip(turns, reach, strict=True)]


def _hills(scene: Scene, rng: np.random.Generator) -> Made:
    low, high = (np.array(c) for c in GROUND_COLOURS["grass" if scene.ground == "water" else scene.ground])
    made = []
    for turn, x, z in _ring(rng, 11, (38, 62)):
        wide, tall = rng.uniform(14, 24), rng.uniform(3, 9)
        tone = low + (high - low) * rng.uniform(0.1, 0.6)
        part = ball((x, -0.5, z), (wide, tall, 7.0), turn=(0, math.degrees(turn), 0))
        made.append((part, Paint(tuple(tone)), SCENERY))
    return made


def _mountains(scene: Scene, rng: np.random.Generator) -> Made:
    made = []
    for turn, x, z in _ring(rng, 10, (45, 70)):
        wide, tall = rng.uniform(11, 19), rng.uniform(7, 15)
        tone = np.array([0.40, 0.38, 0.40]) * rng.uniform(0.8, 1.15)
        yaw = math.degrees(turn) + rng.uniform(-30, 30)
        made.append(
            (block((x, tall - 1, z), (wide, tall, wide), taper=(1, 1), turn=(0, yaw, 0)), Paint(tuple(tone)), SCENERY)
        )
        cap = block(
            (x, 2 * tall * 0.865 - 1, z), (wide * 0.28, tall * 0.27, wide * 0.28), taper=(1, 1), turn=(0, yaw, 0)
        )
        made.append((cap, Paint((0.95, 0.96, 1.0)), SCENERY))
    return made


def _town(scene: Scene, rng: np.random.Generator) -> Made:
    made = []
    walls = ((0.62, 0.45, 0.38), (0.70, 0.66, 0.58), (0.48, 0.50, 0.55), (0.76, 0.58, 0.42), (0.40, 0.34, 0.34))
    for turn, x, z in _ring(rng, 20, (17, 26)):
        wide, tall = rng.uniform(1.8, 3.2), rng.uniform(1.6, 6.5)
        wall = Paint(walls[rng.integers(len(walls))])
        made.append((block((x, tall, z), (wide, tall, 1.6), turn=(0, math.degrees(turn), 0)), wall, SCENERY))
        if rng.random() < 0.5:
            roof = block(
                (x, 2 * tall + 0.8, z), (wide * 1.1, 0.8, 1.8), taper=(0.1, 1), turn=(0, math.degrees(turn), 0)
            )
            made.append((roof, Paint((0.40, 0.20, 0.17)), SCENERY))
    return made


def _forest(scene: Scene, rng: np.random.Generator) -> Made:
    made = []
    for _, x, z in _ring(rng, 34, (13, 21)):
        tall = rng.uniform(2.6, 5.5)
        tone = np.array([0.13, 0.33, 0.14]) * rng.uniform(0.7, 1.5) + rng.uniform(-0.02, 0.05, 3)
        paint = Paint(tuple(np.clip(tone, 0.02, 1)))
        if rng.random() < 0.6:
            made.append((tube((x, 0.2, z), (x, tall, z), tall * 0.3, 0.05), paint, SCENERY))
        else:
            made.append((ball((x, tall * 0.55, z), (tall * 0.33, tall * 0.48, tall * 0.33)), paint, SCENERY))
    return made


def _fittings(scene: Scene, rng: np.random.Generator) -> Made:
    """A rug, a window, a picture and a skirting board."""
    room = room_of(scene)
    assert room
    names = list(COLOURS)
    colour = lambda: Paint(COLOURS[names[rng.integers(len(names))]])
    back = -room.deep
    made: Made = [(block((0, 0.06, back), (room.wide, 0.06, 0.03)), Paint((0.9, 0.89, 0.86)), WALL)]
    if rng.random() < 0.65:
        x, z, r = rng.uniform(-0.8, 0.8), rng.uniform(-0.6, 0.8), rng.uniform(1.1, 1.9)
        made.append((tube((x, 0, z), (x, 0.012, z), r, r), colour(), GROUND))
        made.append((tube((x, 0, z), (x, 0.016, z), r * 0.78, r * 0.78), colour(), GROUND))
    places = list(rng.permutation(np.linspace(-0.7, 0.7, 4) * room.wide))
    for _ in range(int(rng.integers(1, 3))):
        x, y, w, h = places.pop(), rng.uniform(1.5, 2.1), rng.uniform(0.35, 0.7), rng.uniform(0.3, 0.55)
        made.append((block((x, y, back), (w, h, 0.04)), Paint((0.35, 0.22, 0.12)), WALL))
        made.append((block((x, y, back), (w * 0.88, h * 0.86, 0.05)), colour(), WALL))
        made.append((ball((x + w * 0.2, y - h * 0.1, back + 0.05), (w * 0.4, h * 0.5, 0.01)), colour(), WALL))
    if rng.random() < 0.7:
        x, y = places.pop(), rng.uniform(1.7, 2.0)
        made.append((block((x, y, back), (0.62, 0.72, 0.05)), Paint((0.95, 0.95, 0.93)), WALL))
        for dx in (-0.29, 0.29):
            made.append((block((x + dx, y, back), (0.25, 0.62, 0.07)), Paint((0.55, 0.72, 0.9), 0.4, 0.8), WALL))
    return made


def ground_light(scene: Scene, x: np.ndarray, z: np.ndarray, away: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Albedo (3, n) and share of water (n,) of the ground at world points; `away` is their distance from the eye."""
    chances = np.array(_chances(scene.seed, 13, 5), np.float32)
    shift, tint = 12 * chances[:2] - 6, np.float32(0.9) + np.float32(0.2) * chances[2:, None]
    low, high = (linear(c)[:, None] for c in GROUND_COLOURS[scene.ground])
    share = GROUND_PATTERNS[scene.ground](x + shift[0], z + shift[1]).astype(np.float32)
    fade = np.float32(400) / (400 + away * away)
    share = share * fade + np.float32(0.5) * (1 - fade)
    albedo = low * tint + (high - low) * tint * share
    wet = np.full(len(x), np.float32(scene.ground == "water"))
    if scene.ground == "asphalt" and scene.backdrop == "town":
        _paint_lane(albedo, x, z)
    if scene.backdrop == "sea":
        _flood(albedo, wet, x, z)
    return albedo, wet


def _paint_lane(albedo: np.ndarray, x: np.ndarray, z: np.ndarray) -> None:
    dash = z * np.float32(0.45)
    mark = (np.abs(x - 1.2) < 0.09) & (dash - np.floor(dash) < 0.6)
    albedo[:, mark] = np.float32(0.8)


def _flood(albedo: np.ndarray, wet: np.ndarray, x: np.ndarray, z: np.ndarray) -> None:
    """The sea begins beyond a wavy shore."""
    shore = -z - 6.5 + 2.4 * noise(x, z * 0.2, 23.0)
    sea = shore > 0
    low, high = (linear(c)[:, None] for c in GROUND_COLOURS["water"])
    share = GROUND_PATTERNS["water"](x[sea], z[sea])
    foam = np.clip(1 - np.abs(shore[sea]) * 2.5, 0, 1)
    albedo[:, sea] = (low + (high - low) * share) * (1 - foam) + np.float32(0.85) * foam
    wet[sea] = 1 - foam


def wall_light(scene: Scene, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Albedo (3, n) of walls at world points."""
    base = linear(COLOURS[scene.wall])[:, None] * np.float32(0.85) + np.float32(0.06)
    paper = WALLPAPERS[int(_chances(scene.seed, 15, 1)[0] * len(WALLPAPERS))]
    if scene.backdrop == "studio" or paper == "plain":
        return base * (np.float32(0.94) + np.float32(0.12) * noise(x + z, y, 9.0))
    if paper == "striped":
        share = PATTERNS["striped"](y * 0, (x + z) * np.float32(0.8), y * 0)
    else:
        share = PATTERNS[paper](x * np.float32(0.7), y * np.float32(0.7), z * np.float32(0.7))
    return base * (1 - np.float32(0.28) * share)


def sky_light(scene: Scene, light: Light, sun: np.ndarray, d: tuple[np.ndarray, ...]) -> np.ndarray:
    """Linear light (3, n) of the sky along world directions (any length)."""
    x, y, z = d
    length = np.sqrt(x * x + y * y + z * z)
    up = np.clip(y / length, 0, 1)
    climb = np.sqrt(np.clip(up * np.float32(1.5), 0, 1))
    zenith, horizon = (np.array(c, np.float32)[:, None] for c in (light.zenith, light.horizon))
    sky = horizon + (zenith - horizon) * climb
    facing = np.clip((x * sun[0] + y * sun[1] + z * sun[2]) / length, 0, 1)
    if scene.weather == "clear" and scene.time != "overcast":
        sky = sky + np.array(light.sun, np.float32)[:, None] * (
            _power(facing, 6) * np.float32(0.35) + (facing > 0.9985)
        )
    if scene.time == "night" and scene.weather == "clear":
        flat = 1 / (up + np.float32(0.4)) / length
        stars = noise(x * flat * 9 + 2.3, z * flat * 9, 8.0) * noise(z * flat * 13, x * flat * 11, 7.0)
        sky = sky + np.float32(0.8) * (stars > 0.62)
    return sky if scene.weather == "fog" else _clouded(scene, light, sky, up, x / length, z / length)


def _clouded(scene: Scene, light: Light, sky: np.ndarray, up: np.ndarray, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    shift, cover = np.array(_chances(scene.seed, 16, 2), np.float32)
    flat = np.float32(0.8) / (up + np.float32(0.22))
    thick = noise(x * flat + shift * 7, z * flat * np.float32(1.5) + shift * 3, 5.0)
    edge = np.float32(0.95) - np.float32(light.clouds) * (np.float32(0.35) + np.float32(0.35) * cover)
    share = np.clip((thick - edge) * 4, 0, 0.9) * np.clip(up * 9, 0, 1)
    cloud = np.array(light.above, np.float32)[:, None] * np.float32(1.3) + np.array(light.sun, np.float32)[
        :, None
    ] * np.float32(0.35)
    return sky + (cloud - sky) * share


def _power(x: np.ndarray, doublings: int) -> np.ndarray:
    """x to the power 2 ** doublings, by products."""
    for _ in range(doublings):
        x = x * x
    return x
