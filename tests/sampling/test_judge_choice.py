from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from viral.config import AdapterConfig
from viral.model.adapter_files import AdapterCard
from viral.model.backbone import load_backbone
from viral.sampling.denoise import start_noise
from viral.sampling.editor import Editor
from viral.sampling.instruct import InstructEditor
from viral.sampling.judge_choice import choose_judge, cycle_judge
from viral.sampling.judge_vlm import VLMJudge
from viral.sampling.judges import Candidate, Request


@pytest.fixture(scope="module")
def editor(tiny_base: Path) -> Editor:
    return Editor(load_backbone(str(tiny_base)), None, None)


def picture(colour: str) -> Image.Image:
    return Image.new("RGB", (32, 32), colour)


def test_a_judge_is_named_by_a_word_a_model_or_an_address(editor: Editor, tiny_base: Path) -> None:
    names = [choose_judge(name, editor).name for name in ("cycle", "direction", "consensus", "http://host:1/v1#m")]
    assert names[:3] == ["cycle", "direction in latent statistics", "consensus"]
    assert names[3].startswith("endpoint m")
    assert isinstance(choose_judge(str(tiny_base), editor), VLMJudge)


def test_a_judge_that_cannot_be_is_refused(editor: Editor, fill_base: Path) -> None:
    with pytest.raises(ValueError, match="write http://host/v1#MODEL"):
        choose_judge("http://host/v1", editor)
    with pytest.raises(ValueError, match="neither a folder nor a hub id"):
        choose_judge("nowhere", editor)
    with pytest.raises(ValueError, match="Research License"):
        choose_judge("Qwen/Qwen2.5-VL-3B-Instruct", editor)
    with pytest.raises(ValueError, match="needs example pairs, which FLUX"):
        choose_judge("cycle", InstructEditor.load(str(fill_base)))


def test_the_cycle_judge_asks_in_the_words_of_the_request(editor: Editor) -> None:
    request = Request(((picture("red"), picture("blue")),), picture("green"), "tint it red")
    candidate = Candidate(lambda: picture("black"), start_noise([0], (16, 8, 8)))
    scores = {words: cycle_judge(editor, words, size=32).score(request, candidate) for words in ("tint it red", "x")}
    assert len(set(scores.values())) == 2


def test_the_cycle_judge_shows_a_sentences_encoder_the_swapped_images(
    editor: Editor, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = AdapterCard(adapter=AdapterConfig(), base="", base_sha256="", text="sentence", size=32, steps=0)
    own = Editor(editor.backbone, card, None)
    seen: list[tuple[str, int]] = []
    encode: Callable[..., torch.Tensor] = own.text.say
    monkeypatch.setattr(
        own.text, "say", lambda words, images: (seen.append((words, len(images))), encode(words, images))[1]
    )
    request = Request(((picture("red"), picture("blue")),), picture("green"))
    candidate = Candidate(lambda: picture("black"), start_noise([0], (16, 8, 8)))
    cycle_judge(own).score(request, candidate)
    assert seen == [("Edit image 3 based on the transformation from image 1 to image 2.", 3)]
