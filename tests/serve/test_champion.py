"""Adapters by name, over HTTP: what a name means now, and what it meant."""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from viral.config import RunConfig
from viral.model.adapter import adapter_sha256
from viral.tracking import Tracker, register_version, set_alias

MODEL = "viral-adapter"


@pytest.fixture(scope="module")
def second(tiny_base: Path, registry: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Another adapter's version of the same model, which no alias names."""
    from tests.serve.test_adapters import make_adapter
    from viral.config import AdapterConfig

    folder = tmp_path_factory.mktemp("second") / "adapter"
    make_adapter(tiny_base, folder, AdapterConfig(rank=2, num_experts=1, top_k=1), seed=1)
    tracker = Tracker.open(registry, RunConfig(), None, "made for a test")
    tracker.log_adapter(folder)
    return register_version(registry, MODEL, tracker.run_id, adapter_sha256(folder))


@pytest.fixture
def new_champion(second: str, registry: str) -> Iterator[str]:
    """The second version is the champion for one test."""
    set_alias(registry, MODEL, "champion", second)
    yield second
    set_alias(registry, MODEL, "champion", "1")


def paint(server: httpx.Client, parts: dict[str, bytes], **fields: str) -> dict:
    files = {name: (f"{name}.png", data, "image/png") for name, data in parts.items()}
    answer = server.post("/v1/analogies", files=files, data=fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def until_version(server: httpx.Client, parts: dict[str, bytes], version: str) -> dict:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        answer = paint(server, parts)
        if answer["viral"]["version"] == version:
            return answer
    raise AssertionError(f"version {version} was not taken up")


def test_new_champion_is_served_without_a_restart_and_the_old_version_stays_at_hand(server, parts, new_champion):
    after = until_version(server, parts, new_champion)
    pinned = paint(server, parts, model=f"{MODEL}@1")
    again = paint(server, parts, model=f"{MODEL}@{new_champion}")
    assert pinned["viral"]["version"] == "1"
    assert pinned["viral"]["sha256"] != after["viral"]["sha256"] == again["viral"]["sha256"]


def test_champion_that_is_taken_back_paints_what_it_painted(server, parts):
    before = until_version(server, parts, "1")
    assert paint(server, parts)["data"] == before["data"]


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "/etc", "http://host/x", "viral-adapter@nobody", "VIRAL@x", "viral-adapter@99", "a@b@c"],
)
def test_name_that_is_not_served_is_refused(server, parts, name):
    files = {part: (f"{part}.png", data, "image/png") for part, data in parts.items()}
    answer = server.post("/v1/analogies", files=files, data={"model": name})
    assert answer.status_code in (404, 422), answer.text
    assert set(answer.json()) == {"error"}
