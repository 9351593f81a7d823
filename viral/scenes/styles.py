"""Styles of drawing, as functions of the finished picture and what the labels know of its outlines."""

import cv2
import numpy as np
from jaxtyping import Bool, Float

from viral.scenes.textures import TILE, noise_tile

Picture = Float[np.ndarray, "y x 3"]
"""RGB in 0..1, float32."""


def outlines(depth: np.ndarray, normals: np.ndarray, instances: np.ndarray) -> Bool[np.ndarray, "y x"]:
    """Pixels where another thing begins, or where a surface bends or steps back sharply."""
    line = np.zeros(instances.shape, bool)
    near = 1 / depth
    for axis in (0, 1):
        ahead, behind = (np.s_[1:], np.s_[:-1]) if axis == 0 else (np.s_[:, 1:], np.s_[:, :-1])
        bend = (normals[ahead] * normals[behind]).sum(2) < 0.6
        step = np.abs(near[ahead] - near[behind]) > 0.06 * np.maximum(near[ahead], near[behind])
        line[behind] |= (instances[ahead] != instances[behind]) | (bend & step) | step & (near[behind] > 0.02)
    return line


def grey(picture: Picture) -> Float[np.ndarray, "y x"]:
    return (
        picture[:, :, 0] * np.float32(0.3) + picture[:, :, 1] * np.float32(0.59) + picture[:, :, 2] * np.float32(0.11)
    )


def _paper(size: int) -> Float[np.ndarray, "y x 1"]:
    """Grain of paper in 0..1."""
    pixels = np.arange(size) * 5 % TILE
    return noise_tile().reshape(TILE, TILE)[pixels][:, pixels][:, :, None]


def pencil_sketch(picture: Picture, line: np.ndarray) -> Picture:
    """Grey strokes: outlines, and hatching that thickens with the dark."""
    tone = grey(cv2.GaussianBlur(picture, (0, 0), len(picture) / 160))
    y, x = np.indices(tone.shape, np.float32)
    unit = np.float32(128 / len(picture) / 4)
    ink = np.zeros_like(tone)
    for slope, limit in ((1, 0.55), (-1, 0.32)):
        phase = (x + slope * y) * unit
        stroke = np.abs(phase - np.floor(phase) - np.float32(0.5)) < np.float32(0.22)
        ink = np.maximum(ink, stroke * np.clip((limit - tone) * 3, 0, np.float32(0.55)))
    ink = np.maximum(ink, cv2.GaussianBlur(line.astype(np.float32), (0, 0), 0.6) * np.float32(0.85))
    page = (np.float32(0.93) + np.float32(0.07) * _paper(len(picture))) * (1 - ink[:, :, None])
    return np.repeat(page, 3, 2)


def cartoon(picture: Picture, line: np.ndarray) -> Picture:
    """Flat tones in few steps, more colour, black outlines."""
    tone = np.maximum(grey(picture), np.float32(0.02))[:, :, None]
    level = (np.floor(tone * 4) + np.float32(0.6)) / 4
    flat = tone + (picture - tone) * np.float32(1.35)
    return np.clip(flat * (level / tone), 0, 1) * (1 - line[:, :, None].astype(np.float32))


def pixel_art(picture: Picture, line: np.ndarray) -> Picture:
    """Blocks of one colour, of six levels a channel."""
    size = len(picture)
    small = cv2.resize(picture, (max(size // 4, 1),) * 2, interpolation=cv2.INTER_AREA)
    return cv2.resize(np.rint(small * 5) / 5, (size, size), interpolation=cv2.INTER_NEAREST)


def watercolour(picture: Picture, line: np.ndarray) -> Picture:
    """Washes that run together, pale, on grainy paper, darker where a wash ends."""
    wash = np.rint(picture * 255).astype(np.uint8)
    width = max(3, len(picture) // 24 | 1)
    for _ in range(2):
        wash = cv2.medianBlur(wash, width)
    wash = wash.astype(np.float32) / 255
    rim = np.abs(wash - cv2.GaussianBlur(wash, (0, 0), len(picture) / 64)).sum(2, keepdims=True)
    pale = np.float32(0.28) + np.float32(0.72) * wash
    return (
        pale
        * (1 - np.float32(0.35) * np.clip(rim * 2, 0, 1))
        * (np.float32(0.86) + np.float32(0.18) * _paper(len(picture)))
    )


def mosaic(picture: Picture, line: np.ndarray) -> Picture:
    """Irregular stones of one colour each, with grout between."""
    size = len(picture)
    step = size / 22
    y, x = np.indices((size, size), np.float32) + np.float32(0.5)
    row, column = np.floor(y / step).astype(int), np.floor(x / step).astype(int)
    jitter = noise_tile()[(np.arange(32 * 32 * 2) * 97) % TILE**2].reshape(2, 32, 32)
    best = [np.full((size, size), np.inf, np.float32)] * 2
    stone = np.zeros((size, size), int)
    for i in (-1, 0, 1):
        for j in (-1, 0, 1):
            r, c = np.clip(row + i, 0, 21), np.clip(column + j, 0, 21)
            cy, cx = (
                (jitter[k, r, c] * np.float32(0.8) + v) * np.float32(step) for k, v in ((0, r + 0.1), (1, c + 0.1))
            )
            far = (y - cy) ** 2 + (x - cx) ** 2
            nearer = far < best[0]
            stone = np.where(nearer, r * 22 + c, stone)
            best = [
                np.minimum(far, best[0]),
                np.where(nearer, best[0], np.where(far > best[0], np.minimum(far, best[1]), best[1])),
            ]
    count = np.maximum(np.bincount(stone.ravel(), minlength=484), 1)
    mean = np.stack([np.bincount(stone.ravel(), picture[:, :, k].ravel(), 484) / count for k in range(3)], 1)
    grout = (np.sqrt(best[1]) - np.sqrt(best[0]) < step * 0.16)[:, :, None]
    return np.where(grout, np.float32(0.25), mean[stone]).astype(np.float32)


STYLE_FILTERS = {
    "pencil sketch": pencil_sketch,
    "cartoon": cartoon,
    "pixel art": pixel_art,
    "watercolour": watercolour,
    "mosaic": mosaic,
}
"""Styles by name; "photo" is the picture as it is."""
