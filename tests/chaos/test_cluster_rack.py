"""cluster.yaml's own commands bring up a rack that takes jobs, passes its check and lets its workers go."""

import json
import sys
from collections.abc import Iterator

import pytest

from tests.platform.rack import CANARY, HEAD, ROOT, WORKER, Rack, running_rack

NODES = """
import json, ray
ray.init(logging_level="ERROR", log_to_driver=False)

@ray.remote(num_cpus=0.1, resources={"node:127.0.0.3": 0.01})
def where():
    import serve.app
    return ray.util.get_node_ip_address()

nodes = {node["NodeManagerAddress"]: node["Resources"].get("GPU", 0) for node in ray.nodes() if node["Alive"]}
print(json.dumps({"nodes": nodes, "worked": ray.get(where.remote(), timeout=120)}))
"""


RELEASE = """
import pathlib, subprocess, sys, time, ray
ray.init(logging_level="ERROR", log_to_driver=False)
(worker,) = (node["NodeID"] for node in ray.nodes() if node["NodeManagerAddress"] == "127.0.0.3")
program, address = pathlib.Path(sys.executable).with_name("ray"), ray.get_runtime_context().gcs_address
drain = [program, "drain-node", "--address", address, "--node-id", worker]
subprocess.run([*drain, "--reason=DRAIN_NODE_REASON_IDLE_TERMINATION", "--reason-message=idle"], check=True)
end = time.monotonic() + 60
while len(alive := [node for node in ray.nodes() if node["Alive"]]) > 1 and time.monotonic() < end:
    time.sleep(0.2)
print(*(node["NodeManagerAddress"] for node in alive))
"""


@pytest.fixture(scope="module")
def rack() -> Iterator[Rack]:
    """A running head, shared by the tests of this file."""
    with running_rack() as rack:
        yield rack


@pytest.fixture(scope="module")
def worker(rack: Rack) -> None:
    rack.start("worker_start_ray_commands", WORKER)


def submit(word: str) -> list[str]:
    """The command that submits the check of the cluster."""
    program = [sys.executable, str(ROOT / "jobs/submit_job.py"), "check", "--"]
    return [*program, "python", "platform/check_cluster.py", word]


def test_worker_joins_and_works(rack: Rack, worker: None) -> None:
    done = rack.run(sys.executable, "-c", NODES, RAY_ADDRESS=rack.address)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["nodes"].keys() == {HEAD, WORKER}
    assert found["nodes"][HEAD] == 0
    assert found["worked"] == WORKER


def test_cluster_is_checked_by_a_job_on_every_node(rack: Rack, worker: None) -> None:
    done = rack.run(*submit(f"storage={rack.home}/run"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "check: SUCCEEDED"
    seen = {tuple(line.split()[1:4:2]) for line in done.stdout.splitlines() if " fit " in line}
    assert seen >= {(what, node) for what in ("cards", "clock", "storage") for node in (HEAD, WORKER)}
    assert ("all-reduce", "2") in seen
    assert not list((rack.home / "run/check").iterdir())


def test_same_name_again_answers_with_the_first_ones_state(rack: Rack) -> None:
    again, other = rack.run(*submit(f"storage={rack.home}/run")), rack.run(*submit("storage=elsewhere"))
    assert (again.returncode, again.stdout.splitlines()[0]) == (0, "check: submitted before, SUCCEEDED")
    assert (other.returncode, len(other.stderr.splitlines())) == (2, 1)
    assert "check was submitted with another command" in other.stderr


def test_secrets_stay_out_of_the_logs(rack: Rack) -> None:
    """Runs after jobs have run; Ray's session folder has every log of head, worker and jobs."""
    token = (rack.home / ".config/viral/ray_token").read_text()
    logs = [path for path in rack.home.glob("**/logs/**/*") if path.is_file()]
    assert any("job-driver-check" in path.name for path in logs)
    told = [path for path in logs if any(secret.encode() in path.read_bytes() for secret in (token, CANARY))]
    assert not told


def test_idle_worker_is_released_as_the_autoscaler_does_it(rack: Rack, worker: None) -> None:
    """Runs last. The whole way, with Ray's autoscaler asking for the worker, is in tests/chaos/test_cluster_up.py."""
    done = rack.run(sys.executable, "-c", RELEASE, RAY_ADDRESS=rack.address)
    assert done.stdout.splitlines()[-1:] == [HEAD], done.stderr
