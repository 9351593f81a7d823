"""Who writes the captions of other scenes: a language model, or a few rules where scenes and edits are our own."""

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from PIL import Image as Pillow
from pydantic import Field, TypeAdapter

from viral.config import fingerprint
from viral.data.annotators.talker import Answers, Talker
from viral.data.annotators.words import SCENE
from viral.data_config import Config
from viral.sampling.judge_prompt import Part
from viral.scenes import caption, read_instruction, sample_scene_for


class LanguageModel(Config):
    """A language model on this node or behind an OpenAI-compatible endpoint (VIRAL's paper: Qwen-Max)."""

    kind: Literal["talker"]
    talker: Talker

    def record(self) -> dict[str, Any]:
        """The model and the wording."""
        return {**self.talker.record(), **SCENE.record}

    def load(self, device: str) -> Answers:
        """The model, loaded or reached."""
        return self.talker.load(device)


class Rules(Config):
    """Rules that read the instruction of a scene's edit and describe another scene with what it needs."""

    kind: Literal["rules"]

    def record(self) -> dict[str, Any]:
        """The wording; the rules are this program's."""
        return {"model": "rules", **SCENE.record}

    def load(self, device: str) -> Answers:
        """The rules."""
        return RuleWriter()


@dataclass(frozen=True)
class RuleWriter:
    """Answers the request for an analogous scene as a language model would, and no other (implements `Answers`)."""

    def answer(self, message: list[Part]) -> str:
        """The caption of a scene that the instruction fits, another one for every caption that it is given."""
        words = "".join(part for part in message if isinstance(part, str))
        told = re.search(r"Caption: (?P<caption>.*) Instruction: (?P<instruction>.*)$", words, re.DOTALL)
        if told is None:
            raise ValueError(f"the rules answer {SCENE.id} alone, with words; got {words[:80]!r}")
        kind, params = read_instruction(told["instruction"])
        return caption(sample_scene_for(kind, params, int(fingerprint(told["caption"], told["instruction"])[:12], 16)))


WRITER: TypeAdapter = TypeAdapter(Annotated[LanguageModel | Rules, Field(discriminator="kind")])


def caption_of(said: str | None, picture: Any) -> str | Pillow.Image:
    """What a writer is told of a picture: its caption, or, where it has none, the picture itself."""
    return said if said else Pillow.fromarray(picture)
