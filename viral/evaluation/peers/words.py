"""What a method that reads is told of a case: nothing, its instruction or task in words, or what its example shows."""

from collections.abc import Callable
from typing import Literal

from viral.config import RunConfig
from viral.data.annotators.talker import Talker
from viral.evaluation.peers.derived import ClosestWords, Deriver, SpokenWords
from viral.evaluation.protocols.case import Case
from viral.tasks import all_tasks, describe_task

Told = Literal["nothing", "instruction", "derived"]
"""Nothing; the case's instruction, else its task in words; or what the example pair is seen to show."""

Words = Callable[[Case], str | None]
"""What is told of a case; none where there is nothing to tell."""


def told_words(told: Told, deriver: Deriver, config: RunConfig, device: str) -> Words:
    """How cases are put into words; loads the model that derives them, where they are derived."""
    if told == "nothing":
        return lambda case: None
    if told == "instruction":
        return lambda case: words_of(case, config)
    return SpokenWords(deriver, device) if isinstance(deriver, Talker) else ClosestWords(deriver, config, device)


def words_of(case: Case, config: RunConfig) -> str | None:
    """The case's own instruction, else the words of its task."""
    return case.instruction or describe_task(case.task, config.tasks).instruction


def words_record(config: RunConfig) -> dict[str, str | None]:
    """What `words_of` says of tasks."""
    return {name: task.instruction for name, task in all_tasks(config.tasks).items()}
