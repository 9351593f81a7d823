"""The camera as numbers: where it stands, its axes, and pixels as rays."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from viral.scenes.scene import Camera


class View(NamedTuple):
    """A pinhole of focal length 1; picture coordinates run from -half to +half, y up."""

    position: np.ndarray
    axes: np.ndarray
    """(3, 3), rows: right, up, towards the viewer."""
    half: float
    mirror: float
    """-1 when the picture is mirrored left to right, else 1."""

    def to_camera(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        return (points - self.position) @ self.axes.T

    def project(self, points: Float[np.ndarray, "n 3"], size: int) -> Float[np.ndarray, "n 3"]:
        """Pixel x, pixel y (0 at the picture's left and upper edge) and depth of world points."""
        x, y, z = self.to_camera(points).T
        depth = np.maximum(-z, 1e-6)
        scale = size / (2 * self.half)
        return np.stack([size / 2 + self.mirror * x / depth * scale, size / 2 - y / depth * scale, -z], 1)


def view_of(camera: Camera) -> View:
    """The view of `camera`: it looks at its point from `distance` along azimuth and elevation."""
    ca, sa = math.cos(camera.azimuth), math.sin(camera.azimuth)
    ce, se = math.cos(camera.elevation), math.sin(camera.elevation)
    back = np.array([sa * ce, se, ca * ce])
    right = np.array([ca, 0.0, -sa])
    up = np.array([-sa * se, ce, -ca * se])
    cr, sr = math.cos(camera.roll), math.sin(camera.roll)
    axes = np.stack([right * cr + up * sr, up * cr - right * sr, back])
    looked = np.array([camera.x, camera.y, camera.z])
    return View(looked + camera.distance * back, axes, math.tan(camera.fov / 2), -1.0 if camera.mirrored else 1.0)
