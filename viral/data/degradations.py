"""What light, ink and weather do to a photograph: seeded models on float pictures, shared by tasks and pretraining."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float

Picture = Float[np.ndarray, "y x 3"]
"""RGB in 0..1."""


@dataclass(frozen=True)
class Degraded:
    """The picture afterwards, the share 0..1 of each pixel that is covered (where that means something), and how."""

    picture: Picture
    cover: Float[np.ndarray, "y x"] | None
    params: dict


def dark(p: Picture, rng: np.random.Generator) -> Degraded:
    """Less light, in linear light: shot noise by the photon count, then the sensor's read noise."""
    factor = np.float32(rng.uniform(0.04, 0.2))
    light = (p ** np.float32(2.2)) * factor
    photons = rng.uniform(300, 3000)
    shot = rng.normal(size=p.shape) * np.sqrt(light / photons)
    seen = np.clip(light + shot + rng.normal(size=p.shape) * 0.002, 0, 1).astype(np.float32) ** np.float32(1 / 2.2)
    return Degraded(seen, None, {"light": float(factor), "photons": float(photons)})


def watermark(p: Picture, rng: np.random.Generator) -> Degraded:
    """A half transparent line of letters laid over the picture; it may lie partly or wholly beside it."""
    height, width = p.shape[:2]
    size = min(height, width)
    letters = "".join(chr(65 + i) for i in rng.integers(0, 26, int(rng.integers(3, 7))))
    layer = np.zeros((height * 4, width * 4), np.uint8)
    origin = (int(rng.uniform(0, 1.2) * width), int(rng.uniform(1, 3.8) * height))
    font, scale = int(rng.choice([0, 2, 4])), float(rng.uniform(1.2, 3)) * size / 64
    cv2.putText(layer, letters, origin, font, scale, 255, max(1, round(int(rng.integers(3, 9)) * size / 64)))
    angle = float(rng.uniform(-35, 35))
    turn = cv2.getRotationMatrix2D((width * 2, height * 2), angle, 1)
    layer = cv2.resize(
        cv2.warpAffine(layer, turn, (width * 4, height * 4)), (width, height), interpolation=cv2.INTER_AREA
    )
    opacity = np.float32(rng.uniform(0.35, 0.75))
    alpha = layer[..., None].astype(np.float32) / 255 * opacity
    ink = np.float32(rng.choice([0.05, 1.0], p=[0.25, 0.75]))
    params = {"letters": letters, "angle": angle, "opacity": float(opacity), "ink": float(ink)}
    return Degraded(p * (1 - alpha) + ink * alpha, layer.astype(np.float32) / 255, params)


def rain(p: Picture, rng: np.random.Generator) -> Degraded:
    """Bright slanted streaks."""
    drops = (rng.random(p.shape[:2]) > rng.uniform(0.975, 0.992)).astype(np.float32)
    length, slant = int(rng.integers(5, 13)), rng.uniform(-0.5, 0.5)
    kernel = np.zeros((length, length), np.float32)
    ends = (int(length / 2 - slant * length / 2), 0), (int(length / 2 + slant * length / 2), length - 1)
    cv2.line(kernel, *ends, 1.0, 1)
    strength = np.float32(rng.uniform(0.3, 0.6))
    streaks = np.clip(cv2.filter2D(drops, -1, kernel), 0, 1)
    params = {"length": length, "slant": float(slant), "strength": float(strength)}
    return Degraded(np.clip(p + streaks[..., None] * strength, 0, 1), streaks, params)
