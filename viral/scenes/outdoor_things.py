"""Builders of things that stand outdoors. Each takes three numbers in 0..1 that vary its proportions."""

import math

from viral.scenes.solids import Part, ball, block, dome, tube


def car(a: float, b: float, c: float) -> list[Part]:
    long, high = 1.0 + 0.25 * a, 0.2 + 0.08 * b
    front = long * (0.1 - 0.35 * c)
    wheels = [
        part
        for x in (-0.42, 0.42)
        for z in (-0.6 * long, 0.6 * long)
        for part in (
            tube((x - 0.09, 0.22, z), (x + 0.09, 0.22, z), 0.22, 0.22, "rubber"),
            tube((x * 1.16, 0.22, z), (x * 1.25, 0.22, z), 0.1, 0.1, "steel"),
        )
    ]
    lamps = [ball((x, 0.42, long), (0.09, 0.07, 0.05), "headlight") for x in (-0.32, 0.32)]
    return [
        block((0, 0.2 + high, 0), (0.47, high, long), taper=(0.06, 0.06)),
        block((0, 0.34 + 2 * high, front - 0.1), (0.41, 0.2, 0.58 * long), "glass", taper=(0.2, 0.42)),
        block((0, 0.53 + 2 * high, front - 0.1), (0.34, 0.025, 0.36 * long)),
        block((0, 0.27, long), (0.44, 0.05, 0.05), "steel"),
        *wheels,
        *lamps,
    ]


def truck(a: float, b: float, c: float) -> list[Part]:
    long = 0.85 + 0.4 * a
    wheels = [
        tube((x - 0.1, 0.24, z), (x + 0.1, 0.24, z), 0.24, 0.24, "rubber")
        for x in (-0.46, 0.46)
        for z in (0.75, -0.3 * long, -0.9 * long)
    ]
    lamps = [ball((x, 0.45, 1.12), (0.09, 0.09, 0.05), "headlight") for x in (-0.36, 0.36)]
    return [
        block((0, 0.32, -0.1), (0.46, 0.08, 0.4 + long), "rubber"),
        block((0, 0.72, 0.78), (0.52, 0.4, 0.34), taper=(0.08, 0.2)),
        block((0, 0.88, 0.86), (0.45, 0.16, 0.3), "glass", taper=(0.1, 0.1)),
        block((0, 0.9 + 0.15 * b, -0.45 * long), (0.56, 0.5 + 0.15 * b, 0.85 * long), "second"),
        *wheels,
        *lamps,
    ]


def boat(a: float, b: float, c: float) -> list[Part]:
    long, mast = 1.0 + 0.3 * a, 1.7 + 0.5 * b
    sail = (0.02, mast * 0.4, 0.5)
    return [
        dome((0, 0.42, 0), (0.48, 0.44, long), upper=False),
        tube((0, 0.40, 0), (0, 0.46, 0), 0.5, 0.5, "wood")._replace(
            axes=((0.96, 0, 0), (0, 0.03, 0), (0, 0, 2 * long))
        ),
        tube((0, 0.4, 0.1), (0, mast + 0.3, 0.1), 0.045, 0.03, "dark wood"),
        block((0, 0.65 + sail[1], -0.42), sail, "sailcloth" if c < 0.6 else "second", taper=(0, 1), turn=(-8, 0, 0)),
        block((0, 0.6 + sail[1] * 0.75, 0.55), (0.02, sail[1] * 0.75, 0.34), "second", taper=(0, 1), turn=(12, 0, 0)),
    ]


def tree(a: float, b: float, c: float) -> list[Part]:
    trunk = 0.7 + 0.5 * a
    stem = tube((0, 0, 0), (0, trunk + 0.3, 0), 0.15 + 0.05 * b, 0.1, "bark")
    if c < 0.3:
        cones = [(0.35 + 0.5 * i, 0.8 - 0.2 * i) for i in range(3)]
        return [stem, *(tube((0, y, 0), (0, y + 0.95, 0), radius, 0.02) for y, radius in cones)]
    if c < 0.45:
        return [stem, ball((0, trunk + 0.8, 0), (0.42, 1.15, 0.42))]
    crown = [ball((0, trunk + 0.75, 0), 0.62 + 0.1 * b)]
    for i in range(5):
        angle = 2 * math.pi * (i / 5 + a)
        radius = 0.36 + 0.14 * ((i * 0.37 + b) % 1)
        crown.append(ball((0.5 * math.cos(angle), trunk + 0.5 + 0.25 * (i % 3), 0.5 * math.sin(angle)), radius))
    return [stem, *crown]


