"""Which solid a ray meets first: all candidate pairs of ray and solid at once.

A bundle of rays (from an eye, or along the sunlight) is made parallel by a projective map: a ray is a point (x, y), and
a place on it a number r that grows towards the source: 1/depth from an eye, height towards the sun. Quadrics and
planes stay quadrics and planes under that map, so every solid is an interval of r between a few polynomials in x and
y, whose coefficients are found once per solid, in float64 around its own centre; the rest is float32.
"""

from typing import NamedTuple

import numpy as np

from viral.scenes.solids import ROUND, Solids


class Bundle(NamedTuple):
    """Homogeneous world vectors: (x, y, r) is the place x * right + y * down + r * source + base."""

    right: np.ndarray
    down: np.ndarray
    source: np.ndarray
    base: np.ndarray


class Rays(NamedTuple):
    """Rays of a bundle in the order of their cells, the unit squares of x and y."""

    x: np.ndarray
    y: np.ndarray
    starts: np.ndarray
    """(size * size + 1,): cell i, counted along rows, holds the rays starts[i] to starts[i + 1]."""
    size: int


class Rects(NamedTuple):
    """The cells that each solid may cover; ends excluded."""

    x0: np.ndarray
    x1: np.ndarray
    y0: np.ndarray
    y1: np.ndarray


def corners(solids: Solids) -> np.ndarray:
    """(n, 8, 3): corners of a box around each solid, in the world."""
    alpha, beta, gamma, lo, hi, _ = solids.shape
    square = [-((alpha * y + beta) * y + gamma) for y in (lo, hi, np.clip(0, lo, hi))]
    round_ = solids.kind == ROUND
    wide = np.where(round_, np.sqrt(np.maximum(np.max(square, axis=0), 0)), 1)
    lo, hi = np.where(round_, lo, -1), np.where(round_, hi, 1)
    x, y, z, centre = (solids.forward[:, :, i] for i in range(4))
    ends = centre + y * lo[:, None], centre + y * hi[:, None]
    across = [(x * a + z * b) * wide[:, None] for a in (-1, 1) for b in (-1, 1)]
    return np.stack([end + side for end in ends for side in across], 1)


def covered(around: np.ndarray, bundle: Bundle, size: int, pad: float) -> Rects:
    """The cells whose rays, which stray up to `pad` from the middle of their cell, may meet each solid."""
    back = np.linalg.inv(np.stack(bundle, 1))
    x, y, _, w = np.moveaxis(around @ back[:, :3].T + back[:, 3], 2, 0)
    near, behind = w.min(1) < 0.05, w.max(1) < 0.05
    w = np.maximum(w, 0.05)
    ends = []
    for values in (x / w, y / w):
        low = np.where(near, 0, np.clip(np.floor(values.min(1) + 0.5 - pad), 0, size))
        high = np.where(near, size, np.clip(np.floor(values.max(1) + 0.5 + pad), 0, size))
        ends += [low.astype(np.int32), np.where(behind, low, high).astype(np.int32)]
    return Rects(*ends)


def _runs(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """starts[0], starts[0] + 1, … counts[0] of them, then those of the next."""
    ends = np.cumsum(counts)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - (ends - counts), counts)


def _candidates(chosen: np.ndarray, cells: Rects, rays: Rays) -> tuple[np.ndarray, np.ndarray]:
    """Solid and ray of every pair of a chosen solid and a ray in its cells."""
    high = np.where(cells.x1 > cells.x0, np.maximum(cells.y1 - cells.y0, 0), 0)[chosen]
    solid = np.repeat(chosen, high)
    row = _runs(cells.y0[chosen], high) * rays.size
    first, last = rays.starts[row + cells.x0[solid]], rays.starts[row + cells.x1[solid]]
    return np.repeat(solid, last - first), _runs(first, last - first)


def _framed(solids: Solids, bundle: Bundle, middle: np.ndarray) -> np.ndarray:
    """(n, 4, 4): columns are the bundle's vectors in the frames of the solids, `base` moved to x, y = middle (n, 2)."""
    world = np.broadcast_to(np.stack(bundle, 1), (len(middle), 4, 4)).copy()
    world[:, :, 3] += middle[:, :1] * bundle.right + middle[:, 1:] * bundle.down
    world[:, :3] = solids.inverse.T.astype(np.float64).reshape(-1, 3, 4) @ world
    return world


class Outline(NamedTuple):
    """Quadrics along rays: 0 < root(x, y) inside the outline; the surfaces are at centre(x, y) ± sqrt(root)."""

    centre: np.ndarray
    """(3, n): of x, y and 1."""
    root: np.ndarray
    """(6, n): of x², xy, y², x, y and 1."""
    hollow: np.ndarray
    """(n,) whether the solid lies outside of the two surfaces: the source is within the endless quadric."""


