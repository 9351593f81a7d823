from pathlib import Path

import pytest
import torch
from diffusers import FluxTransformer2DModel

from viral.model.flux import FluxText, attention_wrapped, load_flux
from viral.model.flux_fill import FillVelocity, fold_mask
from viral.model.flux_text_to_image import TextVelocity
from viral.pretrain.fill_folder import FILL_TOKEN, NOISE_TOKEN, POOLED_WIDTH, TEXT_WIDTH, build_transformer

T = torch.tensor([0.7])


@pytest.fixture(scope="module")
def fill() -> FluxTransformer2DModel:
    return build_transformer(FILL_TOKEN).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def text() -> FluxText:
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randn(1, 6, TEXT_WIDTH, generator=generator)
    return FluxText(tokens, torch.randn(1, POOLED_WIDTH, generator=generator))


def latents(seed: int, batch: int = 1) -> torch.Tensor:
    return torch.randn(batch, 16, 4, 8, generator=torch.Generator().manual_seed(seed))


def mask() -> torch.Tensor:
    return (torch.rand(1, 1, 32, 64, generator=torch.Generator().manual_seed(2)) > 0.5).float()


def test_a_folded_mask_keeps_every_pixel() -> None:
    pixels = mask()
    folded = fold_mask(pixels, 8)
    assert folded.shape == (1, 64, 4, 8)
    assert torch.equal(folded.view(1, 8, 8, 4, 8).permute(0, 3, 1, 4, 2).reshape(1, 1, 32, 64), pixels)


def test_seeds_in_one_batch_are_painted_as_alone(fill: FluxTransformer2DModel, text: FluxText) -> None:
    velocity, noise = FillVelocity(fill, latents(0), mask(), text), latents(3, batch=3)
    together = velocity(noise, T.expand(3))
    alone = torch.cat([velocity(one[None], T) for one in noise])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)


def test_every_condition_reaches_the_velocity(fill: FluxTransformer2DModel, text: FluxText) -> None:
    noise, other = latents(3), FluxText(text.tokens.flip(2), text.pooled)
    given = FillVelocity(fill, latents(0), mask(), text)(noise, T)
    changed = [
        FillVelocity(fill, latents(1), mask(), text),
        FillVelocity(fill, latents(0), 1 - mask(), text),
        FillVelocity(fill, latents(0), mask(), other),
        FillVelocity(fill, latents(0), mask(), FluxText(text.tokens, -text.pooled)),
        FillVelocity(fill, latents(0), mask(), text, guidance=1.0),
    ]
    assert all((velocity(noise, T) - given).abs().max() > 1e-4 for velocity in changed)


def test_half_precision_models_answer_in_the_loops_precision(text: FluxText) -> None:
    velocity = FillVelocity(build_transformer().bfloat16().eval(), latents(0), mask(), text)
    with torch.no_grad():
        assert velocity(latents(3), T).dtype == torch.float32


def test_wrong_masks_and_models_are_refused(fill: FluxTransformer2DModel, text: FluxText) -> None:
    with pytest.raises(ValueError, match=r"mask of \(32, 32\) pixels does not cover"):
        FillVelocity(fill, latents(0), mask()[..., :32], text)
    with pytest.raises(ValueError, match="other than 0 and 1"):
        FillVelocity(fill, latents(0), mask() * 0.5, text)
    dev = build_transformer(NOISE_TOKEN)
    with pytest.raises(ValueError, match="64 channels, a masked picture has 384; load FLUX.1 Fill"):
        FillVelocity(dev, latents(0), mask(), text)
    with pytest.raises(ValueError, match="384 channels, noise alone has 64; load a text-to-image model"):
        TextVelocity(fill, (16, 4, 8), text)


def test_parts_can_be_left_out_and_are_named_when_missed(fill_base: Path, tmp_path: Path) -> None:
    backbone = load_flux(str(fill_base), parts=("transformer",))
    assert backbone.vae is None and backbone.texts is None
    with pytest.raises(ValueError, match="VAE is not loaded"):
        backbone.encode_images(torch.zeros(1, 3, 32, 32))
    with pytest.raises(ValueError, match="text encoders are not loaded"):
        backbone.encode_text(["tint it red"])
    with pytest.raises(ValueError, match="unknown parts"):
        load_flux(str(fill_base), parts=("clip",))
    (tmp_path / "scheduler").symlink_to(fill_base / "scheduler")
    with pytest.raises(ValueError, match="no part 'vae'"):
        load_flux(str(tmp_path), parts=("vae",))


def test_images_and_prompts_that_do_not_fit_are_refused(fill_base: Path) -> None:
    backbone = load_flux(str(fill_base), parts=("vae", "text"))
    with pytest.raises(ValueError, match="not multiples of 16"):
        backbone.encode_images(torch.zeros(1, 3, 24, 32))
    with pytest.raises(ValueError, match="T5 reads 128; shorten the instruction"):
        backbone.encode_text(["make the red circle darker " * 40])


def test_a_licence_that_restricts_use_must_be_accepted(fill_base: Path, tmp_path: Path) -> None:
    from viral.config import ModelConfig

    for part in fill_base.iterdir():
        (tmp_path / part.name).symlink_to(part)
    card = "---\nlicense: other\nlicense_name: flux-1-dev-non-commercial-license\n---\n"
    (tmp_path / "README.md").write_text(card)
    with pytest.raises(ValueError, match="no commercial use"):
        load_flux(str(tmp_path), parts=("vae",))
    accepted = ModelConfig(accept_licences=("flux-1-dev-non-commercial-license",))
    assert load_flux(str(tmp_path), parts=("vae",), config=accepted).licence.restricts


def test_wrapped_attention_is_put_back_after_a_failure(fill: FluxTransformer2DModel) -> None:
    own = fill.attn_processors
    with pytest.raises(InterruptedError), attention_wrapped(fill, lambda name, processor: lambda *inputs: None):
        assert fill.attn_processors != own
        raise InterruptedError
    assert fill.attn_processors == own
