"""Any inpainting model as an analogist: A beside A', under it B beside a hole (VisualPrompt, IMProv, FLUX.1 Fill)."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from diffusers import AutoPipelineForInpainting, DiffusionPipeline, FluxFillPipeline
from pydantic import Field

from viral.config import RunConfig
from viral.evaluation.peers.canvas import grid_of, last_cell
from viral.evaluation.peers.pictures import query_of, sized_as
from viral.evaluation.peers.weighted import Weighted
from viral.evaluation.peers.words import words_of, words_record
from viral.evaluation.protocols.case import Case, Image
from viral.evaluation.protocols.method import Method
from viral.model.hub import PARTS
from viral.model.loading import compute_dtype, use_offload
from viral.sampling.editor import fit

MULTIPLE = 16
"""Pixels that the sides of a cell are multiples of, which suits every pipeline of diffusers."""


class Grid(Weighted):
    """An inpainting pipeline of diffusers that fills the last cell of a grid; words it gets are those of the case."""

    files: ClassVar[tuple[str, ...]] = PARTS
    kind: Literal["grid"]
    size: int = Field(512, ge=2 * MULTIPLE)
    """Side of the square of a 2x2 grid's area in pixels; cells keep the query's aspect, further pairs add rows."""
    steps: int | None = Field(None, ge=1)
    """Denoising steps (the run's `evaluate.steps`)."""
    guidance: float | None = None
    """Scale of guidance (the pipeline's own)."""
    reads: bool = True
    """Whether the case's words are the prompt; else it is empty."""

    def record(self, config: RunConfig) -> dict[str, Any]:
        """Settings, the words for tasks, and the model by commit and sha256."""
        told = words_record(config) if self.reads else None
        return {**super().record(config), "steps": self.steps or config.evaluate.steps, "tasks": told}

    def load(self, name: str, config: RunConfig, device: str) -> "GridMethod":
        """The pipeline, held as `config.model` says."""
        self.licences(config)
        folder = self.weights().folder
        own = DiffusionPipeline.load_config(folder)["_class_name"]
        # FLUX.1 Fill is no strength-and-blend inpainter and not among those that the automatic class knows.
        cls = FluxFillPipeline if own == FluxFillPipeline.__name__ else AutoPipelineForInpainting
        pipeline = cls.from_pretrained(folder, torch_dtype=compute_dtype(config.model, device))
        pipeline.set_progress_bar_config(disable=True)
        if config.model.offload is None:
            pipeline.to(device)
        use_offload(pipeline, config.model, device)
        return GridMethod(name, self, pipeline, config)


class GridMethod(Method):
    """Answers every case that has an example."""

    def __init__(self, name: str, peer: Grid, pipeline: DiffusionPipeline, config: RunConfig) -> None:
        super().__init__(name)
        self._peer, self._config = peer, config
        self._fill: Any = pipeline

    def answer(self, cases: Sequence[Case]) -> list[Image | None]:
        """One by one."""
        return [self._answer(case) if case.examples else None for case in cases]

    def _answer(self, case: Case) -> Image:
        picture, hole = grid_of(case, fit(query_of(case), self._peer.size // 2, MULTIPLE).size)
        guidance = {} if self._peer.guidance is None else {"guidance_scale": self._peer.guidance}
        filled = self._fill(
            prompt=(words_of(case, self._config) or "") if self._peer.reads else "",
            image=picture, mask_image=hole, width=picture.width, height=picture.height, strength=1.0,
            num_inference_steps=self._peer.steps or self._config.evaluate.steps,
            generator=torch.Generator().manual_seed(case.seed), **guidance,
        ).images[0]  # fmt: skip
        return sized_as(last_cell(filled, case), case.query)
