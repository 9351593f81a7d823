"""The state of a training run: whole, by name, checked on the way back in, with the one before to fall back on."""

import hashlib
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors.torch import load, save

from viral.storage import Storage
from viral.train.state import TrainingTensors, grouped

KEEP = 2
"""Checkpoints kept: the newest, and one to fall back on."""


class Contents(BaseModel):
    """What vouches for a checkpoint: step-XXXXXX.json, written after the tensors beside it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: int
    """Optimizer steps taken. Sample numbers, noise and learning rate follow from it and the configuration."""
    fingerprint: str
    """Of the run's configuration and data."""
    size: int
    sha256: str


@dataclass(frozen=True)
class Checkpoint:
    """Where a run can go on."""

    step: int
    tensors: TrainingTensors


class Checkpoints:
    """The last two checkpoints of a run.

    They hold adapter, its average and the optimizer's state, never the frozen base, and depend on neither the number of
    workers nor the ZeRO stage. There is no random state to keep, as every draw is a function of the seed and the
    sample's number.
    """

    def __init__(self, storage: Storage, fingerprint: str) -> None:
        self.storage, self.fingerprint = storage, fingerprint

    def save(self, step: int, tensors: TrainingTensors) -> None:
        """Write a checkpoint, durable when this returns, then drop what is older than the last two."""
        data = save(tensors.flat())
        digest = hashlib.sha256(data).hexdigest()
        contents = Contents(step=step, fingerprint=self.fingerprint, size=len(data), sha256=digest)
        self.storage.write(_tensors(step), data)
        self.storage.write(_contents(step), contents.model_dump_json(indent=1).encode())
        for old in [known for known in self.steps() if known <= step][:-KEEP]:
            # What vouches for it goes first: a half deleted checkpoint must not look whole.
            self.storage.delete(_contents(old))
            self.storage.delete(_tensors(old))

    def steps(self) -> list[int]:
        """Steps there are checkpoints of, good or not, ascending."""
        return sorted(
            int(name[5:-5]) for name in self.storage.list() if name.startswith("step-") and name.endswith(".json")
        )

    def newest(self) -> tuple[Checkpoint | None, list[str]]:
        """The newest good checkpoint, none if there is none, and what is wrong with those that were passed over."""
        troubles = []
        for step in reversed(self.steps()):
            try:
                return self.load(step), troubles
            except ValueError as error:
                troubles.append(str(error))
        return None, troubles

    def load(self, step: int) -> Checkpoint:
        """The checkpoint of a step; `ValueError` says what is wrong with it."""
        name = f"{self.storage}/{_tensors(step)}"
        try:
            contents = Contents.model_validate_json(self.storage.read(_contents(step)))
        except ValidationError:
            raise ValueError(
                f"checkpoint {self.storage}/{_contents(step)} is damaged: no whole JSON of a checkpoint"
            ) from None
        if contents.fingerprint != self.fingerprint:
            raise ValueError(
                f"checkpoint {name} is of another run ({contents.fingerprint}, this one is {self.fingerprint})"
            )
        data = self.storage.read(_tensors(step))
        if hashlib.sha256(data).hexdigest() != contents.sha256:
            raise ValueError(
                f"checkpoint {name} is damaged: {len(data)} bytes, {contents.size} were written, sha256 differs"
            )
        return Checkpoint(step, grouped(load(data)))


def _tensors(step: int) -> str:
    return f"step-{step:06d}.safetensors"


def _contents(step: int) -> str:
    return f"step-{step:06d}.json"
