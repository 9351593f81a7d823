"""What goes over the wire: the answers of the HTTP interface and its errors, in OpenAI's shapes where it has one."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Wire(BaseModel):
    """A closed, frozen message."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ServedModel(Wire):
    """What the server paints with, as `GET /v1/models` lists it."""

    id: str
    """Name of the base, or `adapter@alias`."""
    object: Literal["model"] = "model"
    owned_by: str = "viral"
    kind: Literal["base", "adapter"]
    sha256: str
    base: str
    """Name of the base it stands on; its own name for a base."""
    version: str | None = None
    """Version in the registry; null for a base and for an adapter folder."""
    size: int | None = None
    """Side in pixels of the images an adapter was trained on."""


class ModelList(Wire):
    object: Literal["list"] = "list"
    data: tuple[ServedModel, ...]


class Trace(Wire):
    """Everything needed to make the same image again."""

    seed: int
    steps: int
    size: tuple[int, int]
    """Width and height of the output in pixels."""
    evaluations: int
    """Forward passes of the model that the image took."""
    base: str
    base_sha256: str
    adapter: str | None
    version: str | None
    sha256: str | None
    """Hash of the adapter's weights."""


class ImageData(Wire):
    b64_json: str
    """PNG, base64."""


class AnalogyAnswer(Wire):
    data: tuple[ImageData, ...]
    viral: Trace


class Health(Wire):
    status: Literal["ok", "ready"]


class ErrorBody(Wire):
    message: str
    type: Literal["invalid_request_error", "rate_limit_error", "server_error"]
    param: str | None = None
    """The part of the request that is at fault."""
    code: str | None = None


class ErrorAnswer(Wire):
    """The body of every answer that is not a success."""

    error: ErrorBody
