"""Bases from a real server that stands as a mirror of the hub, and from its cache."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

COMMIT = "0" * 39 + "1"
FILES = {
    "README.md": b"---\nlicense: mit\n---\n",
    "model_index.json": b"{}",
    "scheduler/scheduler_config.json": b'{"shift": 1.0}',
    "all-in-one.safetensors": b"the same weights again",
}
FETCH = """
import sys
from viral.model.hub import snapshot
for name in sys.argv[1:]:
    repository, _, revision = name.partition("@")
    try:
        print("folder", snapshot(repository, revision or None))
    except ValueError as error:
        print("error", error)
"""


class Mirror(BaseHTTPRequestHandler):
    """The hub's interface for one public and one gated model."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path, _, file = self.path.partition("?")[0].lstrip("/").partition(f"/resolve/{COMMIT}/")
        if "maker/gated" in path:
            self.answer(403, b"", {"X-Error-Code": "GatedRepo", "X-Error-Message": "ask"})
        elif path in ("api/models/maker/base/revision/main", f"api/models/maker/base/revision/{COMMIT}"):
            self.answer(200, json.dumps({"id": "maker/base", "sha": COMMIT, "siblings": []}).encode())
        elif path == f"api/models/maker/base/tree/{COMMIT}":
            tree = [{"type": "file", "path": name, "size": len(data), "oid": name} for name, data in FILES.items()]
            self.answer(200, json.dumps(tree).encode())
        elif path == "maker/base" and file in FILES:
            tag = hashlib.sha1(FILES[file]).hexdigest()
            self.answer(200, FILES[file], {"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT})
        else:
            code = "RevisionNotFound" if "maker/base" in path else "RepoNotFound"
            self.answer(404, b"", {"X-Error-Code": code})

    do_HEAD = do_GET

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Keeps the tests' output clean."""


@pytest.fixture
def mirror() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def fetch(home: Path, *names: str, **environment: str) -> list[str]:
    """What a process of its own, as huggingface_hub reads its environment once, says to each name."""
    env = {**os.environ, "HF_HOME": str(home), "HF_HUB_DISABLE_PROGRESS_BARS": "1", **environment}
    ran = subprocess.run([sys.executable, "-c", FETCH, *names], env=env, capture_output=True, text=True, check=True)
    return ran.stdout.splitlines()


def test_base_comes_from_a_mirror_once_and_then_from_the_cache_offline(mirror: str, tmp_path: Path) -> None:
    (online,) = fetch(tmp_path, "maker/base", HF_ENDPOINT=mirror)
    folder = Path(online.removeprefix("folder "))
    assert folder.name == COMMIT
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found == FILES.keys() - {"all-in-one.safetensors"}
    pinned, missing = fetch(tmp_path, f"maker/base@{COMMIT}", "maker/other", HF_HUB_OFFLINE="1")
    assert pinned == online
    assert "HF_HUB_OFFLINE" in missing and "hf download maker/other" in missing


def test_each_trouble_with_the_hub_names_its_way_out(mirror: str, tmp_path: Path) -> None:
    gated, absent, revision = fetch(tmp_path, "maker/gated", "maker/none", "maker/base@old", HF_ENDPOINT=mirror)
    assert "is gated" in gated and "HF_TOKEN" in gated
    assert "has no model maker/none" in absent
    assert "no revision old" in revision and "model.revision" in revision


def test_hub_out_of_reach_names_mirror_and_cache(tmp_path: Path) -> None:
    (message,) = fetch(tmp_path, "maker/base", HF_ENDPOINT="http://127.0.0.1:9")
    assert "cannot be reached" in message and "HF_ENDPOINT" in message
