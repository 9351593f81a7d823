"""What Serve's proxies say themselves is an OpenAI error object."""

import asyncio
from collections.abc import Callable

import httpx
import pytest
from ray.serve._private.http_util import RequestIdMiddleware, convert_object_to_asgi_messages
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from serve.admission import FULL
from serve.errors import OVERLOADED, Refusal
from serve.proxy import middlewares
from tests.serve.asking import error


def behind_a_proxy(app: ASGIApp) -> httpx.AsyncClient:
    """A client of an application behind what a proxy wraps around it."""
    app = RequestIdMiddleware(app)
    for own in reversed(middlewares()):
        app = own.cls(app)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://proxy")


@pytest.fixture
def ask() -> Callable[[ASGIApp, str], httpx.Response]:
    """The answer of an application behind a proxy."""

    async def send(app: ASGIApp, path: str) -> httpx.Response:
        async with behind_a_proxy(app) as client:
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
        (proxys(408), 504, "timeout"),
        (proxys(429, retry_after="7"), 429, "overloaded"),
        (proxys(503), 503, "unavailable"),
    ],
)
def test_words_of_a_proxy_become_an_error_object(ask, app, status, code):
    answer = ask(app, "/v1/analogies")
    assert error(answer, status)["code"] == code
    assert answer.headers.get("retry-after") == {429: "7", 503: "5"}.get(status)


def test_proxy_that_knows_no_application_yet_is_no_answer_for_good(ask):
    starting = ask(proxys(404), "/v1/analogies")
    assert error(starting, 503)["code"] == "unavailable" and starting.headers["retry-after"] == "1"
    assert error(ask(proxys(404), "/elsewhere"), 404)["code"] == "not_found"


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


class Crowded:
    """An application that can do `places` edits at a time and refuses all others."""

    def __init__(self, places: int) -> None:
        self.places, self.asked, self.over = places, 0, asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked += 1
        if not self.places:
            headers = {OVERLOADED: "1"}
            return await Refusal(429, FULL, retry_after=5, headers=headers).response()(scope, receive, send)
        self.places -= 1
        await self.over.wait()
        self.places += 1
        await PlainTextResponse("painted")(scope, receive, send)


def test_application_without_a_place_is_not_asked_again_until_an_edit_ends():
    async def run() -> None:
        app = Crowded(places=1)
        async with behind_a_proxy(app) as client:
            painting = asyncio.create_task(client.post("/v1/analogies", content=b"x"))
            while not app.asked:
                await asyncio.sleep(0)
            assert error(await client.post("/v1/analogies", content=b"x"), 429)["code"] == "overloaded"
            assert app.asked == 2
            refused = await client.post("/v1/analogies", content=b"x")
            assert error(refused, 429)["code"] == "overloaded" and refused.headers["retry-after"] == "5"
            assert app.asked == 2, "the proxy knew"
            app.over.set()
            assert (await painting).text == "painted"
            assert (await client.post("/v1/analogies", content=b"x")).text == "painted"
            assert app.asked == 3

    asyncio.run(run())


def test_jobs_and_other_applications_are_asked_whatever_the_proxy_knows():
    async def run() -> None:
        app = Crowded(places=0)
        async with behind_a_proxy(app) as client:
            for _ in range(2):
                await client.post("/v1/analogies", content=b"x")
            assert app.asked == 1
            for headers in ({"Prefer": "respond-async"}, {"Idempotency-Key": "k"}):
                await client.post("/v1/analogies", content=b"x", headers=headers)
            await client.post("/echo/v1/analogies", content=b"x")
            await client.get("/v1/models")
            assert app.asked == 5

    asyncio.run(run())
