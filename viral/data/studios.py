"""Where other scenes are painted and edited as told: a text-to-image model with an edit model, or the scene world."""

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from PIL import Image as Pillow
from pydantic import Field, TypeAdapter

from viral.config import ModelConfig
from viral.data.sources.source import Item
from viral.data.sources.text_to_image import TextToImage
from viral.data_config import Config
from viral.sampling.editor import Editor
from viral.scenes import apply, read_caption, read_instruction, render
from viral.tasks import Image, Labelled


@dataclass(frozen=True)
class Edited:
    """An edited picture, and what was truly done to it where the studio knows: JSON of [kind, parameters]."""

    image: Image
    done: str | None = None


class Loaded(ABC):
    """A studio at work; the same words and seed give the same pixels."""

    @abstractmethod
    def paint(self, caption: str, seed: int, size: int) -> Labelled:
        """A picture of what the caption says; `ValueError` says why there is none."""

    @abstractmethod
    def edit(self, painted: Labelled, instruction: str, seed: int) -> Edited:
        """A painted picture edited as told; `ValueError` says why it cannot be."""


class Studio(Config, ABC):
    """What paints and edits. Its fields are its configuration."""

    @abstractmethod
    def record(self) -> dict[str, Any]:
        """What names its models for good, kept with every row."""

    @abstractmethod
    def load(self, device: str) -> Loaded:
        """Its models, on every actor once."""


class SceneStudio(Studio):
    """The scene world, which paints what captions name and edits as instructions say, exactly."""

    kind: Literal["scenes"]

    def record(self) -> dict[str, Any]:
        return {"studio": "scenes"}

    def load(self, device: str) -> Loaded:
        return _Scenes()


class DiffusionStudio(Studio):
    """VIRAL's: Qwen-Image paints, Qwen-Image-Edit edits. With `model.offload` both share one card."""

    kind: Literal["diffusion"]
    painter: str = "Qwen/Qwen-Image"
    """Folder or hub id of a text-to-image model in diffusers' layout."""
    editor: str = "Qwen/Qwen-Image-Edit-2511"
    """Folder or hub id of an edit model that the platform reads."""
    model: ModelConfig = ModelConfig()
    steps: int = Field(40, ge=1)
    guidance: float = 4.0

    def record(self) -> dict[str, Any]:
        plain = {name: getattr(self, name) for name in ("painter", "editor", "steps", "guidance")}
        return {"studio": "diffusion", **plain, "revision": self.model.revision}

    def load(self, device: str) -> Loaded:
        return _Diffusion(self, device)


class _Scenes(Loaded):
    def paint(self, caption: str, seed: int, size: int) -> Labelled:
        image = render(read_caption(caption, seed), size).image
        return Labelled(image, caption=caption, about={"seed": seed})

    def edit(self, painted: Labelled, instruction: str, seed: int) -> Edited:
        assert painted.caption is not None
        kind, params = read_instruction(instruction)
        after = apply(read_caption(painted.caption, painted.about["seed"]), kind, params)
        return Edited(render(after, len(painted.image)).image, json.dumps([kind, params], sort_keys=True))


class _Diffusion(Loaded):
    def __init__(self, config: DiffusionStudio, device: str) -> None:
        self._config = config
        source = {"base": config.painter, "model": config.model, "steps": config.steps, "guidance": config.guidance}
        self._paint = TextToImage(kind="text_to_image", prompts="", **source).reader(device)
        self._edit = Editor.load(config.editor, None, device, config=config.model)

    def paint(self, caption: str, seed: int, size: int) -> Labelled:
        return self._paint(Item(caption, caption, {"prompt": caption}), size)

    def edit(self, painted: Labelled, instruction: str, seed: int) -> Edited:
        config, query = self._config, Pillow.fromarray(painted.image)
        steering = {"guidance": config.guidance, "negative": " "}
        told = self._edit([], query, instruction, steps=config.steps, seed=seed, size=len(painted.image), **steering)
        return Edited(np.array(told.image))


STUDIO: TypeAdapter = TypeAdapter(Annotated[SceneStudio | DiffusionStudio, Field(discriminator="kind")])
