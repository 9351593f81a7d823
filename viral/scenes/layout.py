"""Sampling of scenes: a camera, a place, a light, and things that neither collide nor hide one another."""

import math
from dataclasses import replace

import numpy as np

from viral.scenes.camera import View, view_of
from viral.scenes.palette import COLOURS
from viral.scenes.scene import BACKDROPS, INDOORS, POSES, TEXTURES, TIMES, Camera, Scene, Thing
from viral.scenes.stage import FIRST_THING, room_of
from viral.scenes.things import CATEGORIES

GROUNDS_OF = {
    "hills": ("grass", "grass", "earth", "snow"),
    "mountains": ("grass", "snow", "earth", "water"),
    "sea": ("sand", "sand", "grass"),
    "town": ("asphalt", "cobbles", "grass"),
    "forest": ("grass", "earth", "snow"),
    "plain": ("sand", "grass", "water", "snow", "cobbles"),
    "room": ("planks", "planks", "carpet", "tiles"),
    "studio": ("tiles", "planks", "carpet", "sand", "snow"),
}
"""Grounds that go with a backdrop; repeated ones are likelier."""
TRIES = 60
"""Places tried for a thing before it is left out."""
ATTEMPTS = 40
"""Scenes tried until the wanted things fit in."""


def sample_scene(
    seed: int, with_categories: tuple[str, ...] = (), backdrop: str = "", ground: str = "", extras: int | None = None
) -> Scene:
    """A scene that holds `with_categories`, first and in that order, and `extras` other things; all else is drawn.

    Equal arguments give equal scenes. Raises ValueError for unknown names, and when the things never fit in.
    """
    _check(with_categories, backdrop, ground)
    for attempt in range(ATTEMPTS):
        scene = _drawn(np.random.default_rng([seed, attempt]), seed, with_categories, backdrop, ground, extras)
        if tuple(thing.category for thing in scene.things[: len(with_categories)]) == with_categories:
            return scene
    raise ValueError(
        f"{len(with_categories)} things do not fit into one scene: {', '.join(with_categories)}; ask for fewer"
    )


def _drawn(
    rng: np.random.Generator, seed: int, wanted: tuple[str, ...], backdrop: str, ground: str, extras: int | None
) -> Scene:
    backdrop = backdrop or _pick(rng, _backdrops_for(wanted))
    small = rng.random() < 0.3 and len(wanted) < 5
    camera = _camera(rng, backdrop, small)
    scene = Scene(
        seed=seed,
        things=(),
        camera=camera,
        ground=ground or _pick(rng, GROUNDS_OF[backdrop]),
        backdrop=backdrop,
        wall=_pick(rng, tuple(COLOURS)),
        time=_pick(rng, ("noon", "noon", *TIMES)),
        sun=_rounded(camera.azimuth + rng.choice([-1, 1]) * rng.uniform(0.35, 1.7)),
        weather="clear" if backdrop in INDOORS else _pick(rng, ("clear",) * 12 + ("rain", "snow", "fog")),
    )
    if extras is None:
        extras = int(rng.integers(1, 6) if wanted else rng.integers(2, 8))
    return replace(scene, things=_things(rng, scene, wanted, extras, small))


def _check(categories: tuple[str, ...], backdrop: str, ground: str) -> None:
    unknown = [name for name in categories if name not in CATEGORIES]
    if unknown:
        raise ValueError(f"categories are {', '.join(CATEGORIES)}; got {', '.join(unknown)}")
    if backdrop and backdrop not in BACKDROPS:
        raise ValueError(f"backdrop is one of {', '.join(BACKDROPS)}, got {backdrop!r}")
    known = {name for grounds in GROUNDS_OF.values() for name in grounds}
    if ground and ground not in known:
        raise ValueError(f"ground is one of {', '.join(sorted(known))}, got {ground!r}")


def _pick(rng: np.random.Generator, names: tuple[str, ...]) -> str:
    return names[int(rng.integers(len(names)))]


def _rounded(value: float) -> float:
    return round(float(value), 4)


def _backdrops_for(categories: tuple[str, ...]) -> tuple[str, ...]:
    """Backdrops in which all of `categories` feel at home, or all of them when they never meet."""
    outdoors = all("o" in CATEGORIES[name].places for name in categories)
    indoors = all("i" in CATEGORIES[name].places for name in categories)
    kept = tuple(b for b in BACKDROPS if (indoors if b in ("room", "studio") else outdoors))
    rooms = ("room",) * 2 if indoors else ()
    return kept + rooms if kept else BACKDROPS


def _camera(rng: np.random.Generator, backdrop: str, small: bool) -> Camera:
    turn = {"room": 0.5, "studio": 0.6, "sea": 0.7}.get(backdrop, math.pi)
    return Camera(
        azimuth=_rounded(rng.uniform(-turn, turn)),
        elevation=_rounded(rng.uniform(0.12, 0.5 if backdrop == "room" else 0.68)),
        distance=_rounded(rng.uniform(3.4, 4.6) if small else rng.uniform(5.0, 6.6 if backdrop == "room" else 9.0)),
        x=_rounded(rng.uniform(-0.3, 0.3)),
        y=_rounded(rng.uniform(0.2, 0.45) if small else rng.uniform(0.35, 0.9)),
        z=_rounded(rng.uniform(-0.3, 0.3)),
        fov=_rounded(rng.uniform(0.65, 0.95)),
        roll=_rounded(rng.normal() * 0.02),
    )


