"""Annotators that are spoken to: what they say is checked, mended or refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

from viral.data.annotators.entities import read_entities
from viral.data.annotators.instructions import analogous_scene
from viral.data.annotators.registry import build_annotators
from viral.data.annotators.talker import Talker
from viral.data.annotators.words import ENTITIES, INSTRUCTION, SCENE
from viral.tasks import Labelled

DOG = {"category": "dog", "box": [10, 20, 110, 220]}


def _picture(**labels: object) -> Labelled:
    return Labelled(np.random.default_rng(0).integers(0, 256, (280, 560, 3)).astype(np.uint8), **labels)


def _boxes(answer: str) -> list[tuple[str, tuple[float, ...]]]:
    return [(item.category, item.box) for item in read_entities(answer, 300, 280).instances]


@pytest.mark.parametrize(
    "answer",
    [
        json.dumps([DOG]),
        f"Here they are:\n```json\n{json.dumps([DOG], indent=1)}\n```\nI hope this helps.",
        json.dumps({"objects": [DOG]}),
        json.dumps([{"label": "Dog ", "bbox_2d": [10, 20, 110, 220]}]),
        json.dumps([{"category": "dog", "box": [110, 220, 10, 20]}]),  # corners exchanged
        json.dumps([DOG, DOG]),
        json.dumps([DOG])[:-1] + ', {"category": "ca',  # cut off
    ],
)
def test_objects_are_found_whatever_stands_around_them(answer: str) -> None:
    assert _boxes(answer) == [("dog", (10.0, 20.0, 110.0, 220.0))]


def test_boxes_are_cut_at_the_picture_and_those_outside_go() -> None:
    said = [{"category": "sky", "box": [-50, -9, 900, 40.5]}, {"category": "sun", "box": [400, 0, 500, 50]}]
    answer = read_entities(json.dumps(said), 300, 280)
    assert [item.box for item in answer.instances] == [(0.0, 0.0, 300.0, 40.5)]
    assert answer.rejected == ("the box of sun has no area inside the picture",)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ([{"category": "", "box": [0, 0, 9, 9]}], "no category"),
        ([{"category": "x" * 60, "box": [0, 0, 9, 9]}], "no category"),
        ([{"category": "dog"}], "no box of four numbers"),
        ([{"category": "dog", "box": [0, 0, 9]}], "no box of four numbers"),
        ([{"category": "dog", "box": [0, 0, 9, "9"]}], "no box of four numbers"),
        ([{"category": "dog", "box": [0, 0, 9, True]}], "no box of four numbers"),
        ([], "no JSON object"),
    ],
)
def test_an_answer_without_a_usable_object_is_refused(said: list, reason: str) -> None:
    with pytest.raises(ValueError, match=f"named no usable object: .*{reason}"):
        read_entities(json.dumps(said), 300, 280)
    with pytest.raises(ValueError, match="no JSON object in 'I cannot help"):
        read_entities("I cannot help with that.", 300, 280)


def _talker(chat_server: Any) -> dict[str, Any]:
    return {"url": chat_server.url, "name": "some-vlm"}


def test_entities_come_from_an_endpoint_in_the_pictures_own_pixels(chat_server: Any) -> None:
    annotator = build_annotators({"it": {"kind": "vlm_entities", "talker": _talker(chat_server)}})["it"]
    seen = []

    def reply(words: str, images: list) -> str:
        seen.append((words, images[0].size))
        return json.dumps([{"category": "dog", "box": [0, 0, 252, 126]}])

    chat_server.reply = reply
    picture = annotator.labeller("cpu")(_picture())
    (words, size) = seen[0]
    assert size == (504, 252) and "504 pixels wide and 252 high" in words
    assert picture.instances is not None and picture.instances[0].box == (0.0, 0.0, 280.0, 140.0)
    record = annotator.record()
    assert (record["model"], record["prompt"]) == ("some-vlm", ENTITIES.id) and len(record["prompt_sha256"]) == 16


def test_an_instruction_is_derived_from_the_pair_alone(chat_server: Any) -> None:
    annotator = build_annotators({"it": {"kind": "vlm_instruction", "talker": _talker(chat_server)}})["it"]
    label = annotator.labeller("cpu")
    chat_server.reply = lambda words, images: f'"Make it\n darker, {len(images)} images."'
    target = np.zeros((280, 560, 3), np.uint8)
    assert label(_picture(target=target)).instruction == "Make it darker, 2 images."
    assert label(_picture(target=target, instruction="mine")).instruction == "mine"
    with pytest.raises(ValueError, match="has no target"):
        label(_picture())
    chat_server.reply = lambda words, images: "word " * 90
    with pytest.raises(ValueError, match="answered in 90 words, expected 1 to 40"):
        label(_picture(target=target))


def test_a_new_scene_is_written_for_an_instruction_and_refusals_are_none(chat_server: Any) -> None:
    model = Talker(**_talker(chat_server)).load("cpu")
    asked = []
    scene = "A small wooden boat lies on a calm lake below snowy mountains in the morning light."

    def reply(words: str, images: list) -> str:
        asked.append(words)
        return scene

    chat_server.reply = reply
    assert analogous_scene(model, "a red car in a street", "make it night") == scene
    assert "a red car in a street" in asked[0] and "make it night" in asked[0]
    chat_server.reply = lambda words, images: "I am sorry."
    with pytest.raises(ValueError, match="answered in 3 words"):
        analogous_scene(model, "a red car", "make it night")


def test_a_vision_language_model_is_loaded_from_its_folder_and_asked(tiny_base: Path, tmp_path: Path) -> None:
    Qwen2_5_VLForConditionalGeneration.from_pretrained(tiny_base / "text_encoder").save_pretrained(tmp_path)
    AutoProcessor.from_pretrained(tiny_base / "processor").save_pretrained(tmp_path)
    talker = {"model": str(tmp_path)}
    annotator = build_annotators({"it": {"kind": "vlm_entities", "talker": talker, "max_side": 56}})["it"]
    assert len(annotator.record()["sha256"]) == 64
    with pytest.raises(ValueError, match="named no usable object"):  # random weights say nothing of use
        annotator.labeller("cpu")(_picture())


def test_a_talker_is_either_here_or_behind_an_address() -> None:
    for wrong in ({}, {"model": "a/b", "url": "http://x", "name": "y"}, {"url": "http://x"}):
        with pytest.raises(ValueError, match="give either model, or url and name"):
            Talker(**wrong)


def test_every_wording_has_an_id_of_its_own_and_takes_its_pictures() -> None:
    assert len({wording.record["prompt_sha256"] for wording in (ENTITIES, INSTRUCTION, SCENE)}) == 3
    assert SCENE.fill(caption="C", instruction="I")[-1] == "I" or "I" in SCENE.fill(caption="C", instruction="I")
