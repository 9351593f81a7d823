"""The small Fill base: its VAE, its lesson and its making."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, FluxFillPipeline
from PIL import Image

from viral.pretrain import fill_base, filler, vae
from viral.pretrain.fill_folder import build_clip_tokenizer, build_t5_tokenizer, build_transformer
from viral.pretrain.fill_vae import build_vae
from viral.pretrain.lessons import PhotographEdits, Sample
from viral.pretrain.pictures import Pictures
from viral.sampling.instruct import InstructEditor


@pytest.fixture(scope="module")
def autoencoder(pictures: Pictures) -> AutoencoderKL:
    return build_vae(pictures)


def samples_of(pictures: Pictures, count: int) -> list[Sample]:
    return PhotographEdits(replace(pictures, size=16))(count, False, 1.0, np.random.default_rng(0))


def test_encoder_is_linear_through_norm_and_activation(autoencoder: AutoencoderKL, pictures: Pictures) -> None:
    x = vae.batch(pictures, 32, np.random.default_rng(3))
    with torch.no_grad():
        z = autoencoder.encode(x).latent_dist.mode()
    linear = filler.FillEncoder(autoencoder)(list(((x + 1) / 2).permute(0, 2, 3, 1).numpy()))
    assert (z - linear).norm() / z.norm() < 0.01
    assert 0.5 < z.std(dim=(0, 2, 3)).max() < 1.5, "scaled for a flow"


def test_a_diptych_hides_the_edit_and_a_box_a_part(autoencoder: AutoencoderKL, pictures: Pictures) -> None:
    sample = samples_of(pictures, 1)[0]
    canvas = filler.diptych_of(replace(sample, words="tint it red"), "On the right {instruction}")
    assert canvas.words == "On the right tint it red" and canvas.mask.sum() == canvas.mask.size / 2
    assert (canvas.picture[:, :16] == sample.context[0]).all() and (canvas.picture[:, 16:] == sample.target).all()
    assert filler.diptych_of(replace(sample, words=" "), "{instruction}").words == ""
    encode = filler.FillEncoder(autoencoder)
    masked, mask = filler.masked_latents(encode, [canvas])
    grey = encode([np.full((16, 16, 3), 0.5, np.float32)])
    torch.testing.assert_close(masked[..., 4:], grey)
    assert mask[..., :16].sum() == 0 and mask[..., 16:].min() == 1
    box = filler.boxed(sample, np.random.default_rng(1))
    assert 16 <= box.mask.sum() <= 144 and (box.picture == sample.context[0]).all()


def test_loss_falls_on_one_batch(autoencoder: AutoencoderKL, pictures: Pictures) -> None:
    told = ["tint it red"] * 5
    words = fill_base.build_words(build_clip_tokenizer(told), build_t5_tokenizer(told, 16))
    transformer = build_transformer(fill_base.FILL_TOKEN, 1, text_width=fill_base.TEXT_WIDTH)
    encode = filler.FillEncoder(autoencoder)
    canvases = [filler.diptych_of(sample, "{instruction}") for sample in samples_of(pictures, 4)]
    learnt = [*transformer.parameters(), *words.t5.parameters(), *words.clip.parameters()]
    optimizer, losses = torch.optim.AdamW(learnt, lr=3e-3), []
    for _ in range(25):
        loss = filler.fill_loss(transformer, words, encode, canvases, torch.Generator().manual_seed(0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert all(
        p.grad is not None and p.grad.abs().sum() > 0 for p in (words.t5.shared.weight, transformer.proj_out.weight)
    )


def test_the_whole_making_writes_a_base_that_edits(noise_photos: Path, few_scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    fill_base.make_fill(noise_photos, few_scenes, out, 0.1, 0.1)
    assert FluxFillPipeline.from_pretrained(out).transformer.config.guidance_embeds
    card = (out / "README.md").read_text()
    assert " 32 samples" in card and "| Invert the colours. | 4 |" in card
    picture = Image.new("RGB", (64, 64), (200, 30, 30))
    edit = InstructEditor.load(str(out))(picture, "make it darker", steps=2, width=64)
    assert edit.image.size == (64, 64)