def _things(
    rng: np.random.Generator, scene: Scene, wanted: tuple[str, ...], extras: int, small: bool
) -> tuple[Thing, ...]:
    names = list(wanted)
    home = tuple(name for name, kind in CATEGORIES.items() if _at_home(kind.places, scene, small))
    while len(names) < len(wanted) + extras:
        again = rng.random() < 0.15 and names
        names.append(_pick(rng, tuple(names)) if again else "person" if rng.random() < 0.2 else _pick(rng, home))
    view, placed = view_of(scene.camera), []
    for index, name in enumerate(names):
        thing = individual(rng, FIRST_THING + index, name, scene)
        spot = find_place(rng, scene, view, thing, placed, TRIES * 4 if index < len(wanted) else TRIES)
        if spot is not None:
            placed.append(spot)
        elif index < len(wanted):
            break
    return tuple(placed)


def _at_home(places: str, scene: Scene, small: bool) -> bool:
    if scene.ground == "water":
        return "w" in places
    return ("i" if scene.indoors else "o") in places and (not small or "s" in places)


def individual(rng: np.random.Generator, id: int, category: str, scene: Scene) -> Thing:
    """A thing of that category that stands nowhere yet."""
    kind = CATEGORIES[category]
    facing = scene.camera.azimuth + rng.normal() * 0.7 if rng.random() < 0.6 else rng.uniform(-math.pi, math.pi)
    plain = rng.random() < (0.93 if kind.colours or category == "person" else 0.6)
    return Thing(
        id,
        category,
        _pick(rng, kind.colours or tuple(COLOURS)),
        x=0.0,
        z=0.0,
        yaw=_rounded(facing),
        scale=_rounded(rng.uniform(0.85, 1.25)),
        texture="plain" if plain else _pick(rng, TEXTURES[1:]),
        variant=int(rng.integers(1 << 20)),
        pose=_pick(rng, POSES) if category == "person" else "standing",
    )


def radius_of(thing: Thing) -> float:
    return CATEGORIES[thing.category].radius * thing.scale


def find_place(
    rng: np.random.Generator, scene: Scene, view: View, thing: Thing, others: list[Thing], tries: int = TRIES
) -> Thing | None:
    """`thing` where it is in view and clear of the others, or None."""
    eye, axes = view.position.tolist(), view.axes.tolist()
    for u, v in rng.uniform((-0.9, -0.95), (0.9, 0.35), (tries, 2)).tolist():
        x, y, z = (view.half * (axes[0][i] * u + axes[1][i] * v) - axes[2][i] for i in range(3))
        reach = -eye[1] / y if y < -1e-3 else -1.0
        if not 0 < reach < scene.camera.distance + 6:
            continue
        moved = replace(thing, x=_rounded(eye[0] + reach * x), z=_rounded(eye[2] + reach * z))
        if fits(scene, view, moved, others):
            return moved
    return None


def fits(scene: Scene, view: View, thing: Thing, others: list[Thing]) -> bool:
    """Whether `thing` stands inside the room and the picture, clear of the camera and of `others`."""
    radius = radius_of(thing)
    if any(math.hypot(thing.x - o.x, thing.z - o.z) < 0.9 * (radius + radius_of(o)) for o in others):
        return False
    if scene.indoors:
        room = room_of(scene)
        if room and not (abs(thing.x) < room.wide - radius and thing.z > -room.deep + radius):
            return False
    elif scene.backdrop in ("town", "forest") and math.hypot(thing.x, thing.z) > 11:
        return False
    box = _outline(view, thing)
    if box is None or not (box[0] > -0.12 and box[2] < 1.12 and box[3] < 1.1 and box[1] > -0.15):
        return False
    if not 0.09 < box[3] - box[1] < 0.9 or box[2] - box[0] > 0.8:
        return False
    return all(_overlap(box, other) < 0.45 for other in (_outline(view, o) for o in others) if other)


def _outline(view: View, thing: Thing) -> tuple[float, float, float, float] | None:
    """Rough x0, y0, x1, y1 of a thing as shares of the picture, or None when it reaches the camera."""
    height, radius = CATEGORIES[thing.category].height * thing.scale, radius_of(thing)
    away = (thing.x - view.position[0], thing.lift - view.position[1], thing.z - view.position[2])
    x, y, z = (float(axis[0] * away[0] + axis[1] * away[1] + axis[2] * away[2]) for axis in view.axes)
    near, far = -z, -z - height * float(view.axes[2][1])
    if min(near, far) < radius + 1.2:
        return None
    wide = 2 * view.half
    middle, foot = 0.5 + view.mirror * x / near / wide, 0.5 - y / near / wide
    head = 0.5 - (y + height * float(view.axes[1][1])) / far / wide
    half = radius * 0.9 / (wide * near)
    return middle - half, head, middle + half, foot


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Area that two outlines share, relative to the smaller."""
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return max(wide, 0) * max(high, 0) / max(min(areas), 1e-9)
