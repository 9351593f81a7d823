"""The kinds of edit: words, what they stand for, and how to draw, write, read and apply them.

An edit names things by category, so that one edit means the same in two scenes; it is done to all of that category.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from viral.scenes import scene_edits as on_scene
from viral.scenes import thing_edits as on_thing
from viral.scenes.finish import TONES
from viral.scenes.layout import sample_scene
from viral.scenes.palette import COLOURS
from viral.scenes.scene import GROUNDS, POSES, STYLES, TEXTURES, TIMES, WEATHERS, Scene
from viral.scenes.thing_edits import NotApplicable
from viral.scenes.things import CATEGORIES

Params = dict[str, str]
"""Values by name, all words: flat and fit for JSON."""

CHOICES: dict[str, tuple[str, ...]] = {
    "category": tuple(CATEGORIES), "other": tuple(CATEGORIES), "colour": tuple(COLOURS), "texture": TEXTURES,
}  # fmt: skip
"""Values of the parameters that several kinds share."""


@dataclass(frozen=True)
class Edit:
    """One kind of edit."""

    template: str
    """The instruction, with parameters in braces."""
    change: Callable[..., Scene]
    """The scene afterwards, from the scene and the parameters; raises NotApplicable."""
    choices: dict[str, tuple[str, ...]]
    """Values of each parameter."""
    present: tuple[str, ...] = ("category",)
    """Parameters that name categories which must be in the scene."""
    indoors: bool | None = None
    """Whether it needs a scene indoors (or outdoors)."""


def _edit(template: str, change: Callable[..., Scene], indoors: bool | None = None, **own: Any) -> Edit:
    names = re.findall(r"{(\w+)}", template)
    choices = {name: tuple(own[name]) if name in own else CHOICES[name] for name in names}
    present = ("category", "other") if change is on_thing.swap else ("category",)
    kept = () if change is on_thing.add else tuple(name for name in present if name in names)
    return Edit(template, change, choices, kept, indoors)


EDITS: dict[str, Edit] = {
    "recolour": _edit("Paint the {category} {colour}.", on_thing.recolour),
    "retexture": _edit("Give the {category} a {texture} surface.", on_thing.retexture),
    "recolour_all": _edit("Paint every object {colour}.", on_thing.recolour_all),
    "remove": _edit("Remove the {category}.", on_thing.remove),
    "keep_only": _edit("Remove everything but the {category}.", on_thing.keep_only),
    "add": _edit("Add a {colour} {category} {side}.", on_thing.add, side=on_thing.SIDES),
    "replace": _edit("Replace the {category} with a {other}.", on_thing.replace_by),
    "duplicate": _edit("Put a second {category} beside the first.", on_thing.duplicate),
    "swap": _edit("Let the {category} and the {other} change places.", on_thing.swap),
    "move": _edit("Move the {category} {direction}.", on_thing.move, direction=on_thing.MOVES),
    "resize": _edit("Make the {category} {size}.", on_thing.resize, size=on_thing.SIZES),
    "turn": _edit("Turn the {category} {way}.", on_thing.turn, category=on_thing.FRONTED, way=on_thing.TURNS),
    "lift": _edit("Lift the {category} {height} into the air.", on_thing.lift, height=on_thing.HEIGHTS),
    "tip": _edit("Tip the {category} over.", on_thing.tip),
    "pose": _edit("Change the person's pose to {pose}.", on_thing.pose, pose=POSES),
    "ground": _edit("Turn the ground into {ground}.", on_scene.ground, ground=GROUNDS),
    "backdrop": _edit(
        "Change the background to {backdrop}.", on_scene.backdrop, indoors=False, backdrop=on_scene.OUTDOORS
    ),
    "walls": _edit("Paint the walls {colour}.", on_scene.walls, indoors=True),
    "time": _edit("Change the light to {time} light.", on_scene.time, time=TIMES),
    "relight": _edit("Light the scene from the {side}.", on_scene.relight, side=on_scene.LIGHT_SIDES),
    "weather": _edit("Change the weather to {weather}.", on_scene.weather, indoors=False, weather=WEATHERS),
    "zoom": _edit("Zoom {way}.", on_scene.zoom, way=on_scene.ZOOMS),
    "orbit": _edit("Walk around the scene to the {side}.", on_scene.orbit, side=on_scene.ORBITS),
    "climb": _edit("Look from {height}.", on_scene.climb, height=on_scene.ELEVATIONS),
    "pan": _edit("Move the camera to the {side}.", on_scene.pan, side=on_scene.PANS),
    "roll": _edit("Tilt the camera to the {side}.", on_scene.roll, side=on_scene.ROLLS),
    "mirror": _edit("Mirror the picture.", on_scene.mirror),
    "style": _edit("Turn the picture into a {style}.", on_scene.style, style=STYLES),
    "tone": _edit("Make the picture {look}.", on_scene.treat, look=(*TONES, "blurred", "grainy")),
    "focus": _edit("Blur the background.", on_scene.focus),
    "splash": _edit("Make everything but the {category} grey.", on_scene.splash),
}
DRAWS = 60
"""Parameters drawn for a scene before a kind counts as not applicable."""


@dataclass(frozen=True)
class AppliedEdit:
    """An edit drawn for a scene, and the scene afterwards."""

    kind: str
    params: Params
    instruction: str
    scene_after: Scene


def _kind(kind: str) -> Edit:
    if kind not in EDITS:
        raise ValueError(f"kind is one of {', '.join(EDITS)}, got {kind!r}")
    return EDITS[kind]


def _checked(kind: str, params: Params) -> Edit:
    edit = _kind(kind)
    if params.keys() != edit.choices.keys():
        raise ValueError(f"{kind} takes the parameters {sorted(edit.choices)}, got {sorted(params)}")
    for name, value in params.items():
        if value not in edit.choices[name]:
            raise ValueError(f"{name} of {kind} is one of {', '.join(edit.choices[name])}, got {value!r}")
    return edit


def instruction(kind: str, params: Params) -> str:
    """The edit in words, an imperative sentence; different edits have different sentences."""
    text = _checked(kind, params).template.format(**params)
    return re.sub(r"\ba (?=[aeiou])", "an ", text)


def read_instruction(text: str) -> tuple[str, Params]:
    """Kind and parameters of a sentence that `instruction` writes; ValueError for any other."""
    for kind, edit in EDITS.items():
        pattern = re.escape(edit.template).replace(r"\ a\ ", r"\ an?\ ")
        for name, values in edit.choices.items():
            pattern = pattern.replace(rf"\{{{name}\}}", f"(?P<{name}>{'|'.join(map(re.escape, values))})")
        found = re.fullmatch(pattern, text.strip())
        if found:
            return kind, found.groupdict()
    raise ValueError(f"no kind of edit reads {text!r}; instructions look like {EDITS['recolour'].template!r}")


def apply(scene: Scene, kind: str, params: Params) -> Scene:
    """The scene after the edit; NotApplicable (a ValueError) when it means or changes nothing here."""
    after = _checked(kind, params).change(scene, **params)
    if after == scene:
        raise NotApplicable(f"{instruction(kind, params)!r} changes nothing in the scene")
    return after


def able_edits(scene: Scene, kind: str) -> list[Params]:
    """All parameters with which an edit of that kind means something in the scene."""
    values = _values(scene, _kind(kind))
    drawn = (dict(zip(values, combination, strict=True)) for combination in product(*values.values()))
    return [params for params in drawn if _is_able(scene, kind, params)]


def _is_able(scene: Scene, kind: str, params: Params) -> bool:
    try:
        apply(scene, kind, params)
    except NotApplicable:
        return False
    return True


def _values(scene: Scene, edit: Edit) -> dict[str, list[str]]:
    """Values by parameter; those that must be in the scene are of its categories."""
    return {
        name: [value for value in choices if name not in edit.present or value in scene.categories]
        for name, choices in edit.choices.items()
    }


def _drawn(scene: Scene, edit: Edit, rng: np.random.Generator) -> Params:
    values = _values(scene, edit)
    if not all(values.values()):
        raise NotApplicable(f"no thing of the scene can be edited so: {edit.template}")
    return {name: choices[int(rng.integers(len(choices)))] for name, choices in values.items()}


def sample_edit(scene: Scene, kind: str, rng: np.random.Generator) -> AppliedEdit:
    """An edit of that kind with random parameters that means something in `scene`; else NotApplicable."""
    edit = _kind(kind)
    for _ in range(DRAWS):
        params = _drawn(scene, edit, rng)
        try:
            return AppliedEdit(kind, params, instruction(kind, params), apply(scene, kind, params))
        except NotApplicable:
            continue
    raise NotApplicable(f"no edit of kind {kind} was found for the scene in {DRAWS} draws")


def sample_scene_for(kind: str, params: Params, seed: int) -> Scene:
    """A scene, drawn from `seed`, to which the edit applies."""
    edit = _checked(kind, params)
    wanted = tuple(dict.fromkeys(params[name] for name in edit.present)) or (("person",) if kind == "pose" else ())
    backdrops = {None: ("",), True: ("room", "studio"), False: on_scene.OUTDOORS}[edit.indoors]
    for attempt in range(DRAWS):
        rng = np.random.default_rng([seed, attempt, 31])
        backdrop = backdrops[int(rng.integers(len(backdrops)))]
        scene = sample_scene(int(rng.integers(1 << 31)), wanted, backdrop)
        try:
            apply(scene, kind, params)
        except NotApplicable:
            continue
        return scene
    raise NotApplicable(f"no scene in {DRAWS} suits {instruction(kind, params)!r}")
