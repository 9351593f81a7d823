"""Making the small CLIP: scenes rendered in chunks, a loss of CLIP's form, a folder that open_clip opens."""

import shutil
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from viral.data_config import EMBEDDED_CLIP
from viral.pretrain.couples import CHUNK, SIZE
from viral.pretrain.edited_scenes import EditedScenes, edited_scenes, is_held_out
from viral.pretrain.embedder import Knowledge, contrast, cut, features_of, see, train_pictures, train_texts
from viral.pretrain.embedder_folder import END, MODEL, WORDS, build_tokenizer, save_embedder
from viral.sampling.embedder import ClipEmbedder
from viral.scenes import EDITS, instruction, read_instruction


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("edits")


@pytest.fixture(scope="module")
def scenes(folder: Path) -> EditedScenes:
    return edited_scenes(folder, CHUNK)


def test_every_kind_of_edit_is_drawn_and_done_to_two_scenes(scenes: EditedScenes) -> None:
    assert scenes.images.shape == (CHUNK, 2, 2, SIZE, SIZE, 3) and len(set(scenes.kinds)) == len(EDITS)
    changed = (scenes.images[:, :, 0] != scenes.images[:, :, 1]).reshape(CHUNK, 2, -1).any(-1)
    assert changed.mean() > 0.95
    assert (scenes.images[:, 0, 0] != scenes.images[:, 1, 0]).reshape(CHUNK, -1).any(-1).all()


def test_no_instruction_that_is_held_out_is_trained_on(scenes: EditedScenes) -> None:
    for said in scenes.instructions:
        assert not is_held_out(read_instruction(said)[0], said)
    values = [instruction("recolour", {"category": "car", "colour": c}) for c in EDITS["recolour"].choices["colour"]]
    values += [instruction("recolour", {"category": "dog", "colour": c}) for c in EDITS["recolour"].choices["colour"]]
    assert 0 < sum(is_held_out("recolour", said) for said in values) < len(values) / 2
    assert not is_held_out("mirror", "Mirror the picture.")


