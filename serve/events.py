"""Server-sent events: what happens while an image is painted, on either interface's terms."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator

from fastapi.responses import StreamingResponse
from fastapi.sse import format_sse_event
from pydantic import BaseModel

from serve.api import (
    CompletedImageEvent,
    ErrorAnswer,
    ImageEvent,
    PartialImageEvent,
    PreviewEvent,
    StepEvent,
    VerdictEvent,
)
from serve.edit import Done, Event, Judged, Preview, Step
from serve.errors import Refusal, failed
from serve.replies import base64_of, image_data, sides
from viral.provenance import Kind, convert

log = logging.getLogger("ray.serve")
SETTLE_S = 1.0
"""Time in which a failure still becomes an answer of its own; afterwards it is an event of the stream."""
QUIET_S = 15.0
"""A stream that is silent for longer may be cut by what lies between; a comment keeps it open."""
Wording = Callable[[Event], BaseModel | None]
"""What an event is called on the wire; None for one that is not told."""


async def stream(events: AsyncIterator[Event], wording: Wording) -> StreamingResponse:
    """Events as they fall, then `[DONE]`; raises the `Refusal` of a stream that does not even begin."""
    first = asyncio.ensure_future(anext(events))
    try:
        await asyncio.wait({first}, timeout=SETTLE_S)
    except asyncio.CancelledError:
        first.cancel()
        raise
    if first.done() and (error := first.exception()):
        raise error
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_lines(events, first, wording), media_type="text/event-stream", headers=headers)


async def _lines(
    events: AsyncIterator[Event], coming: "asyncio.Future[Event]", wording: Wording
) -> AsyncIterator[bytes]:
    try:
        while True:
            if not (await asyncio.wait({coming}, timeout=QUIET_S))[0]:
                yield b": still waiting\n\n"
                continue
            if (told := await asyncio.to_thread(wording, coming.result())) is not None:
                yield _line(told.model_dump_json(), told.model_dump()["type"])
            coming = asyncio.ensure_future(anext(events))
    except StopAsyncIteration:
        yield b"data: [DONE]\n\n"
    except Refusal as refusal:
        yield _line(ErrorAnswer(error=refusal.body()).model_dump_json(), "error")
    except Exception as error:
        log.exception("a stream failed")
        body = failed(500, f"the server failed ({type(error).__name__}); its log has the details")
        yield _line(ErrorAnswer(error=body).model_dump_json(), "error")
    finally:
        coming.cancel()


def _line(data: str, name: str) -> bytes:
    return format_sse_event(data_str=data, event=name)


def analogy_event(event: Event) -> BaseModel:
    """An event in our own words."""
    match event:
        case Step(candidate, step, steps):
            return StepEvent(candidate=candidate, step=step, steps=steps)
        case Preview(candidate, step, png):
            return PreviewEvent(candidate=candidate, step=step, b64_json=base64_of(png))
        case Judged(first, second, verdict, why):
            return VerdictEvent(first=first, second=second, verdict=verdict, why=why)
        case Done(answer):
            return ImageEvent(data=(image_data(answer.png),), viral=answer.trace)


def openai_events(kind: Kind, quality: int, partial_images: int) -> Wording:
    """Events in OpenAI's words: at most `partial_images` previews, and the image."""
    indices: Iterator[int] = iter(range(partial_images))

    def worded(event: Event) -> BaseModel | None:
        now = int(time.time())
        if isinstance(event, Preview) and (index := next(indices, None)) is not None:
            image = convert(event.png, kind, quality)
            return PartialImageEvent(
                b64_json=base64_of(image), created_at=now, output_format=kind, partial_image_index=index, size="auto"
            )
        if isinstance(event, Done):
            image, trace = convert(event.answer.png, kind, quality), event.answer.trace
            return CompletedImageEvent(
                b64_json=base64_of(image), created_at=now, output_format=kind, size=sides(trace), viral=trace
            )
        return None

    return worded
