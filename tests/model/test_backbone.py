from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLQwenImage, QwenImageEditPlusPipeline
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus
from PIL import Image

from viral.model.backbone import load_backbone
from viral.model.roles import ANALOGY
from viral.model.velocity import EditVelocity, pack
from viral.pretrain.pictures import Pictures
from viral.pretrain.vae import batch
from viral.sampling.denoise import denoise, start_noise
from viral.sampling.editor import to_tensor


def pictures_of(pictures: Pictures, count: int) -> list[Image.Image]:
    import numpy as np

    rng = np.random.default_rng(2)
    return [Image.fromarray((pictures(rng) * 255).astype(np.uint8)) for _ in range(count)]


def test_frame_convs_equal_the_stock_vae(tiny_base: Path, pictures: Pictures) -> None:
    import numpy as np

    ours = load_backbone(str(tiny_base), parts=("vae",))
    stock = AutoencoderKLQwenImage.from_pretrained(tiny_base, subfolder="vae", torch_dtype=torch.float32).eval()
    x = batch(pictures, 3, np.random.default_rng(1))
    with torch.no_grad():
        z = stock.encode(x).latent_dist.mode()
        torch.testing.assert_close(ours.vae.encode(x).latent_dist.mode(), z, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(ours.vae.decode(z).sample, stock.decode(z).sample, rtol=1e-4, atol=1e-4)


def test_own_loop_equals_the_stock_pipeline(
    tiny_base: Path, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three references, the same noise and words: our sampler with roles in stock order is the pipeline."""
    monkeypatch.setattr(pipeline_qwenimage_edit_plus, "VAE_IMAGE_SIZE", 32 * 32)
    pipeline = QwenImageEditPlusPipeline.from_pretrained(tiny_base, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    backbone, images = load_backbone(str(tiny_base), parts=("transformer", "vae")), pictures_of(pictures, 3)
    text, mask = pipeline.encode_prompt("tint it red", image=None)
    context = [backbone.encode_images(to_tensor(image)) for image in images]
    velocity, noise = EditVelocity(backbone.transformer, context, ANALOGY, text), start_noise([5], (16, 8, 8))
    ours = backbone.decode_latents(denoise(velocity, backbone.scheduler, noise, 4))
    theirs = pipeline(
        image=images, prompt_embeds=text, prompt_embeds_mask=mask, latents=pack(noise), height=32, width=32,
        num_inference_steps=4, true_cfg_scale=1.0, output_type="pt",
    ).images  # fmt: skip
    torch.testing.assert_close(ours, theirs * 2 - 1, rtol=1e-4, atol=1e-4)


def test_text_without_images_is_the_pipelines(tiny_base: Path) -> None:
    pipeline = QwenImageEditPlusPipeline.from_pretrained(tiny_base, torch_dtype=torch.float32)
    ours = load_backbone(str(tiny_base), parts=("text",)).encode_text(["tint it red"])
    assert torch.equal(ours, pipeline.encode_prompt("tint it red", image=None)[0])


def test_odd_sides_and_missing_parts_are_named(tiny_base: Path) -> None:
    backbone = load_backbone(str(tiny_base), parts=("vae",))
    with pytest.raises(ValueError, match="multiples of 8"):
        backbone.encode_images(torch.zeros(1, 3, 30, 32))
    with pytest.raises(ValueError, match="text encoder is not loaded"):
        backbone.encode_text([" "])
    with pytest.raises(ValueError, match="neither a folder nor a hub id"):
        load_backbone("no-such-folder")
