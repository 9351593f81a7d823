"""Our loop against diffusers' FLUX pipelines: random weights, the same noise, steps and words, float32."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import FluxFillPipeline, FluxPipeline
from diffusers.pipelines.flux import pipeline_flux_fill
from PIL import Image

from viral.model.flux import load_flux
from viral.model.flux_fill import FillVelocity, fold_mask
from viral.model.flux_text_to_image import TextVelocity
from viral.model.tokens import pack
from viral.sampling.denoise import denoise, start_noise
from viral.sampling.editor import to_tensor

SIZE = {"height": 32, "width": 64}
WORDS = ["tint it red", "make it darker"]


@pytest.fixture
def posterior_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pipeline draws from the VAE's posterior, we take its mode."""
    mode = partial(pipeline_flux_fill.retrieve_latents, sample_mode="argmax")
    monkeypatch.setattr(pipeline_flux_fill, "retrieve_latents", mode)


def equal(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    """Largest difference below 1e-5 of the largest value."""
    return bool((ours - theirs).abs().max() <= 1e-5 * theirs.abs().max())


def picture() -> tuple[Image.Image, Image.Image]:
    """Noise, and a mask of random pixels."""
    rng = np.random.default_rng(3)
    pixels, mask = rng.integers(0, 256, (32, 64, 3), np.uint8), rng.integers(0, 2, (32, 64), np.uint8) * 255
    return Image.fromarray(pixels), Image.fromarray(mask)


@torch.no_grad()
@pytest.mark.parametrize("guidance", [1.0, 30.0])
def test_own_loop_equals_the_fill_pipeline(fill_base: Path, posterior_mode: None, guidance: float) -> None:
    pipeline = FluxFillPipeline.from_pretrained(fill_base)
    pipeline.set_progress_bar_config(disable=True)
    backbone, (image, mask) = load_flux(str(fill_base)), picture()
    pixels = (torch.from_numpy(np.array(mask))[None, None] > 127).float()
    masked = backbone.encode_images(to_tensor(image) * (1 - pixels))
    velocity = FillVelocity(backbone.transformer, masked, pixels, backbone.encode_text(WORDS), guidance)
    noise = start_noise([5, 6], velocity.shape)
    ours = denoise(velocity, backbone.scheduler, noise, 4)
    theirs = pipeline(
        WORDS, image=image, mask_image=mask, latents=pack(noise), num_inference_steps=4, guidance_scale=guidance,
        max_sequence_length=backbone.tokenizer.model_max_length, output_type="latent", **SIZE,
    ).images  # fmt: skip
    assert equal(pack(ours), theirs)


@torch.no_grad()
def test_own_loop_equals_the_text_to_image_pipeline(flux_base: Path) -> None:
    pipeline = FluxPipeline.from_pretrained(flux_base)
    pipeline.set_progress_bar_config(disable=True)
    backbone = load_flux(str(flux_base))
    velocity = TextVelocity(backbone.transformer, (16, 4, 8), backbone.encode_text(WORDS))
    noise = start_noise([5, 6], velocity.shape)
    theirs = pipeline(
        WORDS, latents=pack(noise), num_inference_steps=4, max_sequence_length=backbone.tokenizer.model_max_length,
        output_type="pt", **SIZE,
    ).images  # fmt: skip
    ours = backbone.decode_latents(denoise(velocity, backbone.scheduler, noise, 4))
    assert equal((ours + 1) / 2, theirs)


def test_mask_fold_equals_the_pipelines(fill_base: Path) -> None:
    pipeline = FluxFillPipeline.from_pretrained(fill_base)
    for seed, (height, width) in enumerate([(32, 64), (48, 16)]):
        mask = (torch.rand(2, 1, height, width, generator=torch.Generator().manual_seed(seed)) > 0.5).float()
        latents = torch.zeros(2, 16, height // 8, width // 8)
        theirs, _ = pipeline.prepare_mask_latents(
            mask, latents, 2, 16, 1, height, width, torch.float32, torch.device("cpu"), None
        )
        assert torch.equal(pack(fold_mask(mask, 8)), theirs)
        assert theirs.shape[-1] == 256
