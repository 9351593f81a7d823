"""Builders of things that stand in rooms. Each takes three numbers in 0..1 that vary its proportions."""

import math

from viral.scenes.solids import Part, ball, block, dome, tube


def _legs(x: float, z: float, high: float, radius: float, paint: str) -> list[Part]:
    return [
        tube((i * x, 0, k * z), (i * x, high, k * z), radius * 0.8, radius, paint) for i in (-1, 1) for k in (-1, 1)
    ]


def chair(a: float, b: float, c: float) -> list[Part]:
    seat, back = 0.45 + 0.08 * a, 0.5 + 0.2 * b
    legs = _legs(0.21, 0.21, seat, 0.045, "wood" if c < 0.5 else "main")
    top = seat + back
    posts = [
        tube((x, seat, -0.23), (x, top, -0.29), 0.035, 0.035, "wood" if c < 0.5 else "main") for x in (-0.22, 0.22)
    ]
    if a < 0.5:
        rest = [block((0, seat + back * 0.68, -0.27), (0.24, back * 0.32, 0.035), turn=(-7, 0, 0))]
    else:
        rest = [block((0, seat + back * f, -0.24 - 0.06 * f), (0.24, 0.05, 0.03)) for f in (0.35, 0.65, 0.95)]
    return [block((0, seat + 0.03, 0), (0.28, 0.045, 0.28)), *legs, *posts, *rest]


def table(a: float, b: float, c: float) -> list[Part]:
    high, wide, deep = 0.72 + 0.12 * a, 0.65 + 0.35 * b, 0.45 + 0.2 * a
    if c < 0.3:
        foot = tube((0, 0, 0), (0, 0.05, 0), 0.35, 0.3, "dark wood")
        return [
            tube((0, high, 0), (0, high + 0.07, 0), 0.75, 0.75),
            tube((0, 0, 0), (0, high, 0), 0.08, 0.08, "dark wood"),
            foot,
        ]
    legs = _legs(wide * 0.86, deep * 0.84, high, 0.055, "wood" if c < 0.65 else "main")
    return [block((0, high + 0.04, 0), (wide, 0.045, deep)), *legs]


def sofa(a: float, b: float, c: float) -> list[Part]:
    wide = 0.75 + 0.35 * a
    cushions = [
        block((x * wide * 0.44, 0.48, 0.06), (wide * 0.42, 0.08, 0.36), "main" if c < 0.6 else "second", (0.05, 0.05))
        for x in (-1, 1)
    ]
    arms = [block((s * (wide + 0.08), 0.4, 0), (0.12, 0.3, 0.45)) for s in (-1, 1)]
    rolls = [tube((s * (wide + 0.08), 0.7, -0.45), (s * (wide + 0.08), 0.7, 0.45), 0.12, 0.12) for s in (-1, 1)]
    return [
        block((0, 0.27, 0), (wide, 0.17, 0.45)),
        block((0, 0.66 + 0.08 * b, -0.38), (wide, 0.32 + 0.08 * b, 0.13), taper=(0.06, 0.3), turn=(-8, 0, 0)),
        *cushions,
        *arms,
        *(rolls if b > 0.4 else []),
        *_legs(wide * 0.9, 0.36, 0.12, 0.05, "dark wood"),
    ]


def bed(a: float, b: float, c: float) -> list[Part]:
    wide = 0.6 + 0.3 * a
    pillows = [
        block((x, 0.58, -0.72), (0.26, 0.09, 0.17), "paper", (0.25, 0.3)) for x in ((-0.32, 0.32) if a > 0.5 else (0,))
    ]
    return [
        block((0, 0.26, 0), (wide, 0.12, 1.05), "wood"),
        block((0, 0.44, 0), (wide * 0.97, 0.1, 1.02), "paper"),
        block((0, 0.47, 0.27), (wide, 0.11, 0.78)),
        block((0, 0.55 + 0.15 * b, -1.07), (wide, 0.5 + 0.15 * b, 0.05), "dark wood"),
        *pillows,
        *_legs(wide * 0.9, 0.98, 0.2, 0.06, "dark wood"),
    ]


def lamp(a: float, b: float, c: float) -> list[Part]:
    high = 1.15 + 0.5 * a
    shade = [
        tube((0, high, 0), (0, high + 0.4, 0), 0.36, 0.2 + 0.1 * b, open_=True),
        ball((0, high + 0.16, 0), 0.13, "shade"),
        tube((0, high + 0.01, 0), (0, high + 0.03, 0), 0.32, 0.32, "shade"),
    ]
    if c > 0.6:
        shade = [ball((0, high + 0.25, 0), 0.27, "shade"), tube((0, high - 0.08, 0), (0, high + 0.08, 0), 0.08, 0.18)]
    return [
        tube((0, 0, 0), (0, 0.06, 0), 0.27, 0.22, "steel" if b < 0.5 else "main"),
        tube((0, 0, 0), (0, high + 0.1, 0), 0.04, 0.03, "steel" if b < 0.5 else "main"),
        *shade,
    ]


