import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLQwenImage, QwenImageEditPlusPipeline
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus
from PIL import Image

from viral.config import AdapterConfig, ModelConfig
from viral.model.adapter import adapter_parameters, add_adapter
from viral.model.backbone import load_backbone
from viral.model.licences import UNDECLARED
from viral.model.roles import ANALOGY
from viral.model.velocity import EditVelocity, pack, predict_velocity
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
    x = batch(pictures, 3, np.random.default_rng(1)).unsqueeze(2)
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


def test_missing_part_is_named_and_one_that_is_cached_is_not_asked_for(tiny_base: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_base, tmp_path / "base", ignore=shutil.ignore_patterns("text_encoder"))
    assert load_backbone(str(tmp_path / "base"), parts=("transformer", "vae")).texts is None
    with pytest.raises(ValueError, match="no part 'text_encoder', it has .*'transformer'"):
        load_backbone(str(tmp_path / "base"), parts=("text",))


def test_type_is_the_configured_one_and_the_licence_comes_along(tiny_base: Path) -> None:
    half = load_backbone(str(tiny_base), ("vae",), config=ModelConfig(dtype="bfloat16"))
    assert half.vae.dtype == torch.bfloat16 and half.licence == UNDECLARED
    assert load_backbone(str(tiny_base), ("vae",)).vae.dtype == torch.float32


def test_float8_base_takes_half_of_bfloat16_and_computes_nearly_the_same(tiny_base: Path) -> None:
    images = [torch.randn(1, 16, 4, 4, generator=torch.Generator().manual_seed(i)).bfloat16() for i in range(4)]
    t, text = torch.full((1,), 0.5), torch.ones(1, 4, 64).bfloat16()
    sizes, answers = [], []
    for quantise in (None, "float8"):
        config = ModelConfig(dtype="bfloat16", quantise=quantise)
        model = load_backbone(str(tiny_base), ("transformer",), config=config).transformer
        sizes.append(sum(p.nbytes for p in model.transformer_blocks.parameters()))
        with torch.no_grad():
            answers.append(predict_velocity(model, images[0], images[1:], ANALOGY, t, text))
    assert sizes[1] < 0.55 * sizes[0]
    assert 0 < (answers[0] - answers[1]).norm() < 0.1 * answers[0].norm()


def test_adapter_trains_on_a_float8_base(tiny_base: Path) -> None:
    backbone = load_backbone(str(tiny_base), ("transformer",), config=ModelConfig(dtype="bfloat16", quantise="float8"))
    model = backbone.transformer
    model.enable_gradient_checkpointing()
    add_adapter(model, AdapterConfig(rank=4, expert_rank=4), seed=0)
    assert not {p.dtype for p in adapter_parameters(model).values()} & {torch.float8_e4m3fn}
    for parameter in adapter_parameters(model).values():
        parameter.data = parameter.data.float()
    images = [torch.randn(1, 16, 4, 4).bfloat16() for _ in range(4)]
    text = torch.ones(1, 4, 64).bfloat16()
    predict_velocity(model, images[0], images[1:], ANALOGY, torch.rand(1), text).float().square().mean().backward()
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in adapter_parameters(model).values())
    assert all(p.grad is None for name, p in model.named_parameters() if name not in adapter_parameters(model))


@pytest.mark.skipif(find_spec("bitsandbytes") is not None, reason="bitsandbytes is there and needs a GPU")
def test_quantisation_without_its_package_names_the_package(tiny_base: Path) -> None:
    with pytest.raises(ValueError, match="pip install bitsandbytes.*float8"):
        load_backbone(str(tiny_base), ("transformer",), config=ModelConfig(quantise="nf4"))


def test_offload_without_a_gpu_is_refused(tiny_base: Path) -> None:
    backbone = load_backbone(str(tiny_base), ("transformer", "vae"))
    backbone.offload(ModelConfig(), "cpu")
    with pytest.raises(ValueError, match="model.offload=group moves weights to a GPU"):
        backbone.offload(ModelConfig(offload="group"), "cpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("offload", ["model", "group"])
def test_offloaded_base_computes_the_same(tiny_base: Path, offload: str) -> None:
    images = [torch.randn(1, 16, 4, 4, generator=torch.Generator().manual_seed(i)).cuda() for i in range(4)]
    answers = []
    for config in (ModelConfig(dtype="float32"), ModelConfig(dtype="float32", offload=offload)):
        backbone = load_backbone(str(tiny_base), ("transformer",), "cuda", config=config)
        backbone.offload(config, "cuda")
        with torch.no_grad():
            t, text = torch.full((1,), 0.5).cuda(), torch.ones(1, 4, 64).cuda()
            answers.append(predict_velocity(backbone.transformer, images[0], images[1:], ANALOGY, t, text))
    torch.testing.assert_close(answers[0], answers[1])
