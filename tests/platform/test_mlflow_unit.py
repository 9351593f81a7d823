"""The unit's own command and settings bring up MLflow, under the names it is given and no other."""

import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

UNIT = Path(__file__).parents[2] / "platform" / "mlflow" / "viral-mlflow.service"
HOST = "rack-head"


def read(home: Path, key: str) -> list[str]:
    """The values of a key, with systemd's specifiers for home directory and host name filled in."""
    values = re.findall(rf"^{key}=(.*)$", UNIT.read_text(), re.MULTILINE)
    return [value.replace("%h", str(home)).replace("%H", HOST) for value in values]


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Where the server of a unit listens; only the port and the interface are not the unit's."""
    home = tmp_path_factory.mktemp("head")
    (home / "viral").mkdir()
    (home / "viral" / ".venv").symlink_to(sys.prefix)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = dict(word.split("=", 1) for line in read(home, "Environment") for word in shlex.split(line))
    here = {"MLFLOW_HOST": "127.0.0.1", "MLFLOW_PORT": str(port)}
    subprocess.run(shlex.split(*read(home, "ExecStartPre")), check=True)
    command, environment = shlex.split(*read(home, "ExecStart")), {**os.environ, **settings, **here}
    with (home / "log").open("wb") as log, subprocess.Popen(command, env=environment, stdout=log, stderr=log) as server:
        try:
            wait_for(port, server)
            yield port
        finally:
            server.terminate()


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 120
    while server.poll() is None and time.monotonic() < end:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise AssertionError("MLflow did not come up")


@pytest.mark.parametrize(
    ("host", "status"), [("127.0.0.1:5000", 200), ("10.0.0.1:5000", 200), (f"{HOST}:5000", 200), ("elsewhere.org", 403)]
)
def test_server_answers_under_the_names_it_is_given(port: int, host: str, status: int) -> None:
    url = f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/search"
    assert httpx.get(url, params={"max_results": 1}, headers={"Host": host}, trust_env=False).status_code == status
