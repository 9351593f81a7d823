"""What a client fills in: the multipart forms of the two routes that paint, and the requests that they mean."""

from typing import Annotated, Literal

from fastapi import UploadFile
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from serve.arguments import AppArgs
from serve.edit import EditRequest
from serve.errors import Refusal
from serve.prompts import harmless

MAX_SEED = 2**63 - 1
Words = Annotated[str, AfterValidator(harmless)]


class Choices(BaseModel):
    """How to paint; what is left out takes the server's default."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    model: str | None = Field(None, max_length=200)
    """An id of `GET /v1/models`: a base, or `adapter@alias`."""
    seed: int = Field(0, ge=0, le=MAX_SEED)
    """The same request with the same seed gives the same bytes."""
    steps: int | None = Field(None, ge=1)
    """Denoising steps."""
    size: str = Field("auto", pattern=r"^(auto|[1-9]\d{1,4}x[1-9]\d{1,4})$")
    """`1024x768`: the area of the output, whose aspect is that of the image that is edited."""
    guidance: float | None = Field(None, ge=0, le=100, allow_inf_nan=False)
    """How strongly the output is steered by words."""
    example_guidance: float = Field(1.0, ge=1, le=20, allow_inf_nan=False)
    """How strongly by the examples; above 1 each step costs twice."""
    candidates: int = Field(1, ge=1)
    """Seeds tried, `seed`, `seed` + 1, ...; a judge picks the one that is finished."""
    preview_steps: int = Field(4, ge=1)
    """Steps after which the candidates are judged."""
    judge: Literal["consensus", "direction", "cycle", "vlm"] | None = None
    """Who compares the candidates."""

    def request(
        self, examples: list[tuple[bytes, bytes]], query: bytes, instruction: str | None, args: AppArgs
    ) -> EditRequest:
        """The edit that is asked for, all defaults filled in; `Refusal` where it is beyond the limits."""
        steps = args.steps if self.steps is None else self.steps
        _at_most("steps", steps, args.max_steps)
        _at_most("candidates", self.candidates, args.max_candidates)
        if self.candidates > 1 and self.preview_steps >= steps:
            raise _invalid("preview_steps", f"{self.preview_steps} is not below the {steps} steps; give fewer")
        return EditRequest(
            examples=tuple(examples),
            query=query,
            seed=self.seed,
            steps=steps,
            instruction=instruction or None,
            adapter=self.model or None,
            size=self._sides(args),
            guidance=self.guidance,
            example_guidance=self.example_guidance if examples else 1.0,
            candidates=self.candidates,
            preview_steps=self.preview_steps,
            judge=self.judge,
        )

    def _sides(self, args: AppArgs) -> tuple[int, int] | None:
        if self.size == "auto":
            return None
        width, height = map(int, self.size.split("x"))
        if width * height > args.max_output_pixels:
            raise _invalid("size", f"{self.size} is more than {args.max_output_pixels} pixels; ask for less")
        if max(width, height) > args.max_side_ratio * min(width, height):
            raise _invalid("size", f"{self.size}: sides may differ {args.max_side_ratio:g} times; ask for less")
        return width, height


class AnalogyForm(Choices):
    """Example pairs and a query: paint what `query` becomes as each `example_source` becomes its `example_target`."""

    example_source: list[UploadFile] = Field(min_length=1)
    """A, once for each example; PNG, JPEG or WebP."""
    example_target: list[UploadFile] = Field(min_length=1)
    """A', in the order of the sources."""
    query: UploadFile
    """B."""
    instruction: Words | None = None
    """What changes, in words; most adapters need none."""

    def pairs(self) -> list[tuple[UploadFile, UploadFile]]:
        """The examples; `Refusal` where one lacks its other half."""
        sources, targets = self.example_source, self.example_target
        if len(sources) != len(targets):
            raise _invalid(
                "example_target",
                f"got {len(targets)} for {len(sources)} of example_source; send each source with its target",
            )
        return list(zip(sources, targets, strict=True))


class ImagesForm(Choices):
    """OpenAI's form, and `Choices` beside it (`extra_body` in its clients); fields unknown here are ignored."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True)

    image: list[UploadFile] = []
    """One image to edit as `prompt` tells; or A, A', ..., B: pairs of examples, then the image to edit."""
    images: list[UploadFile] = Field([], alias="image[]")
    """The same, as OpenAI's clients send several."""
    mask: UploadFile | None = None
    """Not supported."""
    prompt: Words = ""
    """What changes, in words; with examples it may be empty."""
    n: int = Field(1, ge=1, le=10)
    """Images to paint, from one seed each."""
    output_format: Literal["png", "jpeg", "webp"] = "png"
    output_compression: int = Field(90, ge=0, le=100)
    """Quality of JPEG and WebP."""
    response_format: Literal["b64_json"] = "b64_json"
    background: Literal["auto", "opaque"] = "auto"
    stream: bool = False
    partial_images: int = Field(0, ge=0, le=3)
    """Previews of the candidates that a stream shows at most."""

    def uploads(self) -> tuple[str, list[UploadFile]]:
        """The name of the part that holds the images, and the images."""
        if self.mask is not None:
            raise _invalid("mask", "masks are not supported; say in words, or show in an example, where to edit")
        if bool(self.image) == bool(self.images):
            raise _invalid("image", "send one image, or pairs of examples and an image, all as image or as image[]")
        name, images = ("image", self.image) if self.image else ("image[]", self.images)
        if len(images) % 2 == 0:
            raise _invalid(name, f"got {len(images)}; send 1, or pairs of examples and an image: 3, 5, ...")
        if len(images) == 1 and not self.prompt:
            raise _invalid("prompt", "one image is edited as told, but nothing is told; add words, or examples")
        return name, images


def check_words(name: str, words: str | None, args: AppArgs) -> None:
    """`Refusal` of part `name` for more words than are taken."""
    if words is not None and len(words) > args.max_prompt:
        raise _invalid(name, f"{len(words)} characters are more than {args.max_prompt}; say it shorter")


def _at_most(name: str, got: int, most: int) -> None:
    if got > most:
        raise _invalid(name, f"{got} is more than {most}; ask for fewer")


def _invalid(param: str, message: str) -> Refusal:
    return Refusal(422, f"{param}: {message}", param=param)
