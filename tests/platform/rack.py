"""A rack on this machine: a head and a worker on two loopback addresses, started by the commands of cluster.yaml."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

ROOT = Path(__file__).parents[2]
HEAD, WORKER, LAPTOP = "127.0.0.2", "127.0.0.3", "127.0.0.1"
CANARY = f"canary-{secrets.token_hex(8)}"
"""Stands in every node's environment where a key would."""


@dataclass(frozen=True)
class Rack:
    """A running head, and what starts a worker beside it."""

    home: Path
    gcs_port: int
    dashboard_port: int
    environment: dict[str, str]

    @property
    def address(self) -> str:
        return f"{HEAD}:{self.gcs_port}"

    def start(self, which: str, address: str) -> None:
        """Run the last of cluster.yaml's commands as ssh would at `address`.

        The one before it is `ray stop`, which would end every other Ray of this machine; ports differ for that reason.
        """
        command = yaml.safe_load((self.home / "ray_bootstrap_config.yaml").read_text())[which][-1]
        met = {"SSH_CONNECTION": f"{LAPTOP} 50000 {address} 22", "RAY_HEAD_IP": HEAD}
        done = subprocess.run(
            ["bash", "-c", command], env={**self.environment, **met}, capture_output=True, text=True, timeout=480
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command as a user of the rack would, from a folder of its own."""
        mine = {
            "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{self.dashboard_port}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.home / ".config/viral/ray_token"),
            **environment,
        }
        return subprocess.run(
            command, cwd=self.home, env={**self.environment, **mine}, capture_output=True, text=True, timeout=480
        )

    def stop(self) -> None:
        """End what runs with this rack's home directory, and nothing else."""
        for process in psutil.process_iter():
            try:
                if process.environ().get("HOME") == str(self.home):
                    process.send_signal(signal.SIGKILL)
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue


@contextmanager
def running_rack(**changes: Any) -> Iterator[Rack]:
    """A rack whose head runs; everything that it started ends with the block.

    `changes` are to what cluster.yaml tells the autoscaler. Programs in `home`/bin come before those of the machine.
    """
    with tempfile.TemporaryDirectory(prefix="rack-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        home = Path(folder)  # short: Ray's sockets lie below it
        ports = _free_ports()
        _lay_out(home, ports, changes)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        environment |= {"HOME": str(home), "RAY_TMPDIR": str(home), "AWS_SECRET_ACCESS_KEY": CANARY}
        environment["PYTHONPATH"] = f"{home}/viral"  # `make setup` there would have installed that checkout
        environment["PATH"] = f"{home}/bin:{environment['PATH']}"
        rack = Rack(home, *ports, environment)
        try:
            rack.start("head_start_ray_commands", HEAD)
            yield rack
        finally:
            rack.stop()


def _lay_out(home: Path, ports: tuple[int, int], changes: dict[str, Any]) -> None:
    """The files that `ray up` and platform/bootstrap.sh put on a machine."""
    from ray.autoscaler._private.util import prepare_config

    checkout, token = home / "viral", home / ".config/viral/ray_token"
    shutil.copytree(ROOT, checkout, ignore=shutil.ignore_patterns(".git", ".venv", "runs", "__pycache__"))
    _link_environment(checkout / ".venv")
    token.parent.mkdir(parents=True)
    token.write_text(secrets.token_hex(32))
    token.chmod(0o600)
    gcs, dashboard = map(str, ports)
    config = yaml.safe_load((ROOT / "cluster.yaml").read_text().replace("6379", gcs).replace("8265", dashboard))
    config["provider"] |= {"head_ip": HEAD, "worker_ips": [WORKER]}
    config["auth"]["ssh_private_key"] = "~/ray_bootstrap_key.pem"  # where `ray up` puts the key for the head's own use
    (home / "ray_bootstrap_key.pem").write_text("the ssh of a test asks for none")
    config |= {"max_workers": 1, "file_mounts": {}, **changes}
    (home / "ray_bootstrap_config.yaml").write_text(yaml.safe_dump(prepare_config(config)))


def _link_environment(folder: Path) -> None:
    """The environment of this Python as `make setup` leaves it."""
    folder.mkdir()
    for path in Path(sys.prefix).iterdir():
        (folder / path.name).symlink_to(path)
    (folder / ".ready").unlink(missing_ok=True)
    (folder / ".ready").touch()  # newer than what it was made from, so that nothing is installed


def _free_ports() -> tuple[int, int]:
    with socket.socket() as first, socket.socket() as second:
        for probe in (first, second):
            probe.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]
