"""What an example pair shows, in words: as a vision-language model says it, or the phrase that an embedder picks."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from viral.config import RunConfig
from viral.data.annotators.instructions import Instructions
from viral.data.annotators.talker import Talker
from viral.data.annotators.weights import find_weights
from viral.data_config import EMBEDDED_CLIP, Config, Place
from viral.evaluation.peers.pictures import pillow
from viral.evaluation.protocols.case import Case, Image
from viral.sampling.embedder import ClipEmbedder
from viral.sampling.judge_prompt import AnswerError
from viral.scenes import EDITS, instruction
from viral.tasks import Labelled, all_tasks

TEXTS_OF_A_BATCH = 256


class Chooser(Config):
    """Stands in for a vision-language model where there is none: the phrase whose embedding lies where the step from
    A to A' points, in a CLIP that was trained for that, as the embedded one."""

    embedder: Place = str(EMBEDDED_CLIP)
    """Folder or hub id in open_clip's layout."""
    phrases: tuple[str, ...] = ()
    """What may be said; none takes the tasks of the registry and all edits of the scene world."""

    def record(self) -> dict[str, Any]:
        """Settings, and the model by commit and sha256."""
        return {**self.model_dump(mode="json"), **find_weights(self.embedder).record}


Deriver = Talker | Chooser


class PairWords(ABC):
    """Words for a case's first example; each pair is looked at once."""

    def __init__(self) -> None:
        self._known: dict[bytes, str | None] = {}

    def __call__(self, case: Case) -> str | None:
        if not case.examples:
            return None
        source, target = case.examples[0]
        key = hashlib.sha256(source.tobytes() + target.tobytes()).digest()
        if key not in self._known:
            self._known[key] = self._derive(source, target)
        return self._known[key]

    @abstractmethod
    def _derive(self, source: Image, target: Image) -> str | None: ...


class SpokenWords(PairWords):
    """The instruction that a vision-language model gives; none where its reply is no instruction."""

    def __init__(self, talker: Talker, device: str) -> None:
        super().__init__()
        self._label = Instructions(kind="vlm_instruction", talker=talker).labeller(device)

    def _derive(self, source: Image, target: Image) -> str | None:
        try:
            return self._label(Labelled(source, target=target)).instruction
        except AnswerError:
            return None


class ClosestWords(PairWords):
    """The phrase of a `Chooser`."""

    def __init__(self, chooser: Chooser, config: RunConfig, device: str) -> None:
        super().__init__()
        self._phrases = chooser.phrases or tuple(dict.fromkeys(_known_phrases(config)))
        self._embed = ClipEmbedder.load(chooser.embedder, device)
        self._directions = _embedded(chooser.embedder, self._phrases, device)

    def _derive(self, source: Image, target: Image) -> str:
        before, after = self._embed([pillow(source), pillow(target)])
        return self._phrases[int((self._directions @ (after - before)).argmax())]


def _known_phrases(config: RunConfig) -> Iterator[str]:
    for task in all_tasks(config.tasks).values():
        if task.instruction is not None:
            yield task.instruction
    for kind, edit in EDITS.items():
        for values in product(*edit.choices.values()):
            yield instruction(kind, dict(zip(edit.choices, values, strict=True)))


@lru_cache(maxsize=1)
def _embedded(embedder: str, phrases: tuple[str, ...], device: str) -> Float[Tensor, "n d"]:
    """Vectors of the phrases; some thousands take seconds."""
    embed = ClipEmbedder.load(embedder, device)
    starts = range(0, len(phrases), TEXTS_OF_A_BATCH)
    return torch.cat([embed.words(list(phrases[start : start + TEXTS_OF_A_BATCH])) for start in starts])
