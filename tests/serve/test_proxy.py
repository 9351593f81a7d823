"""What Serve's proxies say themselves is an OpenAI error object."""

import asyncio
from collections.abc import Callable

import httpx
import pytest
from ray.serve._private.http_util import RequestIdMiddleware, convert_object_to_asgi_messages
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from serve.proxy import middlewares
from tests.serve.asking import error


@pytest.fixture
def ask() -> Callable[[ASGIApp, str], httpx.Response]:
    """The answer of an application behind what a proxy wraps around it."""

    async def send(app: ASGIApp, path: str) -> httpx.Response:
        (own,) = middlewares()
        transport = httpx.ASGITransport(own.cls(RequestIdMiddleware(app)))
        async with httpx.AsyncClient(transport=transport, base_url="http://proxy") as client:
            return await client.get(path)

    def run(app: ASGIApp, path: str) -> httpx.Response:
        return asyncio.run(send(app, path))

    return run


def proxys(status: int, **headers: str) -> ASGIApp:
    """An error as Serve's proxy words it."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        extra = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        for message in convert_object_to_asgi_messages("plain words", status, extra):
            await send(message)

    return app


@pytest.mark.parametrize(
    ("app", "status", "code"),
    [
        (proxys(404), 404, "not_found"),
        (proxys(408), 504, "timeout"),
        (proxys(429, retry_after="7"), 429, "overloaded"),
        (proxys(503), 503, "unavailable"),
    ],
)
def test_words_of_a_proxy_become_an_error_object(ask, app, status, code):
    answer = ask(app, "/v1/analogies")
    assert error(answer, status)["code"] == code
    assert answer.headers.get("retry-after") == {429: "7", 503: "5"}.get(status)


def test_load_balancers_hear_the_proxys_own_words(ask):
    assert ask(proxys(503), "/-/healthz").text == "plain words"


def test_answer_of_an_application_passes_unchanged(ask):
    answer = ask(PlainTextResponse("not acceptable", 406), "/")
    assert (answer.status_code, answer.text) == (406, "not acceptable")


def test_request_that_dies_with_its_ingress_is_answered_with_an_error_object(ask):
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        """As a proxy does whose ingress has died: it answers nothing."""

    answer = ask(app, "/v1/analogies")
    assert error(answer, 503)["code"] == "unavailable"
    assert answer.headers["retry-after"] == "1"