def house(a: float, b: float, c: float) -> list[Part]:
    wide, high, deep = 0.95 + 0.3 * a, 0.7 + 0.3 * b, 0.85
    roof = ("roof", "slate", "thatch")[int(c * 2.999)]
    steep = 0.42 + 0.2 * c
    windows = [block((x * wide, high * 1.05, deep), (0.17, 0.2, 0.03), "window") for x in (-0.6, 0.6)]
    sides = [block((s * wide, high * 1.05, 0), (0.03, 0.2, 0.2), "window") for s in (-1, 1)]
    frames = [block((x * wide, high * 1.05 - 0.22, deep), (0.21, 0.03, 0.06), "paper") for x in (-0.6, 0.6)]
    return [
        block((0, high, 0), (wide, high, deep)),
        block((0, 2 * high + steep, 0), (wide * 1.12, steep, deep * 1.2), roof, taper=(0.25 if a < 0.5 else 0, 1)),
        block((0, 0.45, deep), (0.2, 0.45, 0.03), "second"),
        ball((0.13, 0.45, deep + 0.05), 0.03, "gold"),
        block((wide * 0.5, 2 * high + steep * 1.5, -0.2), (0.14, steep * 0.8, 0.14), "stone"),
        *windows,
        *sides,
        *frames,
    ]


def tent(a: float, b: float, c: float) -> list[Part]:
    high = 0.65 + 0.25 * a
    return [
        block((0, high, 0), (0.95, high, 1.05), taper=(1, 0)),
        block((0, high * 0.6, 1.05), (0.36, high * 0.6, 0.02), "ink", taper=(1, 0)),
        tube((0, 0, 1.07), (0, 2 * high + 0.15, 1.07), 0.035, 0.03, "wood"),
        block((0.14, 2 * high + 0.1, 1.07), (0.14, 0.08, 0.01), "second"),
    ]


def cactus(a: float, b: float, c: float) -> list[Part]:
    high = 1.1 + 0.5 * a
    parts = [tube((0, 0, 0), (0, high, 0), 0.2, 0.18), ball((0, high, 0), 0.18)]
    for side, y in ((-1, 0.45 + 0.25 * b), (1, 0.6 + 0.2 * c)):
        x = 0.5 * side
        parts += [tube((0, y, 0), (x, y, 0), 0.1, 0.1), ball((x, y, 0), 0.11)]
        parts += [tube((x, y, 0), (x, y + 0.4, 0), 0.1, 0.1), ball((x, y + 0.4, 0), 0.1)]
    return parts if c > 0.4 else [*parts, ball((0, high + 0.2, 0), (0.12, 0.08, 0.12), "second")]


def flower(a: float, b: float, c: float) -> list[Part]:
    high, petals = 0.65 + 0.4 * a, 5 + int(2.99 * b)
    heart = (0.0, high, 0.1)
    parts = [
        tube((0, 0, 0), (0, high, 0.04), 0.04, 0.03, "leaf"),
        ball(heart, (0.13, 0.13, 0.09), "second", turn=(-25, 0, 0)),
        ball((0.16, 0.25, 0), (0.17, 0.035, 0.07), "leaf", turn=(0, 0, 30)),
        ball((-0.16, 0.35, 0), (0.17, 0.035, 0.07), "leaf", turn=(0, 0, -30)),
    ]
    for i in range(petals):
        angle = 2 * math.pi * i / petals
        x, y = math.cos(angle) * 0.24, math.sin(angle) * 0.24
        centre = (x, high + y * 0.9, 0.06 - y * 0.42 + 0.0)
        parts.append(ball(centre, (0.16, 0.1, 0.05), turn=(-25, 0, math.degrees(angle))))
    return parts


