"""An answer in the form that a client accepts: JSON, or the encoded image."""

import base64
import json
from typing import Literal

from fastapi import Request, Response

from serve.api import AnalogyAnswer, ImageData, Trace
from serve.edit import EditAnswer
from viral.provenance import Kind, convert

Form = Literal["json", "events"] | Kind
QUALITY = 90
"""Of JPEG and WebP where the request names none."""
CONTENT = {f"image/{kind}": {"schema": {"type": "string", "format": "binary"}} for kind in ("png", "jpeg", "webp")}
"""For `responses=` of routes that answer with images."""

_ACCEPTED: dict[str, Form] = {
    "application/json": "json",
    "text/event-stream": "events",
    "image/png": "png",
    "image/jpeg": "jpeg",
    "image/webp": "webp",
    "image/*": "png",
}


def wanted(request: Request) -> Form:
    """What the client likes best of what there is, by `Accept`; JSON where it likes nothing of it."""
    liked: list[tuple[float, Form]] = []
    for entry in request.headers.get("accept", "").split(","):
        kind, _, parameters = entry.partition(";")
        if form := _ACCEPTED.get(kind.strip().lower()):
            liked.append((_quality(parameters), form))
    quality, form = max(liked, key=lambda pair: pair[0], default=(0.0, "json"))
    return form if quality > 0 else "json"


def _quality(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    try:
        return float(value) if name == "q" else 1.0
    except ValueError:
        return 1.0


def reply(answer: EditAnswer, form: Form, quality: int = QUALITY) -> Response:
    """The whole answer as JSON, else the image with its short trace in the header `X-Viral-Trace`."""
    if form in ("json", "events"):
        return Response(as_json(answer).model_dump_json(), media_type="application/json")
    headers = {"X-Viral-Trace": short(answer.trace), "Vary": "Accept"}
    return Response(convert(answer.png, form, quality), media_type=f"image/{form}", headers=headers)


def as_json(answer: EditAnswer) -> AnalogyAnswer:
    return AnalogyAnswer(data=(image_data(answer.png),), viral=answer.trace)


def image_data(image: bytes) -> ImageData:
    return ImageData(b64_json=base64_of(image))


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def sides(trace: Trace) -> str:
    """Width and height as OpenAI writes them: `1024x768`."""
    return "x".join(map(str, trace.size))


def short(trace: Trace) -> str:
    """The trace in one line of ASCII, without words of any length; the image's metadata has all of it."""
    return json.dumps(trace.model_dump(exclude={"instruction", "verdicts", "judge_error"}))
