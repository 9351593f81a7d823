"""The frozen base: shown the query alone, told nothing, the task, or what a model sees in the example pair."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from viral.config import RunConfig
from viral.data.annotators.talker import Talker
from viral.evaluation.peers.derived import Chooser, Deriver
from viral.evaluation.peers.painted import Painted, paint_together
from viral.evaluation.peers.pictures import answers_of, query_of
from viral.evaluation.peers.words import Told, Words, told_words
from viral.evaluation.protocols.case import Case, Image
from viral.evaluation.protocols.method import Method
from viral.model.licences import Licence, accept
from viral.model.text import NONE, TextEncoder
from viral.model.velocity import EditVelocity
from viral.sampling.editor import Editor


class Base(Painted):
    """The base without an adapter and without the example."""

    kind: Literal["base"]
    words: Told = "nothing"
    deriver: Deriver | None = None
    """Who puts a pair into words for `words` derived (the run's `perceptual.vlm`, and without one an embedder)."""
    shown: bool = False
    """Whether the text encoder sees the query too, as in Qwen-Image-Edit's own pipeline; the shipped base does not."""
    guidance: float = Field(1.0, ge=1)
    """Away from `negative`; Qwen-Image-Edit's own pipeline has 4."""
    negative: str = NONE

    def licences(self, config: RunConfig) -> tuple[Licence, ...]:
        """Those of the base and of the model that derives words."""
        deriver = self.deriver_of(config) if self.words == "derived" else None
        if not isinstance(deriver, Talker) or deriver.model is None:
            return super().licences(config)
        return (*super().licences(config), accept(deriver.model, config.model.accept_licences, deriver.revision))

    def record(self, config: RunConfig) -> dict[str, Any]:
        """Settings, the base and what derives words by their hashes."""
        deriver = self.deriver_of(config).record() if self.words == "derived" else None
        return {**super().record(config), "deriver": deriver}

    def deriver_of(self, config: RunConfig) -> Deriver:
        """Who puts pairs into words."""
        return self.deriver or (Talker(**config.perceptual.vlm) if config.perceptual.vlm else Chooser())

    def load(self, name: str, config: RunConfig, device: str) -> "BaseMethod":
        """The base as an editor."""
        self.licences(config)
        editor = Editor.load(self.base_of(config), None, device, config=config.model)
        return BaseMethod(name, self, editor, told_words(self.words, self.deriver_of(config), config, device), config)


class BaseMethod(Method):
    """Answers every case where it is told nothing, else those for which there are words."""

    def __init__(self, name: str, peer: Base, editor: Editor, words: Words, config: RunConfig) -> None:
        super().__init__(name)
        assert editor.backbone.texts is not None
        self._peer, self._editor, self._words, self._config = peer, editor, words, config
        self._text = TextEncoder(editor.backbone.texts, "sentence" if peer.shown else "instruction")

    def answer(self, cases: Sequence[Case]) -> list[Image | None]:
        """Cases of one kind in batches of `evaluate.batch_size`."""
        told = {i: self._told(case) for i, case in enumerate(cases)}
        problems = {i: self._problem(cases[i], words) for i, words in told.items() if words is not None}
        steps, batch_size = self._peer.steps_of(self._config), self._config.evaluate.batch_size
        return answers_of(paint_together(self._editor, problems, cases, steps, batch_size), cases)

    def _told(self, case: Case) -> str | None:
        return NONE if self._peer.words == "nothing" else self._words(case)

    def _problem(self, case: Case, words: str) -> EditVelocity:
        query, peer = query_of(case), self._peer
        negative = self._text.say(peer.negative, [query]) if peer.guidance > 1 else None
        return self._editor.velocity(
            [self._editor.encode(query, peer.size or self._config.data.size)], self._text.say(words, [query]),
            guidance=peer.guidance, negative=negative,
        )  # fmt: skip
