"""Requests as clients send them, and what is common to all answers."""

import base64
import io
import json

import httpx
from PIL import Image

Files = dict[str, bytes | list[bytes]]


def ask(
    server: httpx.Client, parts: Files, headers: dict | None = None, path: str = "/v1/analogies", **fields: str
) -> httpx.Response:
    """The answer to a form of images, several of one name as a list, and fields."""
    pairs = [(name, data) for name, all_ in parts.items() for data in (all_ if isinstance(all_, list) else [all_])]
    files = [(name, (f"{name}.png", data, "image/png")) for name, data in pairs]
    return server.post(path, files=files, data=fields, headers=headers)


def error(answer: httpx.Response, status: int) -> dict:
    """The error object of an answer, which has to be one."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    assert set(answer.json()) == {"error"}
    body = answer.json()["error"]
    assert set(body) == {"message", "type", "param", "code"}
    return body


def decoded(answer: httpx.Response) -> bytes:
    """The image of an answer in JSON."""
    assert answer.status_code == 200, answer.text
    return base64.b64decode(answer.json()["data"][0]["b64_json"])


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def events(answer: httpx.Response) -> list[tuple[str, dict]]:
    """Names and data of server-sent events, without the closing `[DONE]`, which has to be there."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    blocks = [block.splitlines() for block in answer.text.strip().split("\n\n") if not block.startswith(":")]
    assert blocks.pop() == ["data: [DONE]"]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in blocks]
