"""Parts of objects: two shapes under an affine map, and the arrays that a ray caster wants of them.

A *round* is the quadric x² + z² + αy² + βy + γ = 0 between y = lo and y = hi: balls, domes, cones, tubes.
A *block* is the box |x|, |y|, |z| ≤ 1 whose sides lean inwards by `taper` towards its top: boxes, roofs, pyramids.
"""

import math
from typing import NamedTuple

import numpy as np

Number = float | int
Vec = tuple[Number, Number, Number]
Axes = tuple[Vec, Vec, Vec]
"""Images of the local x, y and z unit vectors."""

ROUND, BLOCK = 0, 1


class Part(NamedTuple):
    """One solid in the frame of its object: y up from the ground, front along +z."""

    kind: int
    centre: Vec
    axes: Axes
    shape: tuple[float, float, float, float, float, float]
    """Round: α, β, γ, lo, hi, open (1: without lids). Block: taper of x, taper of z, and unused zeros."""
    paint: str
    """A name of `palette.PAINTS`, or "main", "second", "third", "skin", "hair": colours of the individual."""


BALL = (1.0, 0.0, -1.0, -1.0, 1.0, 0.0)


def turned(half: Vec, turn: Vec) -> Axes:
    """Axes of lengths `half` after rotations in degrees about x, then y, then z."""
    (cx, sx), (cy, sy), (cz, sz) = ((math.cos(math.radians(t)), math.sin(math.radians(t))) for t in turn)
    x = (cy * cz, cy * sz, -sy)
    y = (sx * sy * cz - cx * sz, sx * sy * sz + cx * cz, sx * cy)
    z = (cx * sy * cz + sx * sz, cx * sy * sz - sx * cz, cx * cy)
    return tuple((h * v[0], h * v[1], h * v[2]) for h, v in zip(half, (x, y, z), strict=True))  # pyright: ignore


def straight(half: Vec) -> Axes:
    """Axes of lengths `half` along the object's own."""
    return (half[0], 0.0, 0.0), (0.0, half[1], 0.0), (0.0, 0.0, half[2])


def ball(centre: Vec, radius: Number | Vec, paint: str = "main", turn: Vec | None = None) -> Part:
    """An ellipsoid."""
    half = radius if isinstance(radius, tuple) else (radius, radius, radius)
    return Part(ROUND, centre, turned(half, turn) if turn else straight(half), BALL, paint)


def dome(centre: Vec, radii: Vec, paint: str = "main", upper: bool = True, open_: bool = False) -> Part:
    """Half an ellipsoid over (or under) its centre."""
    lo, hi = (0.0, 1.0) if upper else (-1.0, 0.0)
    return Part(ROUND, centre, straight(radii), (1.0, 0.0, -1.0, lo, hi, float(open_)), paint)


def block(
    centre: Vec, half: Vec, paint: str = "main", taper: tuple[Number, Number] = (0, 0), turn: Vec | None = None
) -> Part:
    """A box; `taper` 1 brings the two sides of x or of z together at its top."""
    shape = (float(taper[0]), float(taper[1]), 0.0, 0.0, 0.0, 0.0)
    return Part(BLOCK, centre, turned(half, turn) if turn else straight(half), shape, paint)


def tube(a: Vec, b: Vec, ra: Number, rb: Number, paint: str = "main", open_: bool = False) -> Part:
    """A cylinder or cone from `a` (radius `ra`) to `b` (radius `rb`)."""
    u = (b[0] - a[0], b[1] - a[1], b[2] - a[2])
    length = math.sqrt(u[0] ** 2 + u[1] ** 2 + u[2] ** 2)
    flat = math.hypot(u[0], u[2])
    x = (u[2] / flat, 0.0, -u[0] / flat) if flat > 1e-6 * length else (1.0, 0.0, 0.0)
    y = (u[0] / 2, u[1] / 2, u[2] / 2)
    z = tuple((x[i - 2] * u[i - 1] - x[i - 1] * u[i - 2]) / length for i in range(3))
    mean, slope = (ra + rb) / 2, (rb - ra) / 2
    shape = (-slope * slope, -2 * mean * slope, -mean * mean, -1.0, 1.0, float(open_))
    return Part(ROUND, ((a[0] + b[0]) / 2, (a[1] + b[1]) / 2, (a[2] + b[2]) / 2), (x, y, z), shape, paint)  # pyright: ignore


class Solids(NamedTuple):
    """All parts of a scene in world coordinates; n parts, float32."""

    kind: np.ndarray
    """(n,)"""
    forward: np.ndarray
    """(n, 3, 4), local to world."""
    inverse: np.ndarray
    """(12, n), world to local, the three rows one after the other."""
    shape: np.ndarray
    """(6, n)"""


def collect(parts: list[Part], frames: np.ndarray) -> Solids:
    """Solids of `parts`, whose objects stand in the world by `frames` (n, 3, 4)."""
    numbers = [number for part in parts for vector in (*part.axes, part.centre) for number in vector]
    local = np.array(numbers, np.float64).reshape(-1, 4, 3).transpose(0, 2, 1)
    turn = frames[:, :, :3]
    forward = turn @ local
    forward[:, :, 3] += frames[:, :, 3]
    back = np.linalg.inv(forward[:, :, :3])
    shift = -np.einsum("nij,nj->ni", back, forward[:, :, 3])
    inverse = np.concatenate([back, shift[:, :, None]], 2).reshape(len(parts), 12).T
    return Solids(
        np.array([part.kind for part in parts], int),
        forward.astype(np.float32),
        np.ascontiguousarray(inverse, np.float32),
        np.array([part.shape for part in parts], np.float32).reshape(-1, 6).T.copy(),
    )
