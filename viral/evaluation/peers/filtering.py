"""The early filter as a setting of a method: how many seeds are previewed, and who picks."""

from collections.abc import Callable
from typing import Any

from pydantic import Field

from viral.config import ModelConfig
from viral.data_config import Config
from viral.evaluation.protocols.case import Case
from viral.sampling.editor import Editor
from viral.sampling.instruct import InstructEditor
from viral.sampling.judge_choice import choose_judge
from viral.sampling.judges import Judge


class Filter(Config):
    """ICEdit 3.3: M noises, m steps each, the winner of a tournament runs all steps."""

    candidates: int = Field(8, ge=2)
    """M; the first is the case's own seed, so that a filter that learns nothing changes nothing."""
    preview_steps: int = Field(4, ge=1)
    """m."""
    judge: str = "direction"
    """`consensus`, `direction`, `cycle`, `words`, URL#MODEL of an endpoint, or folder or hub id of a Qwen2.5-VL."""

    def seeds(self, case: Case) -> list[int]:
        """The noises of a case."""
        return list(range(case.seed, case.seed + self.candidates))

    def check(self, steps: int) -> None:
        """`ValueError` where a picture takes too few steps to be judged before its last."""
        if self.preview_steps >= steps:
            raise ValueError(
                f"filter.preview_steps is {self.preview_steps}, expected fewer than the {steps} steps of a picture; "
                f"set evaluate.steps={2 * self.preview_steps} or more, or fewer preview_steps"
            )


Judges = Callable[[str | None], Judge]
"""The judge of requests with these words."""


def judges_of(chosen: Filter, editor: Editor | InstructEditor, size: int | None, config: ModelConfig) -> Judges:
    """Judges for an editor's candidates; one that is a model is loaded once, the others are made for words."""
    named: dict[str, Any] = {"size": size, "accept_licences": config.accept_licences}
    if chosen.judge in ("cycle", "direction"):
        return lambda words: choose_judge(chosen.judge, editor, words, **named)
    judge = choose_judge(chosen.judge, editor, **named)
    return lambda words: judge
