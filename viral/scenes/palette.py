"""Colours by name and paints of parts, in linear light."""

from typing import NamedTuple

import numpy as np

COLOURS = {
    "red": (0.80, 0.10, 0.10),
    "orange": (0.95, 0.50, 0.08),
    "yellow": (0.96, 0.86, 0.15),
    "green": (0.18, 0.62, 0.20),
    "teal": (0.10, 0.62, 0.62),
    "blue": (0.14, 0.28, 0.85),
    "purple": (0.50, 0.18, 0.70),
    "pink": (0.96, 0.52, 0.70),
    "brown": (0.42, 0.25, 0.13),
    "white": (0.93, 0.93, 0.93),
    "grey": (0.50, 0.50, 0.52),
    "black": (0.09, 0.09, 0.10),
}
"""As seen on a screen, 0..1."""


class Paint(NamedTuple):
    """Surface of a part: colour as seen on a screen, share of mirror light 0..1, own light 0..1."""

    rgb: tuple[float, float, float]
    gloss: float = 0.0
    glow: float = 0.0


PAINTS = {
    "rubber": Paint((0.10, 0.10, 0.11), 0.05),
    "steel": Paint((0.66, 0.68, 0.72), 0.7),
    "glass": Paint((0.32, 0.46, 0.56), 0.9),
    "window": Paint((0.40, 0.52, 0.62), 0.7, 0.5),
    "headlight": Paint((1.00, 0.97, 0.80), 0.6, 0.6),
    "shade": Paint((1.00, 0.93, 0.72), 0.0, 0.9),
    "bark": Paint((0.36, 0.24, 0.15)),
    "wood": Paint((0.62, 0.42, 0.24), 0.1),
    "dark wood": Paint((0.32, 0.19, 0.11), 0.1),
    "leaf": Paint((0.20, 0.48, 0.16), 0.05),
    "snow": Paint((0.95, 0.97, 1.00)),
    "coal": Paint((0.06, 0.06, 0.07)),
    "carrot": Paint((0.95, 0.45, 0.08)),
    "cream": Paint((0.95, 0.91, 0.80)),
    "paper": Paint((0.93, 0.92, 0.88)),
    "coffee": Paint((0.22, 0.12, 0.06), 0.3),
    "ink": Paint((0.05, 0.05, 0.06), 0.4),
    "stone": Paint((0.52, 0.50, 0.47)),
    "roof": Paint((0.48, 0.20, 0.15)),
    "slate": Paint((0.25, 0.28, 0.34), 0.1),
    "thatch": Paint((0.66, 0.53, 0.28)),
    "gold": Paint((0.92, 0.74, 0.25), 0.6),
    "beak": Paint((0.96, 0.60, 0.10), 0.2),
    "sailcloth": Paint((0.94, 0.92, 0.86)),
}
SKIN = ((0.96, 0.80, 0.69), (0.88, 0.67, 0.52), (0.74, 0.52, 0.37), (0.55, 0.36, 0.25), (0.36, 0.23, 0.17))
HAIR = ((0.09, 0.07, 0.06), (0.28, 0.17, 0.09), (0.52, 0.33, 0.14), (0.85, 0.70, 0.38), (0.62, 0.62, 0.62))
GLOSSY = {"car": 0.6, "truck": 0.5, "bottle": 0.8, "cup": 0.5, "ball": 0.4, "boat": 0.3, "rocket": 0.6, "lamp": 0.4}


def linear(rgb: tuple[float, ...] | np.ndarray) -> np.ndarray:
    """Light of a screen colour; the screen's curve is taken as a square, which is exact on every machine."""
    return np.square(np.asarray(rgb, np.float32))


def shade_of(colour: str, chances: tuple[float, ...]) -> tuple[float, float, float]:
    """The named colour, a little lighter or darker and off-hue by four `chances` in 0..1."""
    light, *shift = (2 * chance - 1 for chance in chances)
    rgb = [c * (1 + 0.10 * light) + 0.035 * s for c, s in zip(COLOURS[colour], shift, strict=True)]
    red, green, blue = (min(max(c, 0.02), 1.0) for c in rgb)
    return red, green, blue
