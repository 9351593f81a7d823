from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from viral.model.flux import FluxBackbone, FluxText, load_flux
from viral.model.flux_text_to_image import TextVelocity
from viral.sampling.denoise import denoise, schedule, start_noise
from viral.sampling.diptych import left_half, right_half
from viral.sampling.inversion import InjectedVelocity, InversionEditor, invert

SHAPE, DIPTYCH = (16, 8, 8), (16, 8, 16)
SOURCE = torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(7))


@pytest.fixture(scope="module")
def backbone(flux_base: Path) -> FluxBackbone:
    """Its weights are doubled, so that attention moves the picture as far as noise does."""
    loaded = load_flux(str(flux_base))
    with torch.no_grad():
        for parameter in loaded.transformer.parameters():
            parameter.mul_(2 if parameter.ndim == 2 else 1)
    return loaded


@pytest.fixture(scope="module")
def velocities(backbone: FluxBackbone) -> tuple[TextVelocity, TextVelocity]:
    """Of the source by its description, and of the diptych by its prompt; pooled words and guidance are the same."""
    text = backbone.encode_text(["a side-by-side image of the same scene, tint it red"])
    described = FluxText(backbone.encode_text(["the same scene"]).tokens, text.pooled)
    return TextVelocity(backbone.transformer, SHAPE, described), TextVelocity(backbone.transformer, DIPTYCH, text)


def distance(x: torch.Tensor, y: torch.Tensor) -> float:
    return float((x - y).square().mean().sqrt())


@torch.no_grad()
def test_more_passes_undo_the_steps_more_exactly(
    backbone: FluxBackbone, velocities: tuple[TextVelocity, TextVelocity]
) -> None:
    """The noise found for half a diptych's schedule leads back to the source on that schedule."""
    errors = []
    for passes in (1, 2, 4):
        inversion = invert(velocities[0], backbone.scheduler, SOURCE, 4, passes)
        own, x = schedule(backbone.scheduler, 4, 32), inversion.noise
        for i, timestep in enumerate(own.timesteps):
            x = own.step(velocities[0](x, own.sigmas[i : i + 1]), timestep, x, return_dict=False)[0]
        errors.append(distance(x, SOURCE))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0] / 20


def test_injection_keeps_the_left_half_where_inversion_alone_loses_it(
    backbone: FluxBackbone,
    velocities: tuple[TextVelocity, TextVelocity],
    record_property: Callable[[str, object], None],
) -> None:
    """Distance of the left half's latents from the source's, whose deviation is 1."""
    inversion = invert(velocities[0], backbone.scheduler, SOURCE, 8)
    for seed in range(3):
        noise = torch.cat([inversion.noise, start_noise([seed], SHAPE)], dim=-1)
        alone = denoise(velocities[1], backbone.scheduler, noise, 8)
        injected = denoise(InjectedVelocity(velocities[1], inversion), backbone.scheduler, noise, 8)
        far, near = distance(left_half(alone), SOURCE), distance(left_half(injected), SOURCE)
        record_property(f"left_half_seed_{seed}", {"inversion alone": far, "with injection": near})
        print(f"seed {seed}: left half off by {far:.4f} by inversion alone, {near:.4f} with injection")
        assert near < far / 20
        assert near < 0.02
        assert distance(right_half(injected), right_half(alone)) > 0.01


def test_injection_leaves_the_transformer_as_it_was(
    backbone: FluxBackbone, velocities: tuple[TextVelocity, TextVelocity]
) -> None:
    noise, t = start_noise([0], DIPTYCH), torch.tensor([1.0])
    with torch.no_grad():
        before = velocities[1](noise, t)
        InjectedVelocity(velocities[1], invert(velocities[0], backbone.scheduler, SOURCE, 2))(noise, t)
        assert torch.equal(velocities[1](noise, t), before)


def test_an_edit_by_inversion_tells_how_far_its_left_half_is_off(backbone: FluxBackbone) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    editor, image = InversionEditor(backbone), Image.fromarray(pixels)
    edit = editor(image, "tint it red", steps=4, width=48)
    other = editor(image, "make it darker", steps=4, width=48)
    assert edit.image.size == (48, 32)
    assert edit.image.tobytes() != other.image.tobytes()
    assert edit.trace["left_error"] < 0.05
    assert edit.trace["evaluations"] == 16


def test_sizes_that_do_not_belong_together_are_refused(
    backbone: FluxBackbone, velocities: tuple[TextVelocity, TextVelocity], fill_base: Path
) -> None:
    with pytest.raises(ValueError, match=r"latents of \(16, 8, 8\), expected \(16, 8, 16\)"):
        invert(velocities[1], backbone.scheduler, SOURCE, 2)
    with pytest.raises(ValueError, match="passes is 0"):
        invert(velocities[0], backbone.scheduler, SOURCE, 2, passes=0)
    inversion = invert(velocities[0], backbone.scheduler, SOURCE, 1, passes=1)
    with pytest.raises(ValueError, match="must be twice as wide"):
        InjectedVelocity(velocities[0], inversion)
    with pytest.raises(ValueError, match="load a text-to-image model"):
        InversionEditor.load(str(fill_base))(Image.new("RGB", (32, 32)), "tint it red", steps=1, width=32)
