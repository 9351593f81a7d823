"""What Serve's own proxies answer where no ingress does, as OpenAI error objects.

It does so where its node's environment has RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=serve.proxy:middlewares.
"""

import asyncio
from collections import defaultdict
from contextlib import suppress
from uuid import uuid4

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.admission import Admission
from serve.errors import OVERLOADED, Refusal, overloaded
from serve.uploads import asks_for_a_job

_ID = "X-Request-ID"
_DRAIN_S = 10.0
"""How long the rest of a refused body is listened to; a client that is cut off while it sends sees no answer."""
_OWN_PATHS = "/-/"
"""Where a proxy tells load balancers of itself."""
_DIED = "the part of the server that had this request died; send it again, with its Idempotency-Key if it had one"
_API = "/v1/"
"""In every path that clients ask; a proxy that has nothing there has just been started and knows no application yet."""
_WORDS = {
    404: (404, "there is nothing at {path}; is the application still starting?"),
    503: (503, "no part of the server can take this now; send it again"),
    408: (504, "no answer in time; ask for fewer steps or later"),
    429: (429, "too many requests are under way; try again"),
}
"""By the status of a proxy, the status and message it is answered with."""


def middlewares() -> list[Middleware]:
    """What a proxy wraps around all that it answers."""
    return [Middleware(ErrorObjects), Middleware(EarlyRefusals)]


class ErrorObjects:
    """Words the errors of a proxy, which are plain text, and the answer that an ingress died without."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(_OWN_PATHS):
            return await self._app(scope, receive, send)
        passing = _Passing(send)
        await self._app(scope, receive, passing)
        if not passing.begun:
            response = _refusal(scope["path"], passing.kept).response()
            response.headers[_ID] = Headers(scope=scope).get(_ID, "")
            await response(scope, receive, send)


class _Passing:
    """Sends an application's answer on and keeps back an error of the proxy itself."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False
        self.kept: Message | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _is_proxys(message):
            self.kept = message
        if self.kept is None:
            self.begun = True
            await self._send(message)


class EarlyRefusals:
    """Refuses an edit that its application is known to have no place for, without asking it.

    What the application says of itself decides: each has an `Admission` of its own from its first refusal on.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app, self._admissions = app, defaultdict[str, Admission](Admission)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or asks_for_a_job(scope):
            return await self._app(scope, receive, send)
        known = self._admissions.get(scope["path"])
        if known is not None and not known.enter():
            return await _refuse(scope, receive, send)
        full = False

        async def watching(message: Message) -> None:
            nonlocal full
            if message["type"] == "http.response.start":
                full = full or (OVERLOADED.lower().encode(), b"1") in message["headers"]
            await send(message)

        await self._app(scope, receive, watching)
        if full:
            self._admissions[scope["path"]].refused()
        elif (known := self._admissions.get(scope["path"])) is not None:
            known.ended()


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_S):
            while (await receive()).get("more_body"):
                pass
    response = overloaded().response()
    response.headers[_ID] = Headers(scope=scope).get(_ID) or str(uuid4())
    await response(scope, receive, send)


def _is_proxys(start: Message) -> bool:
    """Whether an answer is a proxy's own: plain text whose length is not told, as an application's would be."""
    headers = Headers(raw=start["headers"])
    plain = headers.get("content-type", "").startswith("text/plain")
    return start["status"] >= 400 and plain and "content-length" not in headers


def _refusal(path: str, kept: Message | None) -> Refusal:
    if kept is None:
        return Refusal(503, _DIED, retry_after=1)
    if kept["status"] == 404 and _API in path:
        return Refusal(503, "the server is starting; send it again", retry_after=1)
    status, words = _WORDS.get(kept["status"], _WORDS[503])
    wait = int(Headers(raw=kept["headers"]).get("retry-after", "5")) if status in (429, 503) else None
    return Refusal(status, words.format(path=path), retry_after=wait)
