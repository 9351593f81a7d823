"""Builders of animals. Each takes three numbers in 0..1 that vary its proportions."""

from viral.scenes.solids import Part, ball, block, tube


def _legs(x: float, z: float, high: float, radius: float) -> list[Part]:
    return [tube((i * x, 0, k * z), (i * x, high, k * z), radius, radius * 1.25) for i in (-1, 1) for k in (-1, 1)]


def _face(head: tuple[float, float, float], wide: float, reach: float) -> list[Part]:
    x, y, z = head
    eyes = [ball((x + s * wide, y + 0.05, z + reach), 0.035, "ink") for s in (-1, 1)]
    return eyes


def dog(a: float, b: float, c: float) -> list[Part]:
    high, long = 0.36 + 0.12 * a, 0.42 + 0.14 * b
    head, droop = (0.0, high + 0.4, long + 0.1), -0.02 if c < 0.6 else 0.16
    ears = [
        ball((s * 0.17, head[1] + droop, head[2] - 0.04), (0.05, 0.15, 0.08), "second", (0, 0, s * 15)) for s in (-1, 1)
    ]
    return [
        ball((0, high + 0.08, 0), (0.2, 0.2, long)),
        ball((0, high + 0.14, long * 0.65), (0.18, 0.2, 0.2)),
        tube((0, high + 0.12, long * 0.7), head, 0.13, 0.12),
        ball(head, (0.17, 0.17, 0.17)),
        tube((0, head[1] - 0.05, head[2] + 0.1), (0, head[1] - 0.07, head[2] + 0.27), 0.1, 0.075),
        ball((0, head[1] - 0.03, head[2] + 0.29), 0.05, "ink"),
        tube((0, high + 0.18, -long * 0.85), (0, high + 0.5, -long - 0.2), 0.055, 0.03),
        *_legs(0.12, long * 0.68, high, 0.055),
        *_face(head, 0.07, 0.14),
        *ears,
    ]


def cat(a: float, b: float, c: float) -> list[Part]:
    high, long = 0.26 + 0.06 * a, 0.34 + 0.08 * b
    head = (0.0, high + 0.32, long + 0.06)
    ears = [block((s * 0.1, head[1] + 0.19, head[2]), (0.065, 0.09, 0.035), taper=(1, 0.5)) for s in (-1, 1)]
    tail = ((0, high + 0.15, -long * 0.9), (0, high + 0.4, -long - 0.2), (0, high + 0.75, -long - 0.12))
    return [
        ball((0, high + 0.06, 0), (0.16, 0.16, long)),
        ball((0, high + 0.12, long * 0.7), (0.13, 0.16, 0.14)),
        ball(head, (0.19, 0.16, 0.15)),
        ball((0, head[1] - 0.05, head[2] + 0.12), (0.08, 0.055, 0.06), "paper"),
        ball((0, head[1] - 0.01, head[2] + 0.17), 0.025, "beak"),
        tube(tail[0], tail[1], 0.045, 0.04),
        tube(tail[1], tail[2], 0.04, 0.03, "main" if c < 0.5 else "second"),
        *_legs(0.09, long * 0.68, high, 0.042),
        *_face(head, 0.08, 0.12),
        *ears,
    ]


def duck(a: float, b: float, c: float) -> list[Part]:
    long = 0.4 + 0.1 * a
    head = (0.0, 0.72 + 0.14 * b, long * 0.72)
    wings = [
        ball((s * 0.24, 0.4, -0.06), (0.07, 0.16, 0.28), "second" if c > 0.5 else "main", (-14, 0, 0)) for s in (-1, 1)
    ]
    feet = [ball((s * 0.12, 0.03, 0.1), (0.08, 0.03, 0.13), "beak") for s in (-1, 1)]
    return [
        ball((0, 0.34, 0), (0.27, 0.26, long)),
        tube((0, 0.42, long * 0.6), head, 0.13, 0.11),
        ball(head, 0.18),
        tube((0, head[1] - 0.02, head[2] + 0.14), (0, head[1] - 0.05, head[2] + 0.34), 0.08, 0.05, "beak"),
        tube((0, 0.42, -long * 0.75), (0, 0.6, -long - 0.12), 0.13, 0.02),
        *wings,
        *feet,
        *_face(head, 0.08, 0.13),
    ]


def horse(a: float, b: float, c: float) -> list[Part]:
    high, long = 0.72 + 0.15 * a, 0.6 + 0.1 * b
    neck, head = (0.0, high + 0.2, long * 0.75), (0.0, high + 0.75, long + 0.25)
    ears = [block((s * 0.07, head[1] + 0.16, head[2] - 0.06), (0.035, 0.08, 0.03), taper=(1, 1)) for s in (-1, 1)]
    hooves = [
        tube((i * 0.15, 0, k * long * 0.7), (i * 0.15, 0.09, k * long * 0.7), 0.085, 0.075, "ink")
        for i in (-1, 1)
        for k in (-1, 1)
    ]
    return [
        ball((0, high + 0.12, 0), (0.27, 0.28, long)),
        tube(neck, head, 0.2, 0.13),
        ball(head, (0.13, 0.15, 0.17)),
        tube(head, (0, head[1] - 0.24, head[2] + 0.3), 0.13, 0.085),
        ball((0, head[1] - 0.24, head[2] + 0.3), 0.088),
        tube((0, neck[1] + 0.2, neck[2] - 0.1), (0, head[1] + 0.14, head[2] - 0.12), 0.09, 0.06, "second"),
        tube((0, high + 0.25, -long * 0.9), (0, high - 0.25, -long - 0.22), 0.07, 0.09, "second"),
        *_legs(0.15, long * 0.7, high, 0.065),
        *hooves,
        *_face(head, 0.1, 0.12),
        *ears,
    ]
