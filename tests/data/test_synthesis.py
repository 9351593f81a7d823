"""Quadruplets synthesised whole in the scene world, by a language model's server, and by small diffusion models."""

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from diffusers import QwenImageEditPlusPipeline, QwenImagePipeline
from PIL import Image

from tests.conftest import ChatServer
from viral.config import RunConfig, resolve
from viral.data.annotators.words import SCENE
from viral.data.quadruplets import open_quadruplets, quadruplets_place
from viral.data.studios import DiffusionStudio, SceneStudio
from viral.data.synthesis import (
    LEAST_SEEN,
    Reference,
    SynthesisMaker,
    agreement,
    find_synthesis,
    seen_change,
    synthesize_quadruplets,
)
from viral.data.writers import RuleWriter
from viral.scenes import read_caption, read_instruction

EDITS = "dataset.sources={edits: {kind: scenes, edits: [recolour, weather, remove], first: 500}}"


def configured(folder: Path, *more: str) -> RunConfig:
    given = [
        f"storage={folder}",
        EDITS,
        "data.size=64",
        "data.rows_per_shard=3",
        "data.actors=1",
        "synthesis.quadruplets=6",
    ]
    return resolve(None, [*given, *more])


def references(config: RunConfig, count: int = 2) -> list[Reference]:
    source = find_synthesis(config).source
    return [Reference(item, "train", source.licence) for item in source.items(count, 0, frozenset())]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> RunConfig:
    """Six pairs of scenes, imitated by one actor."""
    config = configured(tmp_path_factory.mktemp("synthesis"))
    synthesize_quadruplets(config)
    return config


def test_b_is_another_scene_under_the_same_instruction_and_truly_the_same_edit(made: RunConfig) -> None:
    rows = list(open_quadruplets(quadruplets_place(made, "synthesised")).rows())
    good = [row for row in rows if row["error"] is None]
    assert len(rows) == 6 and len(good) >= 4
    for row in good:
        scores, about = json.loads(row["scores"]), json.loads(row["provenance"])
        kind, params = read_instruction(row["a_instruction"])
        assert about["pair"]["edit"] == kind and about["pair"]["edit_params"] == params
        assert row["a_instruction"] == row["b_instruction"] and row["a"] != row["b"]
        assert scores["agrees"] is (min(scores["seen"]) >= LEAST_SEEN)
        assert read_caption(about["caption"], about["seed"]).things
    assert agreement([json.loads(row["scores"]) for row in good]) >= 0.75


def test_every_record_names_the_wording_and_its_hash(made: RunConfig) -> None:
    row = next(row for row in open_quadruplets(quadruplets_place(made, "synthesised")).rows() if row["error"] is None)
    about = json.loads(row["provenance"])
    assert about["writer"] == {"model": "rules", **SCENE.record} and len(SCENE.record["prompt_sha256"]) == 16
    assert about["studio"] == "scenes" and about["embedder"]["sha256"]


def test_three_actors_and_an_interruption_make_the_same_bytes(made: RunConfig, tmp_path: Path) -> None:
    place = quadruplets_place(made, "synthesised")
    before = {name: place.read(name) for name in place.list()}
    shutil.copytree(made.storage, tmp_path / "again")
    data = made.data.model_copy(update={"actors": 3})
    again = made.model_copy(update={"storage": str(tmp_path / "again"), "data": data})
    copy = quadruplets_place(again, "synthesised")
    copy.write("shard-00001.parquet", b"cut")
    synthesize_quadruplets(again)
    assert {name: copy.read(name) for name in copy.list()} == before


def test_a_language_model_behind_an_endpoint_writes_and_what_it_gets_wrong_is_told(
    tmp_path: Path, chat_server: ChatServer
) -> None:
    talker = f"synthesis.writer={{kind: talker, talker: {{url: {chat_server.url}, name: writer}}}}"
    config = configured(tmp_path, talker)
    rules = RuleWriter()
    answers = iter(["Sorry, I cannot.", None])

    def reply(words: str, images: list[Image.Image]) -> str:
        return next(answers) or rules.answer([words])

    chat_server.reply = reply
    maker = SynthesisMaker(find_synthesis(config), 64, "cpu")
    first, second = (maker._row(reference) for reference in references(config))
    assert first["error"].startswith("the model answered in 3 words") and first["b"] is None
    assert second["error"] is None and json.loads(second["provenance"])["writer"]["endpoint"] == chat_server.url
    asked = "".join(part["text"] for part in chat_server.requests[-1][1]["messages"][0]["content"])
    assert asked.startswith("You write prompts") and "Instruction: " in asked


def test_pictures_without_a_caption_are_shown_to_the_writer(tmp_path: Path, chat_server: ChatServer) -> None:
    config = configured(
        tmp_path, f"synthesis.writer={{kind: talker, talker: {{url: {chat_server.url}, name: writer}}}}"
    )
    maker = SynthesisMaker(find_synthesis(config), 64, "cpu")
    read = maker._read
    seen: list[int] = []

    def reply(words: str, images: list[Image.Image]) -> str:
        seen.append(len(images))
        return "a photo of a red car and a blue ball on grass by the sea at noon"

    chat_server.reply = reply
    maker._read = lambda item, size: replace(read(item, size), caption=None)
    maker._row(references(config)[0])
    assert seen == [1]


def test_diffusion_models_paint_and_edit_as_told(tiny_base: Path, tmp_path: Path) -> None:
    editor = QwenImageEditPlusPipeline.from_pretrained(tiny_base)
    parts = ("scheduler", "vae", "text_encoder", "tokenizer", "transformer")
    QwenImagePipeline(**{name: getattr(editor, name) for name in parts}).save_pretrained(tmp_path)
    studio = DiffusionStudio(kind="diffusion", painter=str(tmp_path), editor=str(tiny_base), steps=2, guidance=2.0)
    loaded = studio.load("cpu")
    painted = loaded.paint("a red circle on grass", 3, 32)
    edited = loaded.edit(painted, "make it darker", 3)
    assert painted.image.shape == edited.image.shape == (32, 32, 3) and edited.done is None
    assert np.array_equal(edited.image, loaded.edit(painted, "make it darker", 3).image)
    assert studio.record()["editor"] == str(tiny_base)


def test_the_scene_world_refuses_words_that_it_does_not_know() -> None:
    loaded = SceneStudio(kind="scenes").load("cpu")
    with pytest.raises(ValueError, match="names none of"):
        loaded.paint("an unspeakable horror", 0, 32)
    painted = loaded.paint("a photo of a red car on grass by the sea at noon", 0, 32)
    with pytest.raises(ValueError, match="instructions look like"):
        loaded.edit(painted, "make it nicer", 0)


def test_a_change_is_seen_from_a_few_levels_on() -> None:
    before = np.full((10, 10, 3), 100, np.uint8)
    after = before.copy()
    after[:2, :5, 0] += 40
    assert seen_change(before, after) == 0.1 and seen_change(before, before + 3) == 0.0


def test_a_source_without_instructions_is_refused_before_anything_starts(tmp_path: Path) -> None:
    config = configured(tmp_path, "dataset.sources={edits: {kind: scenes}}")
    with pytest.raises(ValueError, match="gives no pairs with instructions"):
        find_synthesis(config)


def test_pictures_in_the_table_are_png(made: RunConfig) -> None:
    row = next(row for row in open_quadruplets(quadruplets_place(made, "synthesised")).rows() if row["error"] is None)
    assert {Image.open(io.BytesIO(row[name]["bytes"])).format for name in ("a", "a_prime", "b", "b_prime")} == {"PNG"}
