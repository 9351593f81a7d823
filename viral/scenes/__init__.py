"""The scene world: three-dimensional scenes whose image, labels, captions and edits are exact, because we made them.

    scene = sample_scene(seed, with_categories=("dog",))   # Scene: a small frozen description; same seed, same scene
    seen = render(scene, size=128)                         # Labelled: the same scene and size give the same bytes
    seen.image          uint8   (y, x, 3)   RGB
    seen.depth          float32 (y, x)      distance along the viewing axis; inf in the sky
    seen.normals        float32 (y, x, 3)   unit vectors, R = +x right, G = +y up, B = towards the viewer; 0 in the sky
    seen.instances      int32   (y, x)      ids; they name the same thing before and after an edit
    seen.entities       tuple[Entity, ...]  those that are seen: id, category, is_thing, box (x0, y0, x1, y1; the ends
                                            excluded), area, keypoints; `is_thing` is False for sky, ground and walls
    entity.keypoints    float32 (17, 3) x, y, v of people (None for others): COCO's order and its v (0 beside the
                                            picture, 1 hidden, 2 seen)
    seen.caption        str                 "a photo of a red car and two trees on grass at sunset"
    seen.mask(id)       bool (y, x)

    CATEGORIES, COLOURS, STYLES, ...        the vocabulary
    caption(scene) -> str;  read_caption(text, seed) -> Scene    the scene world as a text-to-image model
    EDITS: dict[str, Edit]                  the kinds of edit, more than twenty
    sample_edit(scene, kind, rng) -> AppliedEdit(kind, params, instruction, scene_after)   ValueError (NotApplicable)
    apply(scene, kind, params) -> Scene     the same edit on another scene; NotApplicable (a ValueError) says why not
    able_edits(scene, kind) -> [params]     all that mean something in that scene
    instruction(kind, params) -> str        one sentence for each kind and params
    read_instruction(text) -> (kind, params)
    sample_scene_for(kind, params, seed) -> Scene     a scene to which that edit applies
    changed_region(before, after) -> bool (y, x)      where two renders of the same size differ

`params` is a flat JSON-able dict of strings. Pixels of weather, styles and finishes are part of the scene's
description; depth, normals, ids and boxes are of the solid things behind them.
"""

from viral.scenes.captions import caption, read_caption
from viral.scenes.edits import (
    EDITS,
    AppliedEdit,
    Edit,
    able_edits,
    apply,
    instruction,
    read_instruction,
    sample_edit,
    sample_scene_for,
)
from viral.scenes.labels import Entity, Labelled
from viral.scenes.layout import sample_scene
from viral.scenes.palette import COLOURS
from viral.scenes.person import JOINTS
from viral.scenes.renderer import changed_region, render
from viral.scenes.scene import BACKDROPS, GROUNDS, POSES, STYLES, TEXTURES, TIMES, WEATHERS, Camera, Scene, Thing
from viral.scenes.thing_edits import NotApplicable
from viral.scenes.things import CATEGORIES

__all__ = [
    "BACKDROPS", "CATEGORIES", "COLOURS", "EDITS", "GROUNDS", "JOINTS", "POSES", "STYLES", "TEXTURES", "TIMES",
    "WEATHERS", "AppliedEdit", "Camera", "Edit", "Entity", "Labelled", "NotApplicable", "Scene", "Thing", "able_edits",
    "apply", "caption", "changed_region", "instruction", "read_caption", "read_instruction", "render", "sample_edit",
    "sample_scene", "sample_scene_for",
]  # fmt: skip
