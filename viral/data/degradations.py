"""What light, ink and weather do to a photograph: seeded models on float pictures, shared by tasks and pretraining."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

Picture = Float[np.ndarray, "y x 3"]
"""RGB in 0..1."""


Templates = tuple[UInt8[np.ndarray, "_ _ 4"], ...]
"""RGBA pictures of logos."""


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


def logo(p: Picture, rng: np.random.Generator, templates: Templates) -> Degraded:
    """One of the logos, turned and scaled, laid half transparent over the picture in its own colours."""
    height, width = p.shape[:2]
    number = int(rng.integers(len(templates)))
    rgba = templates[number].astype(np.float32) / 255
    scale = float(rng.uniform(0.3, 0.8)) * min(height, width) / max(rgba.shape[:2])
    angle, opacity = float(rng.uniform(-30, 30)), float(rng.uniform(0.35, 0.85))
    centre = rng.uniform(0.25, 0.75, 2) * (width, height)
    turn = cv2.getRotationMatrix2D((rgba.shape[1] / 2, rgba.shape[0] / 2), angle, scale)
    turn[:, 2] += centre - (rgba.shape[1] / 2, rgba.shape[0] / 2)
    # colours are weighed by their alpha, else what lies under the transparent rim bleeds in
    rgba[..., :3] *= rgba[..., 3:]
    rgba = cv2.GaussianBlur(rgba, (0, 0), max(0.01, 0.4 / scale)) if scale < 1 else rgba
    layer = cv2.warpAffine(rgba, turn, (width, height), flags=cv2.INTER_LINEAR)
    alpha = layer[..., 3:] * np.float32(opacity)
    params = {"template": number, "angle": angle, "scale": scale, "opacity": opacity}
    return Degraded(p * (1 - alpha) + layer[..., :3] * np.float32(opacity), layer[..., 3], params)


def rain(p: Picture, rng: np.random.Generator) -> Degraded:
    """Falling drops: near ones are long, broad and few, far ones melt into mist; in linear light.

    A drop's streak is what it covers while the shutter is open, so length and width go with 1 / distance; it shows
    the sky's light, weighed by the share of the exposure it stayed on a pixel.
    """
    slant, amount = float(rng.uniform(-0.45, 0.45)), float(rng.uniform(0.6, 1.6))
    light, size = p ** np.float32(2.2), min(p.shape[:2])
    sky = np.quantile(light.max(axis=2), 0.95) * np.float32(0.75) + np.float32(0.25)
    streaks = np.zeros(p.shape[:2], np.float32)
    for distance in (1.0, 1.8, 3.2):
        layer = _streaks(p.shape[:2], size * 0.22 / distance, size / 90 / distance, slant, amount * distance, rng)
        streaks = 1 - (1 - streaks) * (1 - layer)
    mist = np.float32(0.05 * amount)  # drops too far to be told apart
    alpha = 1 - (1 - mist) * (1 - streaks)
    seen = light * (1 - alpha[..., None]) + sky * alpha[..., None]
    params = {"slant": slant, "amount": amount}
    return Degraded(np.clip(seen, 0, 1).astype(np.float32) ** np.float32(1 / 2.2), streaks, params)


def _streaks(
    shape: tuple[int, ...], length: float, width: float, slant: float, amount: float, rng: np.random.Generator
) -> Float[np.ndarray, "y x"]:
    """One layer of parallel streaks as opacity 0..1."""
    height, breadth = shape[0], shape[1]
    layer, thick, fine = np.zeros((height, breadth), np.uint8), max(1, round(width)), min(1.0, width)
    for _ in range(round(12 * amount * breadth / max(breadth, height))):
        x, y = rng.uniform(-0.2, 1.2) * breadth, rng.uniform(-0.2, 1.0) * height
        reach = length * rng.uniform(0.7, 1.3)
        drop = np.zeros_like(layer)
        start, end = (x, y), (x + slant * reach, y + reach)
        points = [(round(a * 16), round(b * 16)) for a, b in (start, end)]
        cv2.line(drop, *points, round(255 * fine * rng.uniform(0.25, 0.6)), thick, cv2.LINE_AA, 4)
        layer = np.maximum(layer, drop)
    return layer.astype(np.float32) / 255
