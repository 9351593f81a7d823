"""What a render knows besides its pixels."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int32, UInt8

from viral.scenes.camera import View
from viral.scenes.person import REACH, keypoints, skeleton
from viral.scenes.scene import Scene, Thing
from viral.scenes.stage import GROUND, SCENERY, SKY, WALL
from viral.scenes.things import frame, proportions


@dataclass(frozen=True)
class Entity:
    """Something that is seen: a thing, or a piece of the stage."""

    id: int
    category: str
    is_thing: bool
    box: tuple[int, int, int, int]
    """x0, y0, x1, y1 in pixels around what is seen of it; ends excluded."""
    area: int
    """Pixels."""
    keypoints: Float[np.ndarray, "17 3"] | None = None
    """x, y in pixels and COCO's v: 0 beside the picture, 1 hidden, 2 seen; None for all but people."""


@dataclass(frozen=True)
class Labelled:
    """A picture and its exact labels; the rays of the labels pass through the centres of the pixels."""

    image: UInt8[np.ndarray, "y x 3"]
    depth: Float[np.ndarray, "y x"]
    """Metres along the viewing axis; inf in the sky."""
    normals: Float[np.ndarray, "y x 3"]
    """Unit vectors in the camera's frame: +x right, +y up, +z towards the viewer; 0 in the sky."""
    instances: Int32[np.ndarray, "y x"]
    """Ids; every pixel belongs to one."""
    entities: tuple[Entity, ...]
    """Those of which a pixel is seen, by id."""
    caption: str

    def mask(self, id: int) -> Bool[np.ndarray, "y x"]:
        return self.instances == id

    @property
    def things(self) -> tuple[Entity, ...]:
        return tuple(entity for entity in self.entities if entity.is_thing)


def stage_names(scene: Scene) -> dict[int, str]:
    """Categories of the ids below those of things."""
    return {SKY: "sky", GROUND: scene.ground, WALL: "wall", SCENERY: scene.backdrop}


def entities(scene: Scene, view: View, instances: np.ndarray, depth: np.ndarray) -> tuple[Entity, ...]:
    """What is seen, each with its box and area."""
    things = {thing.id: thing for thing in scene.things}
    names = stage_names(scene)
    areas = np.bincount(instances.ravel())
    found = []
    for id in map(int, np.flatnonzero(areas)):
        mask = instances == id
        columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
        box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
        thing = things.get(id)
        joints = _keypoints(thing, view, instances, depth) if thing and thing.category == "person" else None
        found.append(Entity(id, thing.category if thing else names[id], thing is not None, box, int(areas[id]), joints))
    return tuple(found)


def _keypoints(thing: Thing, view: View, instances: np.ndarray, depth: np.ndarray) -> np.ndarray:
    a, b, _ = proportions(thing.variant)
    place = frame(thing)
    size = len(instances)
    joints = keypoints(skeleton(thing.pose, a, b)) @ place[:, :3].T + place[:, 3]
    x, y, far = view.project(joints, size).T
    inside = (far > 0) & (x >= 0) & (x < size) & (y >= 0) & (y < size)
    column, row = (np.clip(axis, 0, size - 1).astype(int) for axis in (x, y))
    reach = np.array(REACH) * thing.scale
    bare = (instances[row, column] == thing.id) & (depth[row, column] > far - reach)
    return np.stack([x, y, np.where(inside, np.where(bare, 2, 1), 0)], 1).astype(np.float32)
