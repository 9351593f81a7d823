import pytest
import torch
from PIL import Image

from viral.sampling.diptych import (
    PAPER_PROMPT,
    RELEASED_PROMPT,
    Caption,
    caption_of,
    diptych,
    in_context_prompt,
    left_half,
    panel,
    right_half,
)

PHOTO = Image.new("RGB", (1000, 600))


def test_prompts_are_the_papers_and_the_released_codes() -> None:
    words = Caption("cat", "cat on a mat")
    assert in_context_prompt("Make it red.", words, PAPER_PROMPT) == (
        "a side-by-side image of the same cat: the left depicts the original cat on a mat, "
        "while the right mirrors the left but applies Make it red."
    )
    assert in_context_prompt(" make it {red} ", words, RELEASED_PROMPT) == (
        "A diptych with two side-by-side images of the same scene. "
        "On the right, the scene is exactly the same as on the left but make it {red}"
    )
    assert in_context_prompt("make it red", words, "{instruction}") == "make it red"


def test_empty_instructions_and_strange_templates_are_refused() -> None:
    with pytest.raises(ValueError, match="instruction is empty"):
        in_context_prompt(" . ", Caption(), PAPER_PROMPT)
    with pytest.raises(ValueError, match="'colour', 'instruction'"):
        in_context_prompt("make it red", Caption(), "{instruction} {colour}")
    with pytest.raises(ValueError, match="needs 'instruction'"):
        in_context_prompt("make it red", Caption(), "two images")


def test_the_requests_caption_comes_before_the_captioners_and_that_before_the_default() -> None:
    captioner = lambda image: ("photo", f"photo {image.width} wide")
    assert caption_of(PHOTO, ("cat", "black cat"), captioner) == Caption("cat", "black cat")
    assert caption_of(PHOTO, None, captioner) == Caption("photo", "photo 1000 wide")
    assert caption_of(PHOTO, None, None) == Caption("scene", "image")


@pytest.mark.parametrize(
    ("width", "height", "size"),
    [
        (None, None, (512, 304)),
        (768, None, (768, 464)),
        (None, 768, (1280, 768)),
        (333, 250, (336, 256)),
        (3, 3, (16, 16)),
    ],
)
def test_a_panel_takes_any_size_rounded_to_what_the_vae_needs(
    width: int | None, height: int | None, size: tuple[int, int]
) -> None:
    assert panel(PHOTO, width, height, 16).size == size


def test_a_fitting_panel_is_not_resampled_and_a_panel_without_area_refused() -> None:
    image = Image.effect_noise((64, 32), 80).convert("RGB")
    assert panel(image, 64, None, 16).tobytes() == image.tobytes()
    with pytest.raises(ValueError, match="0 x None pixels; give positive sides"):
        panel(image, 0, None, 16)


def test_the_mask_covers_the_right_half_and_nothing_else() -> None:
    source = torch.rand(2, 3, 4, 6)
    canvas, mask = diptych(source)
    assert torch.equal(left_half(canvas), source) and not right_half(canvas).any()
    assert not left_half(mask).any() and right_half(mask).all()
    assert mask.shape == (1, 1, 4, 12)
