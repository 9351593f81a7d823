"""MagicBrush: photographs edited turn by turn, with the instruction, the mask and the true result of every turn.

    edit_turns.json           [{"input": "7-input.png", "mask": "7-mask1.png", "output": "7-output1.png",
                                "instruction": "..."}, ...]
    global_descriptions.json  {"7": {"7-input.png": "...", "7-output1.png": "..."}, ...}
    images/7/7-input.png, 7-mask1.png, 7-output1.png, ...

Each turn is a case of its own that starts from the true input (the single-turn setting; ICEdit does not say which).
"""

import io
import json
from collections.abc import Iterator

import numpy as np
from PIL import Image as Pillow

from viral.data.sources.source import read_picture
from viral.evaluation.layouts.drawing import editable_scene, encode, some_edit, without
from viral.evaluation.layouts.place import choose
from viral.evaluation.peers.pictures import pillow, sized_as
from viral.evaluation.protocols.case import Case, Mask
from viral.scenes import changed_region, render
from viral.storage import Storage

TURNS, DESCRIPTIONS, IMAGES = "edit_turns.json", "global_descriptions.json", "images"
TASK = "magicbrush"
NUMBER = 1
KINDS = ("recolour", "retexture", "remove", "add", "replace", "pose", "ground", "backdrop", "resize", "duplicate")
MOST_TURNS = 3


def read_magicbrush(place: Storage, count: int, seed: int) -> Iterator[Case]:
    """At most `count` turns as cases, always the same, painted from one noise as ICEdit does.

    Turns of a session share their `source_id`.
    """
    turns = {turn["output"]: turn for turn in json.loads(place.read(TURNS))}
    told = json.loads(place.read(DESCRIPTIONS))
    for output in choose(turns, count, seed):
        turn, session = turns[output], output.split("-")[0]
        folder, captions = place.join(IMAGES, session), told.get(session, {})
        query = read_picture(folder, turn["input"])
        yield Case(
            case_id=output.removesuffix(".png"),
            task=TASK,
            source_id=f"magicbrush/{session}",
            examples=(),
            query=query,
            truth=sized_as(pillow(read_picture(folder, output)), query),
            seed=seed,
            mask=_mask(folder.read(turn["mask"]), query.shape),
            instruction=turn["instruction"],
            caption=captions.get(output),
            labels={"source_caption": captions.get(turn["input"])},
        )


def _mask(data: bytes, shape: tuple[int, ...]) -> Mask:
    """White where the mask's file is transparent: there the annotators let the picture be painted anew."""
    alpha = (
        Pillow.open(io.BytesIO(data)).convert("RGBA").getchannel("A").resize(shape[1::-1], Pillow.Resampling.NEAREST)
    )
    return np.where(np.asarray(alpha) < 128, 255, 0).astype(np.uint8)


def write_magicbrush(place: Storage, count: int, size: int, seed: int) -> None:
    """`count` sessions of one to three edits of a scene."""
    turns, told = [], {}
    for number in range(count):
        session, captions = _write_session(place, number, size, seed)
        turns += session
        told[str(number)] = captions
    place.write(DESCRIPTIONS, json.dumps(told, indent=1).encode())
    place.write(TURNS, json.dumps(turns, indent=1).encode())


def _write_session(place: Storage, number: int, size: int, seed: int) -> tuple[list[dict[str, str]], dict[str, str]]:
    scene, edit, rng = editable_scene(NUMBER, seed, number, KINDS)
    folder, shown, name = place.join(IMAGES, str(number)), render(scene, size), f"{number}-input.png"
    folder.write(name, encode(shown.image))
    turns, captions = [], {name: shown.caption}
    for turn in range(1, int(rng.integers(1, MOST_TURNS + 1)) + 1):
        done, mask, output = render(edit.scene_after, size), f"{number}-mask{turn}.png", f"{number}-output{turn}.png"
        folder.write(mask, encode(without(shown.image, changed_region(shown, done))))
        folder.write(output, encode(done.image))
        turns.append({"input": name, "mask": mask, "output": output, "instruction": edit.instruction})
        captions[output] = done.caption
        edit, shown, name = some_edit(edit.scene_after, KINDS, rng), done, output
    return turns, captions
