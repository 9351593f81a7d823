"""Normals of solids at points on them; sums are written out, since a matrix product's last bit differs by machine."""

import numpy as np

from viral.scenes.solids import ROUND, Solids

Triple = tuple[np.ndarray, np.ndarray, np.ndarray]


def normals(solids: Solids, solid: np.ndarray, points: Triple, direction: Triple) -> Triple:
    """Unit normals, against the ray's direction, of solids (one index each) at points on their surfaces."""
    m = solids.inverse[:, solid]
    x, y, z = points
    px, py, pz = (m[i] * x + m[i + 1] * y + m[i + 2] * z + m[i + 3] for i in (0, 4, 8))
    shape = solids.shape[:, solid]
    round_ = np.flatnonzero(solids.kind[solid] == ROUND)
    block = np.flatnonzero(solids.kind[solid] != ROUND)
    local = np.empty((3, len(solid)), np.float32)
    local[:, round_] = _round_normal(shape[:, round_], px[round_], py[round_], pz[round_])
    local[:, block] = _block_normal(shape[:, block], px[block], py[block], pz[block])
    n = [m[i] * local[0] + m[i + 4] * local[1] + m[i + 8] * local[2] for i in range(3)]
    length = np.sqrt(n[0] * n[0] + n[1] * n[1] + n[2] * n[2])
    length = np.where(n[0] * direction[0] + n[1] * direction[1] + n[2] * direction[2] > 0, -length, length)
    return n[0] / length, n[1] / length, n[2] / length


def _round_normal(shape: np.ndarray, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> Triple:
    alpha, beta, gamma, lo, hi, open_ = shape
    inner = x * x + z * z + (alpha * y + beta) * y + gamma
    lid = (np.minimum(np.abs(y - lo), np.abs(y - hi)) < -0.5 * inner) & (open_ == 0)
    middle = np.where(lid, 1, alpha * y + beta * np.float32(0.5))
    return np.where(lid, 0, x), middle, np.where(lid, 0, z)


def _block_normal(shape: np.ndarray, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> Triple:
    """The side whose plane is nearest to the point."""
    bx, bz = shape[0] * np.float32(0.5), shape[1] * np.float32(0.5)
    side_x, side_z = np.abs(x) + bx * (y + 1) - 1, np.abs(z) + bz * (y + 1) - 1
    end = np.abs(y) - 1 > np.maximum(side_x, side_z)
    on_x = side_x > side_z
    middle = np.where(end, np.sign(y), np.where(on_x, bx, bz))
    return np.where(~end & on_x, np.sign(x), 0), middle, np.where(~end & ~on_x, np.sign(z), 0)
