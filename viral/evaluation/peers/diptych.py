"""ICEdit: FLUX.1 Fill paints the right half of a diptych as the prompt says, with an adapter or without training."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from viral.config import RunConfig
from viral.evaluation.peers.adapters import OURS, Adapter, adapter_licence, adapter_sha256, local_adapter
from viral.evaluation.peers.filtering import Filter, judges_of
from viral.evaluation.peers.painted import Painted
from viral.evaluation.peers.pictures import query_of, sized_as
from viral.evaluation.peers.words import words_of
from viral.evaluation.protocols.case import Case, Image
from viral.evaluation.protocols.method import Method
from viral.model.licences import Licence
from viral.sampling.instruct import InstructEditor


class Diptych(Painted):
    """Edits the query as the case's words say; `size` is the width of one panel."""

    fill: ClassVar[bool] = True
    kind: Literal["icedit"]
    adapter: Adapter | None = OURS
    """None is the paper's training-free framework."""
    strength: float = 1.0
    guidance: float = 30.0
    """FLUX.1 Fill's own; the authors' adapters are used at 50."""
    template: str | None = None
    """Around the instruction (what the adapter was trained with, else the paper's); `{instruction}` is no context."""
    filter: Filter | None = None

    def licences(self, config: RunConfig) -> tuple[Licence, ...]:
        """Those of base and adapter."""
        own = () if self.adapter is None else (adapter_licence(self.adapter, config),)
        return (*super().licences(config), *own)

    def record(self, config: RunConfig) -> dict[str, Any]:
        """Settings, base and adapter by their hashes; `ValueError` where the early filter has no steps left."""
        if self.filter:
            self.filter.check(self.steps_of(config))
        own = None if self.adapter is None else adapter_sha256(self.adapter, config)
        return {**super().record(config), "adapter_sha256": own}

    def load(self, name: str, config: RunConfig, device: str) -> "DiptychMethod":
        """The instruction editor."""
        self.licences(config)
        return DiptychMethod(name, self, self._editor(config, device), config)

    def _editor(self, config: RunConfig, device: str) -> InstructEditor:
        how: dict[str, Any] = {"device": device, "config": config.model, "strength": self.strength}
        if self.adapter is None:
            return InstructEditor.load(self.base_of(config), **how)
        with local_adapter(self.adapter, config) as path:
            return InstructEditor.load(self.base_of(config), path, **how)


class DiptychMethod(Method):
    """Answers the cases for which there are words."""

    def __init__(self, name: str, peer: Diptych, editor: InstructEditor, config: RunConfig) -> None:
        super().__init__(name)
        self._peer, self._editor, self._config = peer, editor, config
        self._judges = judges_of(peer.filter, editor, peer.size, config.model) if peer.filter else None

    def answer(self, cases: Sequence[Case]) -> list[Image | None]:
        """One by one."""
        told = [(case, words_of(case, self._config)) for case in cases]
        return [None if words is None else self._edit(case, words) for case, words in told]

    def _edit(self, case: Case, words: str) -> Image:
        peer, query = self._peer, query_of(case)
        how: dict[str, Any] = {
            "steps": peer.steps_of(self._config), "guidance": peer.guidance, "width": self._width,
            "template": peer.template,
        }  # fmt: skip
        if peer.filter is None or self._judges is None:
            return sized_as(self._editor(query, words, seed=case.seed, **how).image, case.query)
        how |= {"judge": self._judges(words), "seeds": peer.filter.seeds(case)}
        painted = self._editor.filtered(query, words, preview_steps=peer.filter.preview_steps, **how)
        return sized_as(painted.image, case.query)

    @property
    def _width(self) -> int | None:
        """None leaves it to the adapter."""
        trained = self._editor.card is not None
        return self._peer.size or (None if trained else self._config.data.size)
