import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLQwenImage, QwenImageEditPlusPipeline
from PIL import Image

from viral.model.velocity import ContextMode
from viral.pretrain import base, editor, edits, folder, tokenizer, vae
from viral.pretrain.lessons import PhotographEdits
from viral.pretrain.pictures import Pictures, photographs


@pytest.fixture(scope="module")
def autoencoder(pictures: Pictures) -> AutoencoderKLQwenImage:
    return vae.build(pictures)


def test_encoder_computes_principal_components(autoencoder: AutoencoderKLQwenImage, pictures: Pictures) -> None:
    rng = np.random.default_rng(3)
    drawn = [pictures(rng) for _ in range(6)]
    x = torch.from_numpy(np.stack(drawn)).permute(0, 3, 1, 2).unsqueeze(2).float() * 2 - 1
    mean, std = (
        torch.tensor(v).view(1, -1, 1, 1) for v in (autoencoder.config.latents_mean, autoencoder.config.latents_std)
    )
    with torch.no_grad():
        z = (autoencoder.encode(x).latent_dist.mode()[:, :, 0] - mean) / std
    linear = editor.LinearEncoder(autoencoder)(drawn)
    assert (z - linear).norm() / z.norm() < 0.02


def test_components_keep_more_than_any_other_linear_code(pictures: Pictures) -> None:
    x = vae.batch(pictures, 32, np.random.default_rng(0))
    mean, components = vae.principal_components(x)
    from einops import rearrange

    blocks = rearrange(x, "b c (h p) (w q) -> (b h w) (c p q)", p=4, q=4) - mean
    other = torch.linalg.qr(torch.randn(48, 16, generator=torch.Generator().manual_seed(0)))[0].T
    kept = [(blocks @ code.T @ code).square().sum() for code in (components, other)]
    assert kept[0] > kept[1]
    torch.testing.assert_close(components @ components.T, torch.eye(16), rtol=1e-4, atol=1e-4)


def test_prefix_of_the_template_is_as_long_as_the_pipeline_drops() -> None:
    for words in (["a"] * 3, ["paint the hedgehog violet", "make it snow"] * 5):
        made = tokenizer.build_tokenizer(words)
        prefix = tokenizer.prompt_template().split("{}")[0]
        assert len(made(prefix)["input_ids"]) == tokenizer.PREFIX_TOKENS
        assert made.decode(made("make it darker")["input_ids"]) == "make it darker"
        assert len(made) <= 2000


def test_words_with_and_without_images_follow_the_prefix(pictures: Pictures) -> None:
    made = tokenizer.build_tokenizer(["tint it red"] * 5)
    words = editor.Words(folder.build_text_encoder(made), folder.build_processor(made))
    picture = pictures(np.random.default_rng(0))
    plain, mask = words(["tint it red", "tint it"], None)
    seen, _ = words(["tint it red", "tint it"], [(picture,), (picture,)])
    assert mask is not None and mask.sum(1).tolist()[0] > mask.sum(1).tolist()[1]
    assert seen.shape[1] > plain.shape[1] + 15


@pytest.mark.parametrize(
    "edit", sorted(set(edits.PHOTO_EDITS), key=lambda edit: edit.__name__), ids=lambda e: e.__name__
)
def test_an_edit_keeps_size_and_range(edit: object, pictures: Pictures) -> None:
    rng = np.random.default_rng(1)
    edited = edit(pictures(rng), rng)
    for side in (edited.before, edited.after):
        assert side.shape == (32, 32, 3)
        assert side.min() >= 0 and side.max() <= 1.0001


def test_one_edit_means_the_same_change_on_every_picture(pictures: Pictures) -> None:
    rng = np.random.default_rng(2)
    for _ in range(40):
        make, other = edits.edit(pictures, rng), np.random.default_rng(5)
        assert make(other).words == make(other).words


@pytest.mark.parametrize("mode", ["full", "stationary"])
def test_loss_falls_on_one_batch(autoencoder: AutoencoderKLQwenImage, pictures: Pictures, mode: ContextMode) -> None:
    made = tokenizer.build_tokenizer(["tint it red"] * 5)
    transformer = folder.build_transformer(layers=1, heads=2)
    from viral.model.roles import use_role_rope

    use_role_rope(transformer)
    words = editor.Words(folder.build_text_encoder(made), folder.build_processor(made))
    encode, rng = editor.LinearEncoder(autoencoder), np.random.default_rng(0)
    samples = PhotographEdits(replace(pictures, size=16))(4, True, 1.0, rng)
    optimizer = torch.optim.AdamW(transformer.parameters(), lr=3e-3)
    losses = []
    for _ in range(25):
        loss = editor.edit_loss(transformer, words, encode, samples, False, torch.Generator().manual_seed(0), mode)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_photographs_without_a_licence_to_publish_are_left_out(tmp_path: Path) -> None:
    for name in ("free", "closed"):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    about = {"task": "photo", "licence": "x", "origin": "y"}
    kinds = {"free": "permissive", "closed": "research-nc"}
    rows = [json.dumps({**about, "id": n, "source": f"{n}.png", "licence_class": kind}) for n, kind in kinds.items()]
    (tmp_path / "manifest.jsonl").write_text("\n".join(rows))
    assert [photo.name for photo in photographs(tmp_path)] == ["free"]
    with pytest.raises(ValueError, match="no photograph"):
        photographs(tmp_path / "nothing")


def test_the_whole_making_writes_a_base_with_a_card(noise_photos: Path, few_scenes: Path, tmp_path: Path) -> None:
    base.make_base(noise_photos, few_scenes, tmp_path / "out", 0.1, 0.1, 0.1)
    pipeline = QwenImageEditPlusPipeline.from_pretrained(tmp_path / "out")
    assert pipeline.transformer.config.zero_cond_t
    card = (tmp_path / "out" / "README.md").read_text()
    assert card.count(" 32 samples") == 2 and "| Invert the colours. | 4 |" in card
