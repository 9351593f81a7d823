"""Visual analogies by an adapter on Qwen-Image-Edit: ours, VIRAL with plain LoRA, the authors' release."""

from collections.abc import Sequence
from typing import Any, Literal

from PIL.Image import Image as Pillow
from pydantic import Field

from viral.config import RunConfig
from viral.evaluation.peers.adapters import OURS, Adapter, adapter_licence, adapter_sha256, local_adapter
from viral.evaluation.peers.filtering import Filter, judges_of
from viral.evaluation.peers.painted import Painted, paint_together
from viral.evaluation.peers.pictures import answers_of, examples_of, query_of
from viral.evaluation.peers.words import words_of
from viral.evaluation.protocols.case import Case, Image
from viral.evaluation.protocols.method import Method
from viral.model.licences import Licence
from viral.model.text import NONE
from viral.sampling.editor import Editor, Pair


class Analogy(Painted):
    """Paints B' after the example pairs, with the roles, words and context mode that the adapter was trained in."""

    kind: Literal["analogy"]
    adapter: Adapter = OURS
    strength: float = 1.0
    guidance: float = Field(1.0, ge=1)
    """Away from `negative`; the authors' release is used at 4."""
    negative: str = NONE
    example_guidance: float = Field(1.0, ge=1)
    """Away from the change undone."""
    filter: Filter | None = None

    def licences(self, config: RunConfig) -> tuple[Licence, ...]:
        """Those of base and adapter."""
        return (*super().licences(config), adapter_licence(self.adapter, config))

    def record(self, config: RunConfig) -> dict[str, Any]:
        """Settings, base and adapter by their hashes; `ValueError` where the early filter has no steps left."""
        if self.filter:
            self.filter.check(self.steps_of(config))
        return {**super().record(config), "adapter_sha256": adapter_sha256(self.adapter, config)}

    def load(self, name: str, config: RunConfig, device: str) -> "AnalogyMethod":
        """The editor of the adapter."""
        self.licences(config)
        with local_adapter(self.adapter, config) as path:
            editor = Editor.load(self.base_of(config), path, device, config=config.model, strength=self.strength)
        return AnalogyMethod(name, self, editor, config)


class AnalogyMethod(Method):
    """Answers every case that has an example, and words where the adapter wants some."""

    def __init__(self, name: str, peer: Analogy, editor: Editor, config: RunConfig) -> None:
        super().__init__(name)
        self._peer, self._editor, self._config, self._steps = peer, editor, config, peer.steps_of(config)
        self._judges = judges_of(peer.filter, editor, peer.size, config.model) if peer.filter else None

    def answer(self, cases: Sequence[Case]) -> list[Image | None]:
        """Cases of one kind in batches of `evaluate.batch_size`; under the early filter one by one."""
        asked = [i for i, case in enumerate(cases) if self._can_answer(case)]
        if self._judges is not None:
            return answers_of({i: self._filtered(cases[i]) for i in asked}, cases)
        problems = {i: self._editor.problem(*self._request(cases[i]), **self._how) for i in asked}
        painted = paint_together(self._editor, problems, cases, self._steps, self._config.evaluate.batch_size)
        return answers_of(painted, cases)

    def _can_answer(self, case: Case) -> bool:
        return bool(case.examples) and (self._editor.text.regime != "instruction" or self._words(case) is not None)

    def _words(self, case: Case) -> str | None:
        return words_of(case, self._config) if self._editor.text.regime == "instruction" else None

    def _filtered(self, case: Case) -> Pillow:
        assert self._peer.filter is not None and self._judges is not None
        chosen, request = self._peer.filter, self._request(case)
        return self._editor.filtered(
            *request, judge=self._judges(request[2]), seeds=chosen.seeds(case), preview_steps=chosen.preview_steps,
            steps=self._steps, **self._how,
        ).image  # fmt: skip

    def _request(self, case: Case) -> tuple[list[Pair], Pillow, str | None]:
        return examples_of(case), query_of(case), self._words(case)

    @property
    def _how(self) -> dict[str, Any]:
        return {name: getattr(self._peer, name) for name in ("size", "guidance", "negative", "example_guidance")}