def _outline(solids: Solids, frame: np.ndarray) -> Outline:
    alpha, beta, gamma = solids.shape[:3].astype(np.float64)
    quadric = np.zeros((len(alpha), 4, 4))
    quadric[:, 0, 0] = quadric[:, 2, 2] = 1
    quadric[:, 1, 1], quadric[:, 3, 3] = alpha, gamma
    quadric[:, 1, 3] = quadric[:, 3, 1] = beta / 2
    q = np.moveaxis(frame.transpose(0, 2, 1) @ quadric @ frame, 0, 2)  # of x, y, r and 1
    k = np.where(np.abs(q[2, 2]) < 1e-12, 1e-12, q[2, 2])
    q = q / k
    bx, by, b1 = q[2, 0], q[2, 1], q[2, 3]
    root = [
        bx * bx - q[0, 0], 2 * (bx * by - q[0, 1]), by * by - q[1, 1],
        2 * (bx * b1 - q[0, 3]), 2 * (by * b1 - q[1, 3]), b1 * b1 - q[3, 3],
    ]  # fmt: skip
    return Outline(np.stack([-bx, -by, -b1]).astype(np.float32), np.stack(root).astype(np.float32), k < 0)


def _bounds(planes: np.ndarray, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where planes n·p ≤ 0 (n, planes, 4) end a solid along rays: r ≤ each of the first, r ≥ each of the second.

    (3, planes, n) coefficients of x, y and 1, as many planes as some solid has on that side; the rest are far away.
    """
    x, y, slope, one = np.moveaxis(planes @ frame, (2, 1), (0, 1))
    slope = np.where(np.abs(slope) < 1e-9, 1e-9, slope)
    affine = -np.stack([x, y, one]) / slope
    return _kept(affine, slope > 0, 1e9), _kept(affine, slope < 0, -1e9)


def _kept(affine: np.ndarray, mine: np.ndarray, far: float) -> np.ndarray:
    """The planes marked in `mine` first; behind them, places so far away that they bound nothing."""
    away = np.array([0, 0, far])[:, None, None]
    order = np.argsort(~mine, axis=0, kind="stable")[: max(1, int(mine.sum(0).max(initial=0)))]
    return np.take_along_axis(np.where(mine, affine, away), order[None], 1).astype(np.float32)


def _lids(solids: Solids) -> np.ndarray:
    """Planes y ≤ hi and y ≥ lo of rounds, (n, 6, 4) like those of blocks: each three times."""
    planes = np.zeros((len(solids.kind), 6, 4))
    planes[:, ::2, 1], planes[:, 1::2, 1] = 1, -1
    planes[:, ::2, 3], planes[:, 1::2, 3] = -solids.shape[4][:, None], solids.shape[3][:, None]
    return planes


def _sides(solids: Solids) -> np.ndarray:
    """The six planes of blocks, (n, 6, 4)."""
    planes = np.zeros((len(solids.kind), 6, 4))
    for first, axis, taper in ((0, 0, solids.shape[0]), (2, 2, solids.shape[1])):
        for side in (0, 1):
            planes[:, first + side, axis] = 1 - 2 * side
            planes[:, first + side, 1], planes[:, first + side, 3] = taper / 2, taper / 2 - 1
    planes[:, 4:, 3] = -1
    planes[:, 4, 1], planes[:, 5, 1] = 1, -1
    return planes


def _affine(coefficients: np.ndarray, solid: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return coefficients[0][solid] * x + coefficients[1][solid] * y + coefficients[2][solid]


def _least(planes: np.ndarray, solid: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    best = _affine(planes[:, 0], solid, x, y)
    for i in range(1, planes.shape[1]):
        best = np.minimum(best, _affine(planes[:, i], solid, x, y))
    return best


class Caster:
    """Solids prepared for the rays of one bundle that fill `size` cells each way."""

    def __init__(self, solids: Solids, around: np.ndarray, bundle: Bundle, size: int, pad: float) -> None:
        """`around` are the solids' corners; rays stray up to `pad` from the middles of their cells."""
        self.cells = covered(around, bundle, size, pad)
        middle = np.stack([self.cells.x0 + self.cells.x1, self.cells.y0 + self.cells.y1], 1) / 2
        frame = _framed(solids, bundle, middle)
        self.middle = middle.T.astype(np.float32)
        self.outline = _outline(solids, frame)
        round_ = solids.kind == ROUND
        planes = np.where(round_[:, None, None], _lids(solids), _sides(solids))
        self.upper, self.lower = _bounds(planes, frame)
        whole = round_ & (solids.shape[3] == -1) & (solids.shape[4] == 1) & (solids.shape[0] == 1)
        open_ = round_ & (solids.shape[5] == 1)
        hollow = self.outline.hollow & ~open_ & ~whole & round_
        self.groups = (
            (whole, self._ball), (open_, self._shell), (hollow, self._hollow),
            (round_ & ~whole & ~open_ & ~hollow, self._drum), (~round_, self._block),
        )  # fmt: skip

    def hits(self, rays: Rays) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Solid, ray and largest r of every pair that meets."""
        found = []
        for group, meet in self.groups:
            chosen = np.flatnonzero(group)
            if len(chosen):
                solid, ray = _candidates(chosen, self.cells, rays)
                x, y = rays.x[ray] - self.middle[0][solid], rays.y[ray] - self.middle[1][solid]
                inside, r = meet(solid, x, y)
                found.append((solid[inside], ray[inside], r))
        if not found:
            return np.zeros(0, int), np.zeros(0, int), np.zeros(0, np.float32)
        solid, ray, r = (np.concatenate(column) for column in zip(*found, strict=True))
        return solid, ray, r

    def _roots(self, solid: np.ndarray, x: np.ndarray, y: np.ndarray):
        """Pairs within the outline, their solid, x and y, centre and half distance of the two surfaces."""
        c = self.outline.root
        square = (
            (c[0][solid] * x + c[1][solid] * y + c[3][solid]) * x + (c[2][solid] * y + c[4][solid]) * y + c[5][solid]
        )
        inside = np.flatnonzero(square > 0)
        solid, x, y = solid[inside], x[inside], y[inside]
        return inside, solid, x, y, _affine(self.outline.centre, solid, x, y), np.sqrt(square[inside])

    def _ball(self, solid: np.ndarray, x: np.ndarray, y: np.ndarray):
        inside, _, _, _, centre, half = self._roots(solid, x, y)
        return inside, centre + half

    def _slab(self, solid: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Between the lids: the first two bounds of each side, the others repeat them."""
        return _least(self.upper[:, :2], solid, x, y), -_least(-self.lower[:, :2], solid, x, y)

    def _drum(self, solid: np.ndarray, x: np.ndarray, y: np.ndarray):
        inside, solid, x, y, centre, half = self._roots(solid, x, y)
        upper, lower = self._slab(solid, x, y)
        r = np.minimum(centre + half, upper)
        met = np.flatnonzero(r > np.maximum(centre - half, lower))
        return inside[met], r[met]

    def _hollow(self, solid: np.ndarray, x: np.ndarray, y: np.ndarray):
        """Drums (cones, mostly) whose endless quadric holds the source: inside is outside the two surfaces."""
        inside, solid, x, y, centre, half = self._roots(solid, x, y)
        upper, lower = self._slab(solid, x, y)
        above = upper > np.maximum(centre + half, lower)
        r = np.where(above, upper, np.minimum(centre - half, upper))
        met = np.flatnonzero(above | (r > lower))
        return inside[met], r[met]

    def _shell(self, solid: np.ndarray, x: np.ndarray, y: np.ndarray):
        """The surface alone, without lids: both its sides are seen."""
        inside, solid, x, y, centre, half = self._roots(solid, x, y)
        upper, lower = self._slab(solid, x, y)
        first, second = centre + half, centre - half
        front = (first <= upper) & (first >= lower)
        r = np.where(front, first, second)
        met = np.flatnonzero(front | ((second <= upper) & (second >= lower)))
        return inside[met], r[met]

    def _block(self, solid: np.ndarray, x: np.ndarray, y: np.ndarray):
        upper, lower = _least(self.upper, solid, x, y), -_least(-self.lower, solid, x, y)
        met = np.flatnonzero(upper > lower)
        return met, upper[met]


def first_hits(caster: Caster, rays: Rays) -> tuple[np.ndarray, np.ndarray]:
    """The solid nearest to the source for each ray (-1: none) and its r (0: none)."""
    solid, ray, r = caster.hits(rays)
    nearest = np.zeros(len(rays.x), np.float32)
    np.maximum.at(nearest, ray, r)
    which = np.full(len(rays.x), -1)
    won = r == nearest[ray]
    which[ray[won]] = solid[won]
    return which, nearest


def shaded(caster: Caster, rays: Rays, r: np.ndarray) -> np.ndarray:
    """Whether a solid lies between each place (ray and r) and the source."""
    _, ray, top = caster.hits(rays)
    dark = np.zeros(len(rays.x), bool)
    dark[ray[top > r[ray]]] = True
    return dark
