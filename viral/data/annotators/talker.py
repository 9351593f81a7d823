"""A model that is spoken to: Qwen2.5-VL on this node, or any model behind an OpenAI-compatible endpoint."""

import os
from typing import Any, Protocol, runtime_checkable

from pydantic import model_validator

from viral.data.annotators.weights import find_weights
from viral.data_config import Config

MAX_TOKENS = 600


@runtime_checkable
class Answers(Protocol):
    """What a loaded talker is: it replies to words and pictures."""

    def answer(self, message: list[Any]) -> str:
        """The reply to a message of words and pictures."""
        ...


class Talker(Config):
    """Either `model` (folder or hub id) or `url` and `name`."""

    model: str | None = None
    revision: str | None = None
    url: str | None = None
    """Address before /chat/completions, e.g. http://host:8000/v1."""
    name: str | None = None
    """What the endpoint calls its model."""
    key_from: str | None = None
    """Environment variable that holds the endpoint's key."""
    deadline: float = 120.0

    @model_validator(mode="after")
    def _check(self) -> "Talker":
        if (self.model is None) == (self.url is None) or (self.url is None) != (self.name is None):
            raise ValueError("give either model, or url and name of an endpoint's model")
        return self

    def record(self) -> dict[str, Any]:
        """Model, commit and sha256; of an endpoint its model's name."""
        if self.model is None:
            return {"model": self.name, "endpoint": self.url}
        return find_weights(self.model, self.revision).record

    def load(self, device: str) -> Answers:
        """The model, or the endpoint with the key that is set here."""
        # Imported here, as every actor that reads pictures would else wait for torch.
        from viral.sampling.judge_endpoint import Endpoint

        if self.model is None:
            assert self.url is not None and self.name is not None
            key = os.environ.get(self.key_from) if self.key_from else None
            return Endpoint(self.url, self.name, key, deadline=self.deadline, max_tokens=MAX_TOKENS)
        import torch

        from viral.sampling.judge_vlm import VisionLanguageModel

        dtype = torch.float32 if device == "cpu" else torch.bfloat16
        return VisionLanguageModel.load(str(find_weights(self.model, self.revision).folder), device, dtype)
