"""Specialists: a network that labels pictures, such as Depth Anything, as the answer to its own task."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, field_validator

from viral.config import RunConfig
from viral.data.annotators.annotator import Labeller
from viral.data.annotators.controlnet import LineDrawing, Midas, NormalBae, OpenPose, SoftEdges
from viral.data.annotators.depth_anything import DepthAnything
from viral.data_config import absolute
from viral.evaluation.peers.peer import Peer
from viral.evaluation.protocols.case import Case, Image
from viral.evaluation.protocols.method import Method
from viral.model.licences import Licence, accept
from viral.tasks import Labelled, Task, describe_task

Networks = DepthAnything | Midas | NormalBae | SoftEdges | LineDrawing | OpenPose


class Specialist(Peer):
    """An annotator whose labels the task renders as it renders the truth's; it answers that task and no other."""

    kind: Literal["specialist"]
    task: str
    annotator: Annotated[Networks, Field(discriminator="kind")]
    """As in `dataset.annotators`, e.g. {kind: depth_anything}."""

    @field_validator("annotator")
    @classmethod
    def _with_whole_path(cls, annotator: Networks) -> Networks:
        return annotator.model_copy(update={"model": absolute(annotator.model)})

    def licences(self, config: RunConfig) -> tuple[Licence, ...]:
        """That of the network."""
        return (accept(self.annotator.model, config.model.accept_licences, self.annotator.revision),)

    def record(self, config: RunConfig) -> dict[str, Any]:
        """Settings, and the network by commit and sha256."""
        return {**self.settings, **self.annotator.record()}

    def load(self, name: str, config: RunConfig, device: str) -> "SpecialistMethod":
        """The network."""
        self.licences(config)
        return SpecialistMethod(name, describe_task(self.task, config.tasks), self.annotator.labeller(device))


class SpecialistMethod(Method):
    """Answers the cases of one task."""

    def __init__(self, name: str, task: Task, label: Labeller) -> None:
        super().__init__(name)
        self._task, self._label = task, label

    def answer(self, cases: Sequence[Case]) -> list[Image | None]:
        """One by one."""
        return [self._answer(case) if case.task == self._task.name else None for case in cases]

    def _answer(self, case: Case) -> Image:
        labelled = self._label(Labelled(case.query))
        return self._task.pair(labelled, np.random.default_rng(case.seed)).target
