"""From a scene to its picture and labels. Rays through pixel centres give the labels; edges get three more each."""

import numpy as np
from jaxtyping import Float, Int

from viral.scenes.captions import caption
from viral.scenes.casting import Rays
from viral.scenes.finish import finish
from viral.scenes.labels import Labelled, entities
from viral.scenes.scene import Scene
from viral.scenes.stage import SKY
from viral.scenes.world import World, build, colours, trace

CONTRAST = 0.1
"""Difference between neighbours, 0..1 on the screen, from which a pixel is an edge. Nothing else decides it, so that
an edit here never smooths a pixel there."""
OFFSETS = np.array([(-0.35, -0.2), (0.35, -0.15), (0.0, 0.38)], np.float32)
"""Of an edge's further rays from the middle of its pixel, in pixels."""


def render(scene: Scene, size: int = 128) -> Labelled:
    """The square picture of `scene` at `size` pixels with all its labels; equal calls return equal bytes."""
    world = build(scene, size)
    centre = np.arange(size, dtype=np.float32) + np.float32(0.5)
    x, y = (axis.ravel() for axis in np.meshgrid(centre, centre))
    seen = trace(world, Rays(x, y, np.arange(size * size + 1), size))
    picture = _screen(colours(world, seen)).reshape(size, size, 3)
    picture = _smooth(world, picture)

    depth = np.where(seen.owner == SKY, np.float32(np.inf), seen.depth).reshape(size, size)
    instances = seen.owner.reshape(size, size)
    axes = world.view.axes.astype(np.float32)
    axes[0] *= np.float32(world.view.mirror)
    n = seen.normal
    normals = np.stack([axis[0] * n[0] + axis[1] * n[1] + axis[2] * n[2] for axis in axes], 1).reshape(size, size, 3)
    image = finish(scene, picture, depth, normals, instances)
    found = entities(scene, world.view, instances, depth)
    return Labelled(image, depth, normals, instances, found, caption(scene))


def _screen(light: Float[np.ndarray, "3 n"]) -> Float[np.ndarray, "n 3"]:
    return np.sqrt(np.clip(light, 0, 1)).T


def _edges(picture: Float[np.ndarray, "y x 3"]) -> Int[np.ndarray, " n"]:
    """Pixels, counted along rows, whose light differs from that of a neighbour."""
    grey = picture[:, :, 0] * np.float32(0.3) + picture[:, :, 1] * np.float32(0.5) + picture[:, :, 2] * np.float32(0.2)
    across, down = np.abs(grey[:, 1:] - grey[:, :-1]), np.abs(grey[1:] - grey[:-1])
    step = np.zeros_like(grey)
    for pixels, change in ((step[:, 1:], across), (step[:, :-1], across), (step[1:], down), (step[:-1], down)):
        np.maximum(pixels, change, out=pixels)
    return np.flatnonzero(step > CONTRAST)


def _smooth(world: World, picture: Float[np.ndarray, "y x 3"]) -> Float[np.ndarray, "y x 3"]:
    """The picture with its edge pixels replaced by the mean of four rays, the one through the middle among them."""
    size = len(picture)
    pixel = _edges(picture)
    if not len(pixel):
        return picture
    x = ((pixel % size).astype(np.float32)[:, None] + np.float32(0.5) + OFFSETS[:, 0]).ravel()
    y = ((pixel // size).astype(np.float32)[:, None] + np.float32(0.5) + OFFSETS[:, 1]).ravel()
    counts = np.zeros(size * size + 1, int)
    counts[pixel + 1] = len(OFFSETS)
    seen = trace(world, Rays(x, y, np.cumsum(counts), size))
    light = _screen(colours(world, seen)).reshape(len(pixel), len(OFFSETS), 3)
    smooth = picture.reshape(-1, 3).copy()
    smooth[pixel] = (smooth[pixel] + light[:, 0] + light[:, 1] + light[:, 2]) * np.float32(0.25)
    return smooth.reshape(size, size, 3)


def changed_region(before: Labelled, after: Labelled) -> np.ndarray:
    """(y, x) bool: where the two pictures differ in any channel, at all."""
    if before.image.shape != after.image.shape:
        raise ValueError(f"renders of one size are compared, got {before.image.shape} and {after.image.shape}")
    return np.any(before.image != after.image, axis=2)
