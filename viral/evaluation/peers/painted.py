"""What all methods share that a base paints: which base, in how many steps, at what size."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, ClassVar

from PIL.Image import Image as Pillow
from pydantic import Field

from viral.config import RunConfig
from viral.data_config import Place, absolute
from viral.evaluation.peers.peer import Peer
from viral.evaluation.peers.words import words_record
from viral.evaluation.protocols.case import Case
from viral.model.architecture import is_fill
from viral.model.backbone import base_hash
from viral.model.licences import Licence, accept
from viral.model.velocity import Problem, batches
from viral.sampling.editor import Editor


class Painted(Peer):
    """A base, with or without an adapter; what is left out the run's configuration says."""

    fill: ClassVar[bool] = False
    """Whether it takes FLUX.1 Fill as its base, and not Qwen-Image-Edit."""
    base: Place | None = None
    """Folder or hub id (the run's base)."""
    steps: int | None = Field(None, ge=1)
    """Denoising steps (the run's `evaluate.steps`)."""
    size: int | None = Field(None, ge=16)
    """Side of the square to whose area pictures are brought (what the adapter was trained on, else `data.size`)."""

    def base_of(self, config: RunConfig) -> str:
        """The folder or hub id that is loaded."""
        return self.base or base_folder(config)

    def steps_of(self, config: RunConfig) -> int:
        """Of one picture."""
        return self.steps or config.evaluate.steps

    def licences(self, config: RunConfig) -> tuple[Licence, ...]:
        """That of the base; `ValueError` too for a base of the other kind."""
        base = self.base_of(config)
        if is_fill(base, config.model) != self.fill:
            wanted = "FLUX.1 Fill" if self.fill else "Qwen-Image-Edit"
            raise ValueError(f"{base} is not a base of the kind {wanted}, which this method paints on; give it one")
        return (accept(base, config.model.accept_licences, config.model.revision),)

    def record(self, config: RunConfig) -> dict[str, Any]:
        """Settings and what stands in for those left out, the words for tasks, and the base by its hash."""
        return {
            **self.settings, "steps": self.steps_of(config), "data_size": config.data.size,
            "held": [config.model.dtype, config.model.quantise], "tasks": words_record(config),
            "base_sha256": base_hash(self.base_of(config), config.model),
        }  # fmt: skip


def base_folder(config: RunConfig) -> str:
    """The run's base."""
    return absolute(config.base_folder())


def paint_together(
    editor: Editor, problems: Mapping[int, Problem], cases: Sequence[Case], steps: int, batch_size: int
) -> dict[int, Pillow]:
    """Pictures of problems by the place of their case, whose seed they start from; those of one kind in batches."""
    painted: dict[int, Pillow] = {}
    for places in batched(problems, batch_size):
        for own, joint in batches([problems[i] for i in places]):
            together = [places[i] for i in own]
            edits = editor.paint(joint, [cases[i].seed for i in together], steps)
            painted |= {i: edit.image for i, edit in zip(together, edits, strict=True)}
    return painted


def batched(places: Iterable[int], size: int) -> Iterator[list[int]]:
    """Runs of at most `size`."""
    rest = iter(places)
    while chunk := list(islice(rest, size)):
        yield chunk
