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


class TraceVerdict(Wire):
    """One comparison of two candidates."""

    first: int
    second: int
    verdict: Literal["first", "second", "tie", "none"]
    why: str = ""


class Trace(Wire):
    """Everything needed to make the same image again."""

    seed: int
    """Of the image; with several candidates that of the winner."""
    steps: int
    size: tuple[int, int]
    """Width and height of the output in pixels."""
    evaluations: int
    """Forward passes of the model that the image took, its candidates' previews included."""
    guidance: float
    example_guidance: float = 1.0
    base: str
    base_sha256: str
    adapter: str | None
    version: str | None
    sha256: str | None
    """Hash of the adapter's weights."""
    instruction: str | None = None
    candidates: tuple[int, ...] = ()
    """Seeds that were tried, in the order of their numbers in the verdicts; empty for a single image."""
    preview_steps: int | None = None
    judge: str | None = None
    """Who compared the candidates."""
    verdicts: tuple[TraceVerdict, ...] = ()
    judge_error: str | None = None
    """Why nobody did: then the first candidate was finished."""


class ImageData(Wire):
    b64_json: str
    """The encoded image, base64."""


class AnalogyAnswer(Wire):
    data: tuple[ImageData, ...]
    viral: Trace


class ImagesAnswer(Wire):
    """OpenAI's `ImagesResponse`, with the trace of each image."""

    created: int
    """Seconds since 1970."""
    data: tuple[ImageData, ...]
    background: Literal["opaque"] = "opaque"
    output_format: Literal["png", "jpeg", "webp"]
    quality: Literal["high"] = "high"
    size: str
    """Width and height of the output, `1024x768`."""
    viral: tuple[Trace, ...]


class StepEvent(Wire):
    """Event `step`: a denoising step is done."""

    type: Literal["step"] = "step"
    candidate: int | None
    """Number of the candidate from 0; null for the final image."""
    step: int
    steps: int


class PreviewEvent(Wire):
    """Event `preview`: a candidate after its first steps."""

    type: Literal["preview"] = "preview"
    candidate: int
    step: int
    b64_json: str
    """PNG, base64."""


class VerdictEvent(TraceVerdict):
    """Event `verdict`: the judge compared two candidates."""

    type: Literal["verdict"] = "verdict"


class ImageEvent(AnalogyAnswer):
    """Event `image`: the answer, after which the stream ends."""

    type: Literal["image"] = "image"


class PartialImageEvent(Wire):
    """OpenAI's event for an image that is not done."""

    type: Literal["image_edit.partial_image"] = "image_edit.partial_image"
    b64_json: str
    background: Literal["opaque"] = "opaque"
    created_at: int
    output_format: Literal["png", "jpeg", "webp"]
    partial_image_index: int
    quality: Literal["high"] = "high"
    size: str


class CompletedImageEvent(Wire):
    """OpenAI's event for the image, with its trace; tokens are not counted here, so `usage` is null."""

    type: Literal["image_edit.completed"] = "image_edit.completed"
    b64_json: str
    background: Literal["opaque"] = "opaque"
    created_at: int
    output_format: Literal["png", "jpeg", "webp"]
    quality: Literal["high"] = "high"
    size: str
    usage: None = None
    viral: Trace


class ErrorBody(Wire):
    message: str
    type: Literal["invalid_request_error", "rate_limit_error", "server_error"]
    param: str | None = None
    """The part of the request that is at fault."""
    code: str | None = None


class ErrorAnswer(Wire):
    """The body of every answer that is not a success; the header `X-Request-ID` names the request in the log."""

    error: ErrorBody


class JobAnswer(Wire):
    """Work that was accepted to be done later."""

    id: str
    object: Literal["job"] = "job"
    status: Literal["queued", "running", "done", "failed", "cancelled"]
    created: int
    """Seconds since 1970."""
    ended: int | None = None
    step: int = 0
    """Denoising steps done."""
    steps: int = 0
    """Denoising steps to do; 0 before it runs."""
    result: AnalogyAnswer | None = None
    error: ErrorBody | None = None


class Health(Wire):
    status: Literal["ok", "ready"]
