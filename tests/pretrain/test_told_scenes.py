"""What the base is taught of scenes: pictures that fit their words, nothing of what is kept apart, shared batches."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from viral.data.sources.combinations import KEPT_OUT
from viral.pretrain.couples import SIZE
from viral.pretrain.edits import MAP, SCENE
from viral.pretrain.lessons import SceneEdits
from viral.pretrain.pictures import Pictures
from viral.pretrain.told_scenes import KINDS, MAPS, ToldScenes, told_scenes
from viral.scenes import read_instruction
from viral.tasks import TASKS

COUNT = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("told")


@pytest.fixture(scope="module")
def scenes(folder: Path) -> ToldScenes:
    return told_scenes(folder, COUNT)


def test_maps_and_edits_are_told_in_the_words_of_the_tasks_and_of_the_scenes(scenes: ToldScenes) -> None:
    assert scenes.images.shape == (COUNT, 2, 2, SIZE, SIZE, 3)
    said = {family: [words for words in scenes.words if words[2] == family] for family in (MAP, SCENE)}
    assert {kind for _, kind, _ in said[MAP]} == {TASKS[name].instruction for name in MAPS}
    assert {read_instruction(words)[0] for words, _, _ in said[SCENE]} <= set(KINDS) - set(KEPT_OUT)
    assert len(said[MAP]) + len(said[SCENE]) == COUNT and len({words for words, _, _ in said[SCENE]}) > 25


def test_a_detections_words_name_what_its_boxes_are_of(scenes: ToldScenes) -> None:
    kind = TASKS["detection"].instruction
    found = [(words, images) for words, images in zip(scenes.words, scenes.images, strict=True) if words[1] == kind]
    assert found
    for words, images in found:
        assert words[0] != kind and (np.unique(images[:, 1]) == [0, 255]).all()


def test_both_sides_of_a_pair_are_cut_alike(scenes: ToldScenes) -> None:
    same = ToldScenes(scenes.images[:, :, :1].repeat(2, 2), scenes.words)
    for edited in same.couple(0, 64, np.random.default_rng(0)):
        assert edited.before.shape == (64, 64, 3) and np.array_equal(edited.before, edited.after)


def test_the_second_lesson_says_less_beside_an_example(pictures: Pictures, scenes: ToldScenes) -> None:
    lesson = SceneEdits(pictures, scenes)
    alone = lesson(40, False, 0.5, np.random.default_rng(0))
    beside = lesson(40, True, 0.5, np.random.default_rng(0))
    assert all(len(sample.context) == 1 for sample in alone) and all(len(sample.context) == 3 for sample in beside)
    families = {edited for words in scenes.words for edited in words[2:]}
    assert not families & {sample.words for sample in alone} and families & {sample.words for sample in beside}


def test_processes_of_a_team_step_as_one_that_sees_all(tmp_path: Path) -> None:
    program = """
import sys, torch
import time
from viral.pretrain.team import first_alone, join_team, share_gradients, team, total
join_team()
rank, count = team()
model = torch.nn.Linear(3, 2, bias=False)
torch.nn.init.ones_(model.weight)
x = torch.arange(12.0).reshape(4, 3)
model(x.chunk(count)[rank]).square().mean().backward()
share_gradients(model)
with first_alone():
    begun = time.monotonic()
    time.sleep(0.1)
    ended = time.monotonic()
torch.save((total(1.0), model.weight.grad, begun, ended), f"{sys.argv[1]}/{count}-{rank}.pt")
"""
    (tmp_path / "step.py").write_text(program)
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node=2",
        "--standalone",
        "--local-addr=localhost",
    ]
    for command in ([sys.executable], launch):
        subprocess.run([*command, str(tmp_path / "step.py"), str(tmp_path)], check=True)
    _, alone, _, _ = torch.load(tmp_path / "1-0.pt")
    (first, shared, _, ended), (second, other, begun, _) = (torch.load(tmp_path / f"2-{rank}.pt") for rank in range(2))
    assert first == second == 2 and torch.allclose(shared, alone) and torch.allclose(other, alone)
    assert begun >= ended, "the first does alone what the others find done"