def test_a_chunk_that_is_there_is_not_rendered_again(folder: Path, scenes: EditedScenes, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    path = tmp_path / "copy" / "couples-00000.npz"
    before = path.stat().st_mtime_ns
    again = edited_scenes(tmp_path / "copy", CHUNK)
    assert path.stat().st_mtime_ns == before and np.array_equal(again.images, scenes.images)


def test_the_contrast_is_clips_where_all_are_different() -> None:
    x, y = (F.normalize(torch.randn(6, 8, generator=torch.Generator().manual_seed(seed)), dim=1) for seed in (0, 1))
    theirs = open_clip.ClipLoss()(x, y, torch.tensor(7.0))
    assert torch.allclose(contrast(x, y, torch.eye(6, dtype=torch.bool), 7.0), theirs, atol=1e-6)


def test_equal_texts_are_no_negatives_of_one_another() -> None:
    x = F.normalize(torch.randn(1, 8), dim=1).repeat(2, 1)
    assert contrast(x, x, torch.ones(2, 2, dtype=torch.bool), 10.0) == pytest.approx(float(np.log(2)), abs=1e-5)
    assert contrast(x, -x, torch.ones(2, 2, dtype=torch.bool), 10.0) == pytest.approx(float(np.log(2)), abs=1e-5)


def test_both_sides_of_an_edit_are_cut_alike(scenes: EditedScenes) -> None:
    same = EditedScenes(scenes.images[:, :, :1].repeat(2, 2), scenes.captions, scenes.instructions, scenes.kinds)
    pixels = cut(same, np.arange(4), np.random.default_rng(0))
    assert torch.equal(pixels[:, :, 0], pixels[:, :, 1]) and pixels.shape[-2:] == (64, 64)


def test_training_resumes_where_it_was_and_lowers_the_loss(
    scenes: EditedScenes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(10_000))
    monkeypatch.setattr("viral.pretrain.embedder.time.process_time", lambda: float(next(clock)))
    torch.manual_seed(0)
    model, knowledge, chosen = open_clip.CLIP(**MODEL), Knowledge(scenes), np.arange(16)
    pixels = cut(scenes, chosen, np.random.default_rng(1))
    before = Knowledge(scenes).loss(features_of(model, pixels), torch.from_numpy(chosen)).item()
    assert train_pictures(model, scenes, 4.0, tmp_path / "state.pt")["steps"] == 4
    fresh = open_clip.CLIP(**MODEL)
    took = train_pictures(fresh, scenes, 8.0, tmp_path / "state.pt")
    assert (took["steps"], took["seconds"]) == (8, 8.0)
    learned = torch.load(tmp_path / "state.pt", weights_only=True)["module"]
    knowledge.load_state_dict({name[2:]: value for name, value in learned.items() if name.startswith("1.")})
    fresh.visual.train()
    assert knowledge.loss(features_of(fresh, pixels), torch.from_numpy(chosen)).item() < before


def test_the_text_tower_learns_on_a_locked_image_tower(
    scenes: EditedScenes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(10_000))
    monkeypatch.setattr("viral.pretrain.embedder.time.process_time", lambda: float(next(clock)))
    torch.manual_seed(0)
    model = open_clip.CLIP(**MODEL).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    seen, tokenizer = see(model, scenes), build_tokenizer(scenes.instructions)
    assert seen.shape == (CHUNK, 2, 2, 128) and torch.allclose(seen.norm(dim=-1), torch.ones(CHUNK, 2, 2), atol=1e-4)
    train_texts(model, seen, scenes, tokenizer, 3.0, tmp_path / "texts.pt")
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved and not any(name.startswith("visual.") for name in moved)


def test_the_folder_opens_in_open_clip_with_its_tokenizer(scenes: EditedScenes, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, tokenizer = open_clip.CLIP(**MODEL), build_tokenizer(scenes.instructions)
    save_embedder(tmp_path, model, tokenizer)
    loaded = ClipEmbedder.load(str(tmp_path))
    pixels = loaded.preprocess(Image.fromarray(scenes.images[0, 0, 0, :64, :64]))[None]
    expected = F.normalize(model.eval().encode_image(pixels), dim=1)
    assert torch.allclose(loaded.model.encode_image(pixels, normalize=True), expected, atol=5e-3)
    tokens = open_clip.get_tokenizer(f"local-dir:{tmp_path}")(scenes.instructions[:3])
    read = tokenizer(scenes.instructions[:3], return_tensors="pt", max_length=WORDS, padding="max_length")
    assert torch.equal(tokens, read["input_ids"]) and (tokens == tokenizer.convert_tokens_to_ids(END)).any(1).all()


def test_the_shipped_embedder_is_small_and_named_as_embedded() -> None:
    assert sum(path.stat().st_size for path in EMBEDDED_CLIP.iterdir()) <= 10_000_000
    embedder = ClipEmbedder.load(str(EMBEDDED_CLIP))
    assert "embedded" in embedder.name
    said = embedder.words(["Paint the car red.", "paint the car  red.", "Zoom in."])
    assert said.shape == (3, 128) and torch.allclose(said.norm(dim=1), torch.ones(3), atol=1e-5)


def test_the_same_edit_of_two_scenes_is_about_the_same_step(scenes: EditedScenes) -> None:
    embedder = ClipEmbedder.load(str(EMBEDDED_CLIP))
    sides = [
        embedder([Image.fromarray(image) for image in scenes.images[:, scene, side]])
        for scene in (0, 1)
        for side in (0, 1)
    ]
    first, second = (F.normalize(after - before, dim=1) for before, after in (sides[:2], sides[2:]))
    cosines = first @ second.T
    assert cosines.diagonal().mean() > cosines[~torch.eye(CHUNK, dtype=torch.bool)].mean()
