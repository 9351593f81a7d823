"""What ingress, editors and journal say to each other: a request, the events while it is painted, the answer."""

from dataclasses import replace
from hashlib import sha256
from typing import Literal

from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass

from serve.api import Trace
from viral.provenance import read_trace

_PLAIN = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", extra="forbid")


@dataclass(frozen=True, config=_PLAIN)
class EditRequest:
    """One edit, checked: encoded images, which travel smaller than pixels, and every choice that makes its bytes."""

    examples: tuple[tuple[bytes, bytes], ...]
    """Pairs (A, A'); none for an edit by instruction alone."""
    query: bytes
    seed: int
    steps: int
    instruction: str | None = None
    adapter: str | None = None
    """`name@alias` in the registry, the name of a base for the bare base, None for the default."""
    version: str | None = None
    """Version that `adapter` means, pinned when the request is accepted so that a repetition paints the same."""
    base: str | None = None
    """Base whose editor paints it, settled with `version`."""
    size: tuple[int, int] | None = None
    """Width and height of the output in pixels; None follows the query and the adapter's own size."""
    guidance: float | None = None
    example_guidance: float = 1.0
    candidates: int = 1
    """Seeds tried: seed, seed + 1, ..."""
    preview_steps: int = 4
    judge: str | None = None
    """`consensus`, `direction`, `cycle`, `vlm` or None for the default; unused with one candidate."""
    previews: bool = False
    """Whether `stream` sends pictures of the candidates."""

    def dump(self) -> bytes:
        """JSON, images in base64; equal requests give equal bytes."""
        return _REQUEST.dump_json(self)

    @classmethod
    def load(cls, data: bytes) -> "EditRequest":
        """What `dump` wrote."""
        return _REQUEST.validate_json(data)

    def digest(self) -> str:
        """sha256 of what the client asked, whatever it was settled to mean."""
        return sha256(replace(self, version=None, base=None).dump()).hexdigest()


_REQUEST = TypeAdapter(EditRequest)


@dataclass(frozen=True)
class EditAnswer:
    png: bytes
    """Carries the trace in its metadata."""
    trace: Trace

    @classmethod
    def of(cls, png: bytes) -> "EditAnswer":
        """The answer that a PNG of ours is."""
        return cls(png, Trace.model_validate(read_trace(png)))


@dataclass(frozen=True)
class Step:
    """Event: step `step` of `steps` is done; `candidate` is a number from 0, None for the final image."""

    candidate: int | None
    step: int
    steps: int


@dataclass(frozen=True)
class Preview:
    """Event: a candidate's early result."""

    candidate: int
    step: int
    png: bytes


@dataclass(frozen=True)
class Judged:
    """Event: two candidates were compared."""

    first: int
    second: int
    verdict: Literal["first", "second", "tie", "none"]
    why: str


@dataclass(frozen=True)
class Done:
    """Event: the last one."""

    answer: EditAnswer


Event = Step | Preview | Judged | Done
