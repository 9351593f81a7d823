"""Annotators that are networks, each from a checkpoint of random weights in its own format."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    SamConfig,
    SamImageProcessor,
    SamModel,
    SamProcessor,
)

from tests.data.annotators import checkpoints
from viral.data.annotators import Annotator, Labeller, annotated
from viral.data.annotators.controlnet import _joints
from viral.data.annotators.registry import build_annotators
from viral.data.annotators.weights import find_weights
from viral.tasks import TASKS, Instance, Labelled
from viral.tasks.pose import OPENPOSE

SIZE = (72, 100)


def _picture(**labels: object) -> Labelled:
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE, 3)).astype(np.uint8)
    return Labelled(pixels, **labels)


def _annotator(**described: object) -> Annotator:
    return build_annotators({"it": described})["it"]


def _loaded(kind: str, folder: Path, save: Callable[[Path], None]) -> Labeller:
    torch.manual_seed(0)
    save(folder)
    return _annotator(kind=kind, model=str(folder)).labeller("cpu")


def _save_sam(folder: Path) -> None:
    vision = {
        "hidden_size": 32, "output_channels": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 64,
        "patch_size": 8, "num_pos_feats": 16, "mlp_dim": 64, "global_attn_indexes": [1], "window_size": 4,
    }  # fmt: skip
    prompt = {"hidden_size": 32, "image_size": 64, "patch_size": 8, "image_embedding_size": 8}
    decoder = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "mlp_dim": 64,
        "iou_head_hidden_dim": 32,
    }
    SamModel(
        SamConfig(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder)
    ).save_pretrained(folder)
    resized = {"size": {"longest_edge": 64}, "pad_size": {"height": 64, "width": 64}}
    SamProcessor(
        SamImageProcessor(**resized, mask_size={"longest_edge": 16}, mask_pad_size={"height": 16, "width": 16})
    ).save_pretrained(folder)


@pytest.mark.parametrize(
    ("kind", "save", "task"), [("hed", checkpoints.save_hed, "edge"), ("lineart", checkpoints.save_lineart, "lineart")]
)
def test_lines_become_the_tasks_target(kind: str, save: Callable, task: str, tmp_path: Path) -> None:
    picture = _loaded(kind, tmp_path, save)(_picture())
    pair = TASKS[task].pair(picture, np.random.default_rng(0))
    assert np.array_equal(pair.target, picture.maps[task]) and pair.target.shape == (*SIZE, 3)


def test_normals_are_unit_vectors_known_everywhere(tmp_path: Path) -> None:
    picture = _loaded("normal_bae", tmp_path, checkpoints.save_normal_bae)(_picture())
    assert picture.normals is not None and picture.normals.shape == (*SIZE, 3)
    assert np.abs(np.linalg.norm(picture.normals, axis=2) - 1).max() < 1e-3
    TASKS["normal"].pair(picture, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("kind", "save"), [("midas", checkpoints.save_midas), ("depth_anything", checkpoints.save_depth_anything)]
)
def test_depth_is_known_everywhere(kind: str, save: Callable, tmp_path: Path) -> None:
    picture = _loaded(kind, tmp_path, save)(_picture())
    assert picture.depth is not None and picture.depth.shape == SIZE and picture.depth.min() > 0
    assert TASKS["depth"].pair(picture, np.random.default_rng(0)).target.min() > 0


def test_openpose_runs_on_its_body_network_alone(tmp_path: Path) -> None:
    picture = _loaded("openpose", tmp_path, checkpoints.save_openpose)(_picture())
    assert picture.instances is not None and all(item.category == "person" for item in picture.instances)


def test_openposes_joints_become_cocos() -> None:
    class Joint:
        def __init__(self, number: int) -> None:
            self.x, self.y = float(number), 2.0 * number

    points = _joints([None if number == 3 else Joint(number) for number in range(18)])
    assert points.shape == (17, 3)
    for number, row in enumerate(OPENPOSE):
        if row < 17:
            assert points[row].tolist() == ([0, 0, 0] if number == 3 else [number, 2 * number, 2])


def test_sam_gives_a_mask_to_every_box_that_has_none(tmp_path: Path) -> None:
    label = _loaded("sam", tmp_path, _save_sam)
    known = np.ones(SIZE, bool)
    boxes = (Instance("dog", (5.0, 5.0, 60.0, 60.0)), Instance("cat", (0.0, 0.0, 9.0, 9.0), known))
    dog, cat = label(_picture(instances=boxes)).instances
    assert dog.mask is not None and dog.mask.shape == SIZE and dog.mask.dtype == bool
    assert cat.mask is known
    with pytest.raises(ValueError, match="no boxes to prompt SAM with"):
        label(_picture())


def test_the_record_names_the_weights_and_changes_with_them(tmp_path: Path) -> None:
    checkpoints.save_hed(tmp_path)
    annotator = _annotator(kind="hed", model=str(tmp_path))
    record = annotator.record()
    assert record["model"] == str(tmp_path) and record["revision"] is None and len(record["sha256"]) == 64
    assert annotated(_picture(), "edges", record).about == {"annotators": {"edges": record}}
    data = (tmp_path / "ControlNetHED.pth").read_bytes()
    (tmp_path / "ControlNetHED.pth").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert annotator.record()["sha256"] != record["sha256"]


def test_a_snapshot_of_the_hub_tells_its_commit(tmp_path: Path) -> None:
    folder = tmp_path / "models--a--b" / "snapshots" / "0123abc"
    folder.mkdir(parents=True)
    (folder / "x.safetensors").write_bytes(b"weights")
    assert find_weights(str(folder)).revision == "0123abc"


def test_weights_that_are_missing_are_named(tmp_path: Path) -> None:
    (tmp_path / "README.md").touch()
    with pytest.raises(ValueError, match="holds no weights like ControlNetHED.pth; there is README.md"):
        _annotator(kind="hed", model=str(tmp_path)).labeller("cpu")
    with pytest.raises(ValueError, match="neither a folder nor a hub id"):
        _annotator(kind="sam", model="nowhere").record()
