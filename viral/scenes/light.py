"""What the time of day and the weather do to light: the sun, the sky's own light, the colours of the sky."""

import math
from dataclasses import dataclass, replace

import numpy as np

from viral.scenes.scene import Scene

Rgb = tuple[float, float, float]


@dataclass(frozen=True)
class Light:
    """Linear light; `above` and `below` are what the sky and the ground send into the shadows."""

    sun: Rgb
    above: Rgb
    below: Rgb
    zenith: Rgb
    horizon: Rgb
    elevation: float
    """Of the sun (or moon), in radians."""
    clouds: float
    """Share of the sky that clouds cover."""
    lamps: float
    """How brightly lamps and windows shine."""
    haze: float
    """Distance in metres at which half of the light is the air's."""


LIGHTS = {
    "noon": Light(
        (0.98, 0.93, 0.82), (0.34, 0.40, 0.50), (0.20, 0.18, 0.15),
        (0.07, 0.24, 0.62), (0.50, 0.68, 0.86), 0.95, 0.45, 0.15, 90.0,
    ),
    "morning": Light(
        (0.95, 0.80, 0.55), (0.30, 0.34, 0.42), (0.19, 0.17, 0.14),
        (0.20, 0.36, 0.62), (0.86, 0.76, 0.58), 0.45, 0.35, 0.25, 55.0,
    ),
    "sunset": Light(
        (1.10, 0.48, 0.16), (0.26, 0.19, 0.26), (0.17, 0.10, 0.08),
        (0.12, 0.12, 0.34), (0.95, 0.38, 0.12), 0.30, 0.55, 0.6, 60.0,
    ),
    "night": Light(
        (0.22, 0.28, 0.46), (0.065, 0.090, 0.170), (0.026, 0.030, 0.046),
        (0.004, 0.006, 0.022), (0.016, 0.024, 0.060), 0.7, 0.3, 1.6, 70.0,
    ),
    "overcast": Light(
        (0.12, 0.12, 0.12), (0.52, 0.55, 0.58), (0.24, 0.24, 0.24),
        (0.42, 0.46, 0.50), (0.62, 0.65, 0.67), 1.1, 1.0, 0.3, 45.0,
    ),
}  # fmt: skip
FOG = 7.0


def light_of(scene: Scene) -> Light:
    """The light of a scene; weather dims the sun, fog shortens the view."""
    light = LIGHTS[scene.time]
    if scene.weather in ("rain", "snow", "fog"):
        light = replace(light, sun=_scaled(light.sun, 0.35), clouds=1.0, haze=min(light.haze, 35.0))
    if scene.weather == "fog":
        light = replace(light, haze=FOG, zenith=light.horizon)
    return light


def _scaled(rgb: Rgb, by: float) -> Rgb:
    return rgb[0] * by, rgb[1] * by, rgb[2] * by


def sun_direction(scene: Scene, light: Light) -> np.ndarray:
    """Unit vector towards the sun."""
    azimuth = scene.sun
    flat = math.cos(light.elevation)
    vector = (math.sin(azimuth) * flat, math.sin(light.elevation), math.cos(azimuth) * flat)
    return np.array(vector)
