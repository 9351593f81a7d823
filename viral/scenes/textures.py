"""Patterns as functions of position: shares 0..1 of a second colour, by sums, products and table look-ups."""

from functools import lru_cache

import cv2
import numpy as np

TILE = 256


@lru_cache(maxsize=1)
def noise_tile() -> np.ndarray:
    """(TILE * TILE,) smooth noise in 0..1 of five octaves; its edges meet."""
    rng = np.random.default_rng(7)
    total = np.zeros((TILE, TILE), np.float32)
    for octave in range(2, 8):
        cells = 2**octave
        grid = np.pad(rng.random((cells, cells), np.float32), 2, mode="wrap")
        step = TILE // cells
        fine = cv2.resize(grid, None, fx=step, fy=step, interpolation=cv2.INTER_LINEAR)
        total += fine[2 * step : -2 * step, 2 * step : -2 * step] * np.float32(0.62**octave)
    total -= total.min()
    return (total / total.max()).ravel()


def noise(u: np.ndarray, v: np.ndarray, period: float) -> np.ndarray:
    """Smooth noise in 0..1 that repeats after `period`."""
    scale = np.float32(TILE / period)
    column = (u * scale).astype(np.int32) & (TILE - 1)
    row = (v * scale).astype(np.int32) & (TILE - 1)
    return np.take(noise_tile(), row * TILE + column)


def _step(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float32)


def _frac(x: np.ndarray) -> np.ndarray:
    return x - np.floor(x)


def _striped(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    return _step(_frac(y * 4.2 + (x + z) * 0.6) < 0.5)


def _checkered(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    cells = np.floor(x * 4 + 0.37) + np.floor(y * 4 + 0.21) + np.floor(z * 4 + 0.43)
    return _step(_frac(cells * 0.5) > 0.25)


def _dotted(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    a, b, c = _frac(x * 4.3) - 0.5, _frac(y * 4.3) - 0.5, _frac(z * 4.3) - 0.5
    return _step(a * a + b * b + c * c < 0.17)


def _marble(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    wave = np.abs(_frac(y * 0.9 + x * 0.7 + 1.6 * noise(x + 0.6 * z, y - 0.5 * z, 3.0)) - 0.5)
    return np.clip(1.2 - 6 * wave, 0, 1).astype(np.float32)


def _zigzag(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    return _step(_frac(y * 3.4 + 0.9 * np.abs(_frac((x + z) * 2.2) - 0.5)) < 0.45)


def _brick(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    row = y * 6
    along = (x + z) * 2.6 + 0.5 * _frac(np.floor(row) * 0.5) * 2
    return _step((_frac(row) < 0.16) | (_frac(along) < 0.1))


def _wooden(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    ring = np.sqrt(x * x + (z * 0.6) ** 2 + (y * 0.25) ** 2) * 7 + 1.5 * noise(x + z, y * 0.3, 4.0)
    return np.abs(_frac(ring) - 0.5) * np.float32(1.3)


PATTERNS = {
    "striped": _striped,
    "checkered": _checkered,
    "dotted": _dotted,
    "marble": _marble,
    "zigzag": _zigzag,
    "brick": _brick,
    "wooden": _wooden,
}
"""Of positions in metres in the frame of the thing."""


def _grain(x: np.ndarray, z: np.ndarray) -> np.ndarray:
    return 0.55 * noise(x, z, 9.0) + 0.45 * noise(x + 3.1, z + 1.7, 2.1)


def _tufts(x: np.ndarray, z: np.ndarray) -> np.ndarray:
    return 0.5 * noise(x, z, 11.0) + 0.5 * noise(x * 1.7, z * 0.8, 1.3)


def _ripples(x: np.ndarray, z: np.ndarray) -> np.ndarray:
    return 0.55 * np.abs(_frac(z * 1.1 + x * 0.25 + 1.2 * noise(x, z, 8.0)) * 2 - 1) + 0.45 * noise(x, z, 1.7)


def _waves(x: np.ndarray, z: np.ndarray) -> np.ndarray:
    swell = _frac(z * 0.55 + 1.4 * noise(x * 0.6, z, 9.0)) * 2 - 1
    return np.clip(0.75 * noise(x * 0.45, z * 1.6, 3.0) + 0.35 * (1 - np.abs(swell)), 0, 1)


def _cobbles(x: np.ndarray, z: np.ndarray) -> np.ndarray:
    row = z * 2.4
    a, b = _frac(x * 2.4 + 0.5 * _frac(np.floor(row) * 0.5) * 2) - 0.5, _frac(row) - 0.5
    return np.clip(1.25 - 5.2 * (a * a + b * b), 0, 1) * (0.55 + 0.45 * noise(x, z, 6.0))


def _planks(x: np.ndarray, z: np.ndarray) -> np.ndarray:
    plank = np.floor(x * 2.2)
    gap = (_frac(x * 2.2) < 0.05) | (_frac(z * 0.4 + plank * 0.37) < 0.012)
    return np.where(gap, 0, 0.35 + 0.4 * noise(x * 2.5 + plank * 0.7, z * 0.25, 3.0) + 0.25 * _frac(plank * 0.618))


def _tiles(x: np.ndarray, z: np.ndarray) -> np.ndarray:
    return _step(_frac((np.floor(x * 1.3) + np.floor(z * 1.3)) * 0.5) > 0.25)


GROUND_PATTERNS = {
    "grass": _tufts,
    "sand": _ripples,
    "asphalt": _grain,
    "snow": _grain,
    "earth": _grain,
    "water": _waves,
    "cobbles": _cobbles,
    "planks": _planks,
    "tiles": _tiles,
    "carpet": _grain,
}
"""Of x and z in the world."""
