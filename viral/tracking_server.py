"""A tracking server of our own, on SQLite under `storage`/mlflow, for runs that were given none."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from viral.cluster import check_port
from viral.config import RunConfig
from viral.storage import Storage

START_S = 600.0
STOP_S = 10.0
NOTE, LOG, DATABASE = "server.json", "server.log", "mlflow.db"


@contextmanager
def tracking_server(config: RunConfig) -> Iterator[str]:
    """Yield the address of an MLflow server: the one `tracking.uri` names, else one of our own, stopped at the end.

    One that already runs on the same `storage` and port is used; it is left running while the process that started it
    lives. `ValueError` where the named server does not answer or the port is another program's.
    """
    if config.tracking.uri is not None:
        _check(config.tracking.uri)
        yield config.tracking.uri
        return
    folder, port = Storage(config.storage).join("mlflow").folder(), config.tracking.port
    uri = f"http://127.0.0.1:{port}"
    pid = _ours(folder, port)
    if pid is not None and not _orphaned(folder):
        _wait_until_healthy(uri, pid, folder)
        yield uri
        return
    if pid is None:
        check_port(port, "tracking.port")
        pid = _start(folder, port)
    _note(folder, pid, port)
    try:
        _wait_until_healthy(uri, pid, folder)
        yield uri
    finally:
        _stop(pid)
        (folder / NOTE).unlink(missing_ok=True)


def _start(folder: Path, port: int) -> int:
    hosts = [f"{host}{end}" for host in ("127.0.0.1", "localhost") for end in ("", f":{port}")]
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{folder / DATABASE}", "--serve-artifacts",
        "--artifacts-destination", str(folder / "artifacts"), "--allowed-hosts", ",".join(hosts),
    ]  # fmt: skip
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "GIT_PYTHON_REFRESH": "quiet"}
    environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # for its judges; we have our own, and it costs memory
    # A group of its own: Ctrl-C ends the job first, which then ends server and workers together.
    with (folder / LOG).open("ab") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, env=environment)
    return server.pid


def _wait_until_healthy(uri: str, pid: int, folder: Path) -> None:
    end = time.monotonic() + START_S
    while not _is_healthy(uri):
        if not _is_alive(pid) or time.monotonic() > end:
            words = (folder / LOG).read_text(errors="replace").strip().splitlines()[-5:]
            raise ValueError(
                f"the MLflow server did not come up at {uri}; {folder / LOG} ends with: {' | '.join(words)}"
            )
        time.sleep(0.2)


def _is_healthy(uri: str) -> bool:
    try:
        with urllib.request.urlopen(f"{uri}/health", timeout=5) as answer:
            return answer.read() == b"OK"
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def _check(uri: str) -> None:
    if uri.startswith("http") and not _is_healthy(uri.rstrip("/")):
        raise ValueError(
            f"no MLflow server answers at tracking.uri={uri}; start it, or leave tracking.uri out for one of our own"
        )


def _note(folder: Path, pid: int, port: int) -> None:
    (folder / NOTE).write_text(json.dumps({"pid": pid, "port": port, "owner": os.getpid()}))


def _read_note(folder: Path) -> dict[str, int]:
    try:
        return json.loads((folder / NOTE).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}


def _ours(folder: Path, port: int) -> int | None:
    """Process of the server that runs on this folder's database at `port`, if there is one."""
    note = _read_note(folder)
    if note.get("port") != port or not _is_alive(note["pid"]):
        return None
    # The number may be another process's by now; the command line tells.
    return (
        note["pid"] if any(str(folder / DATABASE) in word for word in psutil.Process(note["pid"]).cmdline()) else None
    )


def _orphaned(folder: Path) -> bool:
    """Whether the job that started the server is gone, killed before it could stop it."""
    return not _is_alive(_read_note(folder)["owner"])


def _is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def _stop(pid: int) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not _is_alive(pid):
            return
        os.killpg(pid, number)
        end = time.monotonic() + STOP_S
        while _is_alive(pid) and time.monotonic() < end:
            time.sleep(0.1)
