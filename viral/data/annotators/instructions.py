"""Edits in words: the instruction that turns one picture into the other, and scenes that it fits as well."""

from dataclasses import replace
from typing import Any, ClassVar, Literal

from PIL import Image as Pillow

from viral.data.annotators.annotator import Annotator, Labeller
from viral.data.annotators.talker import Answers, Talker
from viral.data.annotators.words import INSTRUCTION, SCENE
from viral.sampling.judge_prompt import AnswerError
from viral.tasks import Labelled

MOST_WORDS = 40
SCENE_WORDS = (8, 90)
"""Fewer or more words than this are no caption of a scene: a refusal, or a story."""


class Instructions(Annotator):
    """The instruction of a pair that has none, as a vision-language model sees it."""

    gives: ClassVar[tuple[str, ...]] = ("instruction",)
    kind: Literal["vlm_instruction"]
    talker: Talker

    def record(self) -> dict[str, Any]:
        """The model and the wording."""
        return {**self.talker.record(), **INSTRUCTION.record}

    def labeller(self, device: str) -> Labeller:
        """The model, loaded or reached."""
        model = self.talker.load(device)

        def label(labelled: Labelled) -> Labelled:
            if labelled.target is None:
                raise ValueError("an instruction is derived from a pair, and the picture has no target")
            if labelled.instruction is not None:
                return labelled
            before, after = (Pillow.fromarray(image) for image in (labelled.image, labelled.target))
            said = _one_sentence(model.answer(INSTRUCTION.fill(before=before, after=after)), (1, MOST_WORDS))
            return replace(labelled, instruction=said)

        return label


def analogous_scene(model: Answers, caption: str | Pillow.Image, instruction: str) -> str:
    """The caption of another scene that an instruction fits as well; `ValueError` where the model gave none.

    `caption` is the picture itself where it has none, which takes a model that sees.
    """
    return _one_sentence(model.answer(SCENE.fill(caption=caption, instruction=instruction)), SCENE_WORDS)


def _one_sentence(answer: str, words: tuple[int, int]) -> str:
    """The answer without quotes and line breaks; `AnswerError` where it is shorter or longer than can be meant."""
    said = " ".join(answer.split()).strip("\"'` ")
    count = len(said.split())
    if not words[0] <= count <= words[1]:
        raise AnswerError(f"the model answered in {count} words, expected {words[0]} to {words[1]}: {said[:80]!r}")
    return said
