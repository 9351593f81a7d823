"""Fixtures shared by all tests: one Ray cluster, one small base of random weights."""

import base64
import io
import json
import os
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from urllib.request import Request, urlopen

import numpy as np
import pytest
from jaxtyping import install_import_hook
from PIL import Image

# Shapes in signatures are checked while the tests run, and only then.
install_import_hook("viral", "beartype.beartype")

from viral.config import RunConfig  # noqa: E402
from viral.pretrain.pictures import Photograph, Pictures  # noqa: E402


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The served application holds processors of the shared cluster until the session ends: it comes last."""
    items.sort(key=lambda item: "serve" in item.path.parts)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a skipped test is a failed run, unless it was skipped for want of a GPU."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = [str(report.longrepr) for report in reporter.stats.get("skipped", [])] if reporter else []
    unexcused = [reason for reason in skipped if "GPU" not in reason]
    if os.environ.get("CI") and unexcused:
        reporter.write_line(f"skipped for other reasons than a missing GPU: {unexcused}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def pictures() -> Pictures:
    """Pictures to build a base from: drawn shapes, and noise with a gradient for a photograph."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 255, 96)[:, None, None] * np.ones((96, 96, 3))
    pixels = np.clip(ramp + rng.normal(size=ramp.shape) * 30, 0, 255).astype(np.uint8)
    return Pictures([Photograph(pixels, "0" * 64, "ramp", "CC0", "made here")], size=32)


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory, pictures: Pictures) -> Path:
    """A complete base folder of two layers with random weights in the DiT; its VAE's encoder is exact."""
    from viral.pretrain import folder, tokenizer, vae

    path = tmp_path_factory.mktemp("base")
    words = tokenizer.build_tokenizer(["make it darker", "tint it red"] * 20)
    transformer = folder.build_transformer(layers=2, heads=2)
    encoder, scheduler = folder.build_text_encoder(words), folder.build_scheduler()
    folder.save_base(path, transformer, vae.build(pictures), encoder, words, scheduler)
    return path


def edit_words() -> list[str]:
    """What the tokenizers of the FLUX folders learn."""
    from viral.sampling.diptych import PAPER_PROMPT, RELEASED_PROMPT

    return [PAPER_PROMPT, RELEASED_PROMPT, "make the red circle darker", "tint it red"] * 20


@pytest.fixture(scope="session")
def fill_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete FLUX.1 Fill folder of two double and two single blocks with random weights."""
    from viral.pretrain.fill_folder import save_fill

    path = tmp_path_factory.mktemp("fill")
    save_fill(path, edit_words())
    return path


@pytest.fixture(scope="session")
def flux_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete FLUX.1-dev folder, as small."""
    from viral.pretrain.fill_folder import save_text_to_image

    path = tmp_path_factory.mktemp("flux")
    save_text_to_image(path, edit_words())
    return path


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """The one Ray cluster of the session."""
    from viral.cluster import connect

    with connect(RunConfig()):
        yield


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """Address of a folder in a real S3 server's bucket, moto's."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    urlopen(Request(f"http://{host}:{port}/bucket", method="PUT")).close()
    yield f"s3://key:secret@bucket/run?region=us-east-1&scheme=http&endpoint_override={host}:{port}"
    server.stop()


class ChatServer:
    """A real OpenAI-compatible server whose `reply` sees the words and the images that it was sent."""

    def __init__(self) -> None:
        self.reply: Callable[[str, list[Image.Image]], str] = lambda words, images: ""
        self.failures: list[tuple[int, dict[str, str], bytes]] = []
        """Status, headers and body of the first answers, before those of `reply`."""
        self.requests: list[tuple[dict[str, str], dict]] = []
        self.released = Event()
        """Cleared, the server keeps every caller waiting."""
        self.released.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.requests.append((dict(self.headers), body))
                outer.released.wait(30)
                self._send(*(outer.failures.pop(0) if outer.failures else (200, {}, outer.answer(body))))

            def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                """Keeps the tests' output clean."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def answer(self, body: dict) -> bytes:
        parts = body["messages"][0]["content"]
        words = "".join(part["text"] for part in parts if part["type"] == "text")
        uris = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
        images = [Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))) for uri in uris]
        return json.dumps({"choices": [{"message": {"content": self.reply(words, images)}}]}).encode()


@pytest.fixture
def chat_server() -> Iterator[ChatServer]:
    """A chat server that runs for one test."""
    chat = ChatServer()
    Thread(target=chat.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield chat
    chat.released.set()
    chat.server.shutdown()
    chat.server.server_close()