def mushroom(a: float, b: float, c: float) -> list[Part]:
    high, wide = 0.4 + 0.25 * a, 0.38 + 0.15 * b
    spots = [
        ball((wide * 0.68 * math.cos(t), high + 0.2, wide * 0.68 * math.sin(t)), 0.08, "paper")
        for t in (0.4 + c, 1.9 + c, 3.3 + c, 4.9 + c)
    ]
    return [
        tube((0, 0, 0), (0, high, 0), 0.17, 0.12, "cream"),
        dome((0, high - 0.04, 0), (wide, 0.38, wide)),
        ball((0.04, high + 0.31, 0.06), 0.08, "paper"),
        *spots,
    ]


def snowman(a: float, b: float, c: float) -> list[Part]:
    y = 1.22 + 0.1 * a
    buttons = [ball((0, h, 0.34), 0.045, "coal") for h in (0.75, 0.95)]
    eyes = [ball((x, y + 0.06, 0.2), 0.04, "coal") for x in (-0.09, 0.09)]
    arms = [tube((s * 0.25, 0.9, 0), (s * 0.8, 1.1 + 0.2 * b, 0), 0.03, 0.02, "bark") for s in (-1, 1)]
    return [
        ball((0, 0.38, 0), 0.45, "snow"),
        ball((0, 0.88, 0), 0.34, "snow"),
        ball((0, y, 0), 0.24, "snow"),
        tube((0, y, 0.2), (0, y - 0.02, 0.46), 0.05, 0.01, "carrot"),
        tube((0, y - 0.24, 0), (0, y - 0.13, 0), 0.26, 0.24),
        tube((0, y + 0.17, 0), (0, y + 0.21, 0), 0.3, 0.3),
        tube((0, y + 0.2, 0), (0, y + 0.48, 0), 0.2, 0.2),
        *buttons,
        *eyes,
        *arms,
    ]


def cone(a: float, b: float, c: float) -> list[Part]:
    high = 0.75 + 0.25 * a
    band = lambda low, top: tube(
        (0, low * high, 0), (0, top * high, 0), 0.285 - 0.22 * low, 0.285 - 0.22 * top, "paper"
    )
    return [
        block((0, 0.035, 0), (0.36, 0.035, 0.36), "rubber" if b < 0.5 else "main"),
        tube((0, 0.05, 0), (0, high, 0), 0.26, 0.045),
        band(0.38, 0.52),
        band(0.66, 0.78),
    ]


def rocket(a: float, b: float, c: float) -> list[Part]:
    high = 1.3 + 0.5 * a
    fins = []
    for t in (0.5, 2.6, 4.7):
        foot = (0.3 * math.sin(t), 0.4, 0.3 * math.cos(t))
        fins.append(block(foot, (0.03, 0.32, 0.24), "second", taper=(0, 0.7), turn=(0, math.degrees(t), 0)))
    return [
        tube((0, 0.25, 0), (0, high, 0), 0.3, 0.28),
        tube((0, high, 0), (0, high + 0.5, 0), 0.28, 0.02, "second"),
        tube((0, 0.1, 0), (0, 0.27, 0), 0.24, 0.18, "steel"),
        ball((0, high * 0.72, 0.27), (0.13, 0.13, 0.05), "glass"),
        ball((0, high * 0.72, 0.25), (0.17, 0.17, 0.04), "steel"),
        *fins,
    ]


def barrel(a: float, b: float, c: float) -> list[Part]:
    high = 0.8 + 0.25 * a
    bulge = 0.36 + 0.06 * b
    return [
        tube((0, 0, 0), (0, high / 2, 0), 0.32, bulge),
        tube((0, high / 2, 0), (0, high, 0), bulge, 0.32),
        tube((0, high * 0.2, 0), (0, high * 0.28, 0), 0.365, 0.375, "steel"),
        tube((0, high * 0.72, 0), (0, high * 0.8, 0), 0.375, 0.365, "steel"),
        tube((0, high, 0), (0, high + 0.01, 0), 0.28, 0.28, "dark wood"),
    ]
