"""docs/runbook.md followed from top to bottom: every command that needs no cluster, in its order, in one shell."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.platform.rack import CANARY, Rack, running_rack
from tests.platform.runbook import commands

SMALL = """
storage: runs/demo
data: {tasks: [negative], train_crops: 24, test_crops: 24, rows_per_shard: 16}
adapter: {rank: 4, alpha: 4, expert_rank: 4, expert_alpha: 4}
train: {steps: 10, save_every: 5, learning_rate: 1.5e-3, micro_batch: 4}
evaluate: {steps: 2}
tracking: {port: 5641}
serve: {port: 8641, steps: 2}
"""
STAYS = "mlflow server"
"""A command that runs until it is ended."""


@pytest.fixture
def rack() -> Iterator[Rack]:
    """The head of a rack, with an activated environment and the values of the runbook's variables."""
    with running_rack() as rack:
        (rack.home / "viral/small.yaml").write_text(SMALL)
        yield rack


@pytest.fixture
def mlflow(tmp_path: Path) -> Iterator[str]:
    """The address of the cluster's MLflow, whose files lie in `tmp_path`/mlflow."""
    from viral.config import RunConfig, TrackingConfig
    from viral.tracking_server import tracking_server

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tracking_server(RunConfig(storage=str(tmp_path), tracking=TrackingConfig(port=port))) as uri:
        yield uri


def follow(rack: Rack, mlflow: str, storage: Path, before: list[str], text: str) -> None:
    """Run one line after the exports `before`, as a shell at the root of the checkout would."""
    values = {"C": "small.yaml", "CONFIG": "small.yaml", "S": str(storage), "M": mlflow}
    path = f"{rack.home}/viral/.venv/bin:{os.environ['PATH']}"
    lines = "\n".join(["set -eo pipefail", *before, text]).replace("8265", str(rack.dashboard_port))
    shell = subprocess.Popen(
        ["bash", "-c", lines], cwd=rack.home / "viral", env={**rack.environment, **values, "PATH": path}
    )
    if text.startswith(STAYS):
        wait_until_it_answers(shell)
        end(shell)
    else:
        assert shell.wait(1500) == 0, text


def wait_until_it_answers(shell: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            assert httpx.get("http://127.0.0.1:5001/health", trust_env=False).is_success
            return
        except httpx.TransportError:
            assert shell.poll() is None
            assert time.monotonic() < deadline, "MLflow did not come up"
            time.sleep(0.2)


def end(shell: subprocess.Popen[bytes]) -> None:
    family = [*psutil.Process(shell.pid).children(recursive=True), psutil.Process(shell.pid)]
    for member in family:
        member.kill()
    shell.wait()


@pytest.mark.timeout(3600)
def test_runbook_can_be_followed(rack: Rack, mlflow: str, tmp_path: Path) -> None:
    secret = rack.home / ".config/viral/ray_token"
    token, exports = secret.read_text(), []
    for command in commands():
        if command.needs_cluster:
            continue
        print(f"--- {command.text}", file=sys.stderr, flush=True)
        follow(rack, mlflow, tmp_path / "run", exports, command.text)
        if "ray_token" in command.text and command.section == "Bare machines":
            secret.write_text(token)  # a rack that runs already keeps its own
        if command.text.startswith("export "):
            exports.append(command.text)
    assert (rack.home / "viral/out.png").stat().st_size > 0
    kept = [path for folder in (tmp_path, rack.home / "viral/runs") for path in folder.rglob("*") if path.is_file()]
    kept += [path for path in rack.home.glob("session_*/logs/**/*") if path.is_file()]
    told = [str(path) for path in kept if any(key.encode() in path.read_bytes() for key in (token, CANARY))]
    assert told == []
