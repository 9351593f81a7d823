from pathlib import Path

import pytest
import torch
from diffusers import QwenImageEditPlusPipeline
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as edit_plus
from PIL import Image

from viral.model.backbone import load_backbone
from viral.model.text import NONE, TextEncoder, sentence


@pytest.fixture(scope="module")
def texts(tiny_base: Path) -> QwenImageEditPlusPipeline:
    pipeline = load_backbone(str(tiny_base), parts=("text",)).texts
    assert pipeline is not None
    return pipeline


IMAGES = [Image.new("RGB", size, colour) for size, colour in (((40, 40), "red"), ((64, 32), "blue"), ((32, 48), "tan"))]


def test_without_images_words_are_encoded_once(texts: QwenImageEditPlusPipeline) -> None:
    passes = []
    hook = texts.text_encoder.register_forward_hook(lambda *_: passes.append(1))
    none, told = TextEncoder(texts, "none"), TextEncoder(texts, "instruction")
    assert torch.equal(none(None, IMAGES), none(None, IMAGES[:1]))
    assert torch.equal(told("tint it red", IMAGES), told("tint it red", []))
    assert len(passes) == 2
    hook.remove()
    assert torch.equal(none(None, []), texts.encode_prompt(NONE)[0])
    assert torch.equal(told("tint it red", []), texts.encode_prompt("tint it red")[0])


def test_the_sentence_sees_the_images_as_the_pipeline_shows_them(
    texts: QwenImageEditPlusPipeline, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edit_plus, "CONDITION_IMAGE_SIZE", 96 * 96)
    monkeypatch.setattr(edit_plus, "VAE_IMAGE_SIZE", 32 * 32)
    pipeline = QwenImageEditPlusPipeline.from_pretrained(tiny_base, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    seen = []
    hook = pipeline.transformer.txt_norm.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    pipeline(
        image=IMAGES, prompt=sentence(1), height=32, width=32, num_inference_steps=2, true_cfg_scale=1.0,
        output_type="latent",
    )  # fmt: skip
    hook.remove()
    ours = TextEncoder(texts, "sentence")(None, IMAGES)
    torch.testing.assert_close(ours, seen[0], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(ours, TextEncoder(texts, "sentence")(None, IMAGES[::-1])[:, : ours.shape[1]])


def test_the_sentence_names_every_pair() -> None:
    assert sentence(1) == "Edit image 3 based on the transformation from image 1 to image 2."
    assert "image 5" in sentence(2)
    assert "from image 3 to image 4" in sentence(2)


def test_instructions_that_the_regime_cannot_use_are_refused(texts: QwenImageEditPlusPipeline) -> None:
    with pytest.raises(ValueError, match="takes none"):
        TextEncoder(texts, "none")("tint it red", IMAGES)
    with pytest.raises(ValueError, match="needs one"):
        TextEncoder(texts, "instruction")(None, IMAGES)
