"""Uploads, held to their limits before anything is decoded."""

import asyncio

from fastapi import Request, UploadFile
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.arguments import Limits
from serve.errors import Refusal
from viral.data.images import decode

_SIGNATURES = {"PNG": (b"\x89PNG\r\n\x1a\n", 0), "JPEG": (b"\xff\xd8\xff", 0), "WebP": (b"WEBP", 8)}


class BodyLimit:
    """Refuses a body above `limit` bytes with 413: by its declared length at once, else as soon as it grows beyond."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        declared = dict(scope.get("headers", ())).get(b"content-length", b"0")
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if max(size, int(declared) if declared.isdigit() else 0) > self._limit:
                raise Refusal(413, f"the body is larger than {self._limit} bytes; send smaller images")
            return message

        await self._app(scope, counted, send)


def require_multipart(request: Request) -> None:
    """Refuse any other body with 415."""
    kind = request.headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != "multipart/form-data":
        raise Refusal(415, f"the body is {kind or 'of no declared type'}; send multipart/form-data")


async def read_image(part: UploadFile, name: str, limits: Limits) -> bytes:
    """The encoded bytes of an uploaded PNG, JPEG or WebP that decodes within `limits`."""
    data = await part.read()
    if data and not any(data.startswith(mark, start) for mark, start in _SIGNATURES.values()):
        kinds = ", ".join(_SIGNATURES)
        raise Refusal(415, f"{name} is none of {kinds}; convert it", code="unsupported_image_type", param=name)
    try:
        await asyncio.to_thread(decode, data, name, limits.max_pixels, limits.max_side_ratio)
    except ValueError as error:
        raise Refusal(400, str(error), code="invalid_image", param=name) from None
    return data
