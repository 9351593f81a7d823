"""Ray's own autoscaler brings nodes for a job and lets them go afterwards."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
IDLE_MINUTES = 0.2
EMPTY: dict = {
    **{name: {} for name in ("auth", "docker", "file_mounts")},
    **{
        name: []
        for name in (
            "initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands",
            "head_start_ray_commands", "worker_start_ray_commands", "cluster_synced_files", "rsync_exclude",
            "rsync_filter",
        )
    },
}  # fmt: skip
NODES = """
import ray
ray.init(logging_level="ERROR", log_to_driver=False)
print(sum(node["Alive"] for node in ray.nodes()) - 1)
"""


def description(port: int) -> dict:
    """A cluster whose nodes are processes of this machine; Ray's scheduling of them is the real one."""
    types = {  # the provider calls its head so, whatever is said here
        "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "data": {"resources": {"CPU": 2}, "node_config": {}, "min_workers": 0, "max_workers": 2},
    }
    provider = {
        "type": "fake_multinode", "gcs_address": f"127.0.0.1:{port}", "use_node_id_as_ip": True,
        "disable_node_updaters": True, "disable_launch_config_check": True,
    }  # fmt: skip
    return EMPTY | {
        "cluster_name": "growing",
        "max_workers": 2,
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": IDLE_MINUTES,
        "available_node_types": types,
        "head_node_type": "ray.head.default",
        "provider": provider,
        "file_mounts_sync_continuously": False,
    }


@pytest.fixture
def head() -> Iterator[dict[str, str]]:
    """The environment of a driver on a head without processors, whose workers the autoscaler starts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="grow-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        file = Path(folder) / "cluster.json"
        file.write_text(json.dumps(description(port)))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | {
            "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_TMPDIR": folder,
            "RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1", "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        ray = str(Path(sys.executable).with_name("ray"))
        command = [ray, "start", "--head", "--num-cpus=0", f"--port={port}", "--include-dashboard=false", "--block"]
        command += ["--node-ip-address=127.0.0.1", "--disable-usage-stats", f"--autoscaling-config={file}"]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        try:
            yield environment | {"RAY_ADDRESS": f"127.0.0.1:{port}"}
        finally:
            end_all_with(folder)
            process.wait()


def end_all_with(folder: str) -> None:
    """End the processes whose Ray lies in `folder`."""
    for process in psutil.process_iter():
        try:
            if process.environ().get("RAY_TMPDIR") == folder:
                process.send_signal(signal.SIGKILL)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue


def count(environment: dict[str, str]) -> int | None:
    """Nodes beside the head; None while there is no head yet."""
    done = subprocess.run([sys.executable, "-c", NODES], env=environment, capture_output=True, text=True)
    return int(done.stdout.splitlines()[-1]) if done.returncode == 0 else None


def wait_for(environment: dict[str, str], nodes: int, within_s: float) -> None:
    end = time.monotonic() + within_s
    while (found := count(environment)) != nodes:
        assert time.monotonic() < end, f"{found} nodes after {within_s} s, {nodes} were expected"
        time.sleep(1)


@pytest.mark.timeout(900)
def test_cluster_grows_from_no_worker_under_a_job_and_shrinks_after_it(head: dict[str, str], tmp_path: Path) -> None:
    wait_for(head, 0, within_s=120)
    job = [sys.executable, str(ROOT / "jobs/generate_dataset.py"), str(ROOT / "jobs/configs/tiny.yaml")]
    small = ["data.tasks=[negative]", "data.train_crops=16", "data.test_crops=8", "data.rows_per_shard=4"]
    done = subprocess.run(
        [*job, f"storage={tmp_path}", *small], env=head, cwd=ROOT, capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stderr
    assert "24 pairs of 24 asked for" in done.stdout
    assert count(head)  # not idle for long enough yet
    wait_for(head, 0, within_s=60 * IDLE_MINUTES + 120)