def cup(a: float, b: float, c: float) -> list[Part]:
    high, top = 0.42 + 0.16 * a, 0.24 + 0.06 * b
    low = top * (0.65 + 0.35 * c)
    outer = (low + top) / 2 + 0.17
    handle = [(top * 0.9, 0.75 * high), (outer, 0.72 * high), (outer + 0.02, 0.4 * high), (low * 0.95, 0.28 * high)]
    loop = [tube((p[0], p[1], 0), (q[0], q[1], 0), 0.04, 0.04) for p, q in zip(handle[:-1], handle[1:], strict=True)]
    knees = [ball((p[0], p[1], 0), 0.042) for p in handle[1:3]]
    return [
        tube((0, 0, 0), (0, high, 0), low, top, open_=True),
        tube((0, 0, 0), (0, 0.8 * high, 0), low * 0.96, low + (top - low) * 0.78, "coffee"),
        *loop,
        *knees,
    ]


def bottle(a: float, b: float, c: float) -> list[Part]:
    body, radius = 0.45 + 0.2 * a, 0.15 + 0.05 * b
    return [
        tube((0, 0, 0), (0, body, 0), radius, radius),
        dome((0, body, 0), (radius, 0.18, radius)),
        tube((0, body + 0.12, 0), (0, body + 0.4, 0), 0.07, 0.055),
        tube((0, body + 0.38, 0), (0, body + 0.46, 0), 0.066, 0.066, "second"),
        tube((0, body * 0.25, 0), (0, body * 0.75, 0), radius + 0.008, radius + 0.008, "paper"),
    ]


def vase(a: float, b: float, c: float) -> list[Part]:
    belly = 0.2 + 0.08 * a
    stems = []
    for i in range(3):
        angle = 2.1 * i + 6 * b
        x, y, z = 0.2 * math.cos(angle), 0.95 + 0.12 * ((i + c) % 1), 0.2 * math.sin(angle)
        stems += [tube((0, 0.45, 0), (x, y, z), 0.018, 0.018, "leaf"), ball((x, y, z), 0.1, "second")]
    return [
        ball((0, 0.25, 0), (belly, 0.26, belly)),
        tube((0, 0.42, 0), (0, 0.58, 0), 0.12, 0.16, open_=True),
        tube((0, 0.0, 0), (0, 0.08, 0), 0.14, 0.14),
        *stems,
    ]


def clock(a: float, b: float, c: float) -> list[Part]:
    middle, radius = 0.42, 0.36 + 0.06 * a
    hands = [
        tube((0, middle, 0.13), (reach * math.sin(t), middle + reach * math.cos(t), 0.13), 0.025, 0.015, "ink")
        for t, reach in ((6.28 * b, radius * 0.75), (6.28 * c, radius * 0.5))
    ]
    feet = [tube((x * 0.6, 0.0, 0), (x * 0.4, 0.15, 0), 0.035, 0.035, "steel") for x in (-0.5, 0.5)]
    bells = [ball((x, middle + radius + 0.03, 0), 0.12, "gold") for x in (-0.2, 0.2)]
    return [
        tube((0, middle, -0.1), (0, middle, 0.1), radius, radius),
        tube((0, middle, 0.1), (0, middle, 0.115), radius * 0.86, radius * 0.86, "paper"),
        *hands,
        *feet,
        *(bells if a > 0.4 else []),
    ]


def umbrella(a: float, b: float, c: float) -> list[Part]:
    high, wide = 1.3 + 0.3 * a, 0.75 + 0.25 * b
    return [
        dome((0, high, 0), (wide, 0.42, wide), open_=True),
        tube((0, 0, 0), (0, high + 0.5, 0), 0.035, 0.03, "wood"),
        tube((0, 0, 0), (0, 0.05, 0), 0.2, 0.18, "stone"),
    ]


def toy(a: float, b: float, c: float) -> list[Part]:
    """A ball, to play with."""
    radius = 0.26 + 0.2 * a
    return [ball((0, radius, 0), radius)]


def box(a: float, b: float, c: float) -> list[Part]:
    x, y, z = 0.26 + 0.18 * a, 0.22 + 0.18 * b, 0.26 + 0.14 * c
    lid = [block((0, 2 * y, 0), (x * 1.04, 0.05, z * 1.04))]
    bands = [
        block((0, y, 0), (x * 0.16, y * 1.005, z * 1.012), "second"),
        block((0, 2 * y, 0), (x * 0.17, 0.057, z * 1.06), "second"),
    ]
    bow = [ball((s * 0.1, 2 * y + 0.1, 0), (0.12, 0.05, 0.06), "second", turn=(0, 0, s * 30)) for s in (-1, 1)]
    return [block((0, y, 0), (x, y, z)), *lid, *bands, *bow]
