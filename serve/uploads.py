"""Uploads, held to their limits before anything is decoded."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from fastapi import Request, UploadFile
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.admission import Admission
from serve.arguments import Limits
from serve.errors import Refusal, overloaded
from viral.data.images import decode

DECODERS = 2
"""Images decoded at once in one ingress, so that their pixels take bounded memory."""
UPLOAD_S = 120.0
"""Time a body has to arrive in."""
ROOM = 64
"""Requests with a body in one ingress at a time; times the largest body, this bounds its memory."""


class BodyLimit:
    """Refuses a body above `limit` bytes with 413, by its declared length at once, else as soon as it grows beyond.

    A body that has not arrived within `UPLOAD_S` is refused with 408.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        declared = dict(scope.get("headers", ())).get(b"content-length", b"0")
        end: float | None = asyncio.get_running_loop().time() + UPLOAD_S
        size = 0

        async def counted() -> Message:
            nonlocal size, end
            try:
                async with asyncio.timeout_at(end):
                    message = await receive()
            except TimeoutError:
                raise Refusal(408, f"the body did not arrive within {UPLOAD_S:g} s; send it faster") from None
            if not message.get("more_body"):
                end = None  # what follows is the wait for the client's leaving
            size += len(message.get("body", b""))
            if max(size, int(declared) if declared.isdigit() else 0) > self._limit:
                raise Refusal(413, f"the body is larger than {self._limit} bytes; send smaller images")
            return message

        await self._app(scope, counted, send)


class Room:
    """Refuses a request with a body that would be read in vain: when `ROOM` of them are under way here, and, unless it
    asks for a job, when `admission` knows that no editor has a place for it."""

    def __init__(self, app: ASGIApp, admission: Admission) -> None:
        self._app, self._admission, self._inside = app, admission, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("method") != "POST":
            return await self._app(scope, receive, send)
        if self._inside >= ROOM:
            refusal = Refusal(429, f"{ROOM} requests are under way here; try again", retry_after=5)
            return await refusal.response()(scope, receive, send)
        if not asks_for_a_job(scope) and not self._admission.enter():
            return await overloaded().response()(scope, receive, send)
        self._inside += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._inside -= 1


def asks_for_a_job(scope: Scope) -> bool:
    """Whether the request is kept in the journal, where it waits for a place."""
    headers = scope["headers"]
    return any(
        name == b"idempotency-key" or (name == b"prefer" and b"respond-async" in value.lower())
        for name, value in headers
    )


async def require_multipart(request: Request) -> None:
    """Refuse any other body with 415. Async, as FastAPI would call it in a thread else."""
    kind = request.headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != "multipart/form-data":
        raise Refusal(415, f"the body is {kind or 'of no declared type'}; send multipart/form-data")


class Uploads:
    """Reads the images of a request: PNG, JPEG or WebP that decode within `limits`."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._decoders = ThreadPoolExecutor(DECODERS, thread_name_prefix="decode")

    async def read(self, parts: list[tuple[str, UploadFile]]) -> list[bytes]:
        """The encoded bytes of named parts, all of which decode; `Refusal` names the first that does not."""
        images = [(name, await part.read()) for name, part in parts]
        for name, data in images:
            _check_kind(name, data)
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(self._decoders, self._check, name, data) for name, data in images))
        return [data for _, data in images]

    def _check(self, name: str, data: bytes) -> None:
        try:
            decode(data, name, self._limits.max_pixels, self._limits.max_side_ratio)
        except ValueError as error:
            raise Refusal(400, str(error), code="invalid_image", param=name) from None


def _check_kind(name: str, data: bytes) -> None:
    """Judge by the first bytes; whatever name and type the part declares."""
    png, jpeg = data.startswith(b"\x89PNG\r\n\x1a\n"), data.startswith(b"\xff\xd8\xff")
    webp = data.startswith(b"RIFF") and data[8:12] == b"WEBP"
    if data and not (png or jpeg or webp):
        raise Refusal(415, f"{name} is none of PNG, JPEG, WebP; convert it", code="unsupported_image_type", param=name)
