"""cluster.yaml on a machine whose ssh leads to itself: Ray's autoscaler starts a worker for a job and lets it go."""

import sys
import time
from pathlib import Path

import pytest

from tests.platform.rack import HEAD, WORKER, Rack, running_rack

IDLE_MINUTES = 0.2
SSH = f"""#!/usr/bin/env bash
# The other machine is this one. `ray stop` would end every Ray here, not the other machine's alone.
until [[ $1 == *@{WORKER} ]]; do shift; done
shift
[[ $* == *"ray stop"* ]] && exit 0
SSH_CONNECTION="{HEAD} 50000 {WORKER} 22" exec bash -c "$*"
"""
JOB = """
import ray
ray.init(logging_level="ERROR", log_to_driver=False)
there = ray.cluster_resources()["CPU"]

@ray.remote(num_cpus=there)
class Holder:
    def where(self):
        return ray.util.get_node_ip_address()

first = Holder.remote()
print(ray.get(first.where.remote()))
second = Holder.remote()  # for which the head has no room
print(ray.get(second.where.remote(), timeout=400))
"""
ALIVE = """
import ray
ray.init(logging_level="ERROR", log_to_driver=False)
print(*sorted(node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]))
"""


def alive(rack: Rack) -> list[str]:
    done = rack.run(sys.executable, "-c", ALIVE, RAY_ADDRESS=rack.address)
    return done.stdout.splitlines()[-1].split()


@pytest.mark.timeout(900)
def test_worker_is_started_for_a_job_and_released_when_idle() -> None:
    with running_rack(idle_timeout_minutes=IDLE_MINUTES) as rack:
        put_program(rack.home / "bin/ssh", SSH)
        put_program(rack.home / "bin/rsync", "#!/bin/sh\nexit 0\n")  # both machines have the same files
        assert alive(rack) == [HEAD]
        done = rack.run(sys.executable, "-c", JOB, RAY_ADDRESS=rack.address)
        assert done.stdout.split() == [HEAD, WORKER], done.stderr
        end = time.monotonic() + 60 * IDLE_MINUTES + 120
        while alive(rack) != [HEAD]:
            assert time.monotonic() < end, "the idle worker was not released"


def put_program(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
