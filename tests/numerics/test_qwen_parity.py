"""Our loop, text and guidance are those of `QwenImageEditPlusPipeline` when roles are off."""

from pathlib import Path

import pytest
import torch
from diffusers import QwenImageEditPlusPipeline
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as edit_plus
from PIL import Image
from torch import Tensor

from viral.model.backbone import Backbone, load_backbone
from viral.model.text import TextEncoder
from viral.model.tokens import pack
from viral.model.velocity import EditVelocity
from viral.sampling.denoise import denoise, start_noise

SIZES = ((64, 64), (120, 40), (48, 90))
"""Sides of the references, which the pipeline brings to one area and multiples of 32."""
STEPS, WORDS, AWAY = 3, "tint it red", "make it darker"


@pytest.fixture(scope="module")
def pipeline(tiny_base: Path) -> QwenImageEditPlusPipeline:
    made = QwenImageEditPlusPipeline.from_pretrained(tiny_base, torch_dtype=torch.float32)
    made.set_progress_bar_config(disable=True)
    return made


@pytest.fixture(scope="module")
def backbone(tiny_base: Path) -> Backbone:
    return load_backbone(str(tiny_base))


@pytest.fixture(autouse=True)
def small_references(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edit_plus, "VAE_IMAGE_SIZE", 64 * 64)
    monkeypatch.setattr(edit_plus, "CONDITION_IMAGE_SIZE", 96 * 96)


def pictures(count: int) -> list[Image.Image]:
    generator = torch.Generator().manual_seed(11)
    pixels = [torch.randint(0, 256, (h, w, 3), generator=generator, dtype=torch.uint8) for w, h in SIZES[:count]]
    return [Image.fromarray(each.numpy()) for each in pixels]


def encoded(backbone: Backbone, pipeline: QwenImageEditPlusPipeline, image: Image.Image) -> Tensor:
    """Latents at the pipeline's size of a reference, resized as it resizes."""
    width, height = edit_plus.calculate_dimensions(edit_plus.VAE_IMAGE_SIZE, image.width / image.height)
    return backbone.encode_images(pipeline.image_processor.preprocess(image, height, width))


@pytest.mark.parametrize("references", [1, 2, 3])
@pytest.mark.parametrize(("guidance", "negative"), [(1.0, None), (4.0, AWAY), (4.0, WORDS)])
def test_loop_without_roles_equals_the_pipeline(
    backbone: Backbone,
    pipeline: QwenImageEditPlusPipeline,
    references: int,
    guidance: float,
    negative: str | None,
) -> None:
    images, noise = pictures(references), start_noise([5], (16, 8, 16))
    theirs = pipeline(
        image=images, prompt=WORDS, negative_prompt=negative, true_cfg_scale=guidance, height=32, width=64,
        num_inference_steps=STEPS, latents=pack(noise), output_type="latent",
    ).images  # fmt: skip
    assert backbone.texts is not None
    assert backbone.transformer is not None
    seen = TextEncoder(backbone.texts, "sentence")
    velocity = EditVelocity(
        backbone.transformer,
        [encoded(backbone, pipeline, image) for image in images],
        None,
        seen.say(WORDS, images),
        grid=(8, 16),
        guidance=guidance,
        negative=None if negative is None else seen.say(negative, images),
    )
    ours = pack(denoise(velocity, backbone.scheduler, noise, STEPS))
    assert len(velocity.texts) == 1 + (negative == AWAY)
    assert (ours - theirs).norm() <= 1e-5 * theirs.norm()
