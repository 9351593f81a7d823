"""Pictures that a diffusion model paints from prompts: Qwen-Image on a cluster, a small folder of its classes here."""

import hashlib
from typing import Any, Literal

import numpy as np

from viral.config import ModelConfig
from viral.data.sources.corpus import open_parquet
from viral.data.sources.source import Item, Needs, Reader, Source, choose
from viral.storage import Storage
from viral.tasks import Labelled


class TextToImage(Source):
    """One picture for each prompt, with noise that belongs to the prompt."""

    kind: Literal["text_to_image"]
    prompts: str
    """A text file with a prompt a line, or a Parquet file with a column of them, as DiffusionDB's metadata."""
    column: str = "prompt"
    base: str = "Qwen/Qwen-Image"
    """Folder or hub id of a text-to-image model in diffusers' layout."""
    model: ModelConfig = ModelConfig()
    steps: int = 50
    guidance: float = 4.0
    """Qwen-Image's true classifier-free guidance; 1 is without."""
    negative: str = " "
    longest: int = 800
    """Characters of a prompt that are read."""

    @property
    def gives(self) -> frozenset[str]:
        return frozenset({"caption"})

    def items(self, count: int, seed: int, needs: Needs) -> list[Item]:
        """Distinct prompts; one that is empty is none."""
        prompts = {" ".join(str(text).split())[: self.longest] for text in self._prompts() if text}
        if not prompts - {""}:
            raise ValueError(f"{self.prompts} holds no prompt")
        return choose(
            [Item(_hash(text)[:16], f"prompt/{_hash(text)}", {"prompt": text}) for text in sorted(prompts - {""})],
            count,
            seed,
        )

    def reader(self, device: str) -> Reader:
        """Loads the model; needs its licence to be accepted where that restricts use."""
        return _Painter(self, device)

    def _prompts(self) -> list[Any]:
        folder, _, name = self.prompts.rpartition("/")
        storage = Storage(folder or ".")
        if not name.endswith(".parquet"):
            return storage.read(name).decode().splitlines()
        file = open_parquet(storage, name)
        if self.column not in file.schema_arrow.names:
            raise ValueError(f"{self.prompts} has no column {self.column}; it has {file.schema_arrow.names}")
        return file.read(columns=[self.column]).column(0).to_pylist()


class _Painter:
    def __init__(self, config: TextToImage, device: str) -> None:
        from diffusers import DiffusionPipeline

        from viral.model.loading import base_path, compute_dtype, use_offload

        folder = base_path(config.base, config.model)
        dtype = compute_dtype(config.model, device)
        self._pipeline = DiffusionPipeline.from_pretrained(folder, torch_dtype=dtype)
        self._pipeline.set_progress_bar_config(disable=True)
        if config.model.offload is None:
            self._pipeline.to(device)
        use_offload(self._pipeline, config.model, device)
        self._config = config

    def __call__(self, item: Item, size: int) -> Labelled:
        import torch

        prompt = item.data["prompt"]
        painted = self._pipeline(
            prompt,
            negative_prompt=self._config.negative,
            true_cfg_scale=self._config.guidance,
            height=size,
            width=size,
            num_inference_steps=self._config.steps,
            generator=torch.Generator().manual_seed(int(_hash(prompt)[:15], 16)),
        ).images[0]
        about = {"model": self._config.base, "revision": self._config.model.revision, "steps": self._config.steps}
        return Labelled(np.array(painted.convert("RGB")), caption=prompt, about=about)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
