"""Whether a cluster is fit to train: cards, clocks, network, storage and MLflow, each tried on every node.

python platform/check_cluster.py [config.yaml] [storage=s3://bucket/run] [tracking.uri=http://head:5000]

Runs where RAY_ADDRESS points, or as a job, while no other job holds GPUs. Prints a table; ends with 0 when everything
is fit and with 1 when not.
"""

import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from rich.console import Console
from rich.table import Table

from viral.config import RunConfig, load, stop

SKEW_S = 0.5
"""Clocks further apart than this put the points of MLflow's curves and the lines of logs out of order."""
SLOWEST_GB_S = 0.1
"""A tenth of what 10 Gbit/s carry: below it, traffic goes through a network that is not meant for it."""
STORED_BYTES, REDUCED_BYTES = 16 << 20, {"gloo": 16 << 20, "nccl": 1 << 30}
REPEATS, START_S, CHECK_S = 5, 300, 300


@dataclass(frozen=True)
class Finding:
    """One line of the table."""

    what: str
    where: str
    found: str
    fit: bool


class Node:
    """What Ray says of one node."""

    def __init__(self, entry: dict[str, Any]) -> None:
        self.id: str = entry["NodeID"]
        self.address: str = entry["NodeManagerAddress"]
        self.gpus = int(entry["Resources"].get("GPU", 0))


class Probe:
    """Looks at the node that it runs on."""

    def clock(self) -> float:
        return time.time()

    def cards(self) -> list[str]:
        import torch

        return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]

    def write(self, storage: str, name: str) -> float:
        """Seconds that storing a file takes."""
        from viral.storage import Storage

        start = time.monotonic()
        Storage(storage).join("check").write(name, bytes(STORED_BYTES))
        return time.monotonic() - start

    def read(self, storage: str, name: str) -> float:
        """Seconds that reading it takes, and removes it; `ValueError` where it is not what was stored."""
        from viral.storage import Storage

        place, start = Storage(storage).join("check"), time.monotonic()
        if place.read(name) != bytes(STORED_BYTES):
            raise ValueError(f"{place}/{name} is not what was written")
        seconds = time.monotonic() - start
        place.delete(name)
        return seconds

    def experiments(self, uri: str) -> int:
        """HTTP status of a question to MLflow; its /health also answers names that it refuses otherwise."""
        import httpx

        question = f"{uri.rstrip('/')}/api/2.0/mlflow/experiments/search"
        return httpx.get(question, params={"max_results": 1}, timeout=10, trust_env=False).status_code

    def address(self) -> str:
        """Where the first of a group of processes can be met."""
        with socket.socket() as free:
            free.bind(("", 0))
            return f"tcp://{ray.util.get_node_ip_address()}:{free.getsockname()[1]}"

    def all_reduce(self, address: str, rank: int, world: int, backend: str) -> float:
        """Bus bandwidth in GB/s, as NCCL's tests count it: 2 (n - 1) / n times the bytes, by the time."""
        import torch
        from torch import distributed

        distributed.init_process_group(backend, init_method=address, rank=rank, world_size=world)
        device = "cuda" if backend == "nccl" else "cpu"
        numbers = torch.ones(REDUCED_BYTES[backend] // 4, device=device)
        distributed.all_reduce(numbers)  # the first one builds the rings
        start = time.monotonic()
        for _ in range(REPEATS):
            distributed.all_reduce(numbers)
        if backend == "nccl":
            torch.cuda.synchronize()
        seconds = (time.monotonic() - start) / REPEATS
        distributed.destroy_process_group()
        return 2 * (world - 1) / world * REDUCED_BYTES[backend] / seconds / 1e9


def main() -> None:
    """Read the command line, look at every node, print the table, end with the verdict."""
    config = load(__doc__ or "")

    from viral.cluster import connect

    try:
        with connect(config):
            findings = list(_look(config))
    except ValueError as error:
        stop(str(error))
    _print(findings)
    raise SystemExit(0 if all(finding.fit for finding in findings) else 1)


def _look(config: RunConfig) -> Iterator[Finding]:
    from viral.storage import Storage

    storage = Storage(config.storage).uri  # absolute: nodes start in folders of their own
    nodes = [Node(node) for node in ray.nodes() if node["Alive"]]
    probes = [_probe(node.id, node.gpus) for node in nodes]
    for node, probe in zip(nodes, probes, strict=True):
        yield _tried("cards", node.address, partial(_cards, probe, node.gpus))
        yield _tried("clock", node.address, partial(_clock, probe))
        if config.tracking.uri is not None:
            yield _tried("MLflow", node.address, partial(_tracking, probe, config.tracking.uri))
    for node, writer, reader in zip(nodes, probes, [*probes[1:], *probes[:1]], strict=True):
        yield _tried("storage", node.address, partial(_storage, storage, writer, reader))
    for probe in probes:
        ray.kill(probe)
    yield from _network(nodes)


def _network(nodes: list[Node]) -> Iterator[Finding]:
    """All-reduce over all GPUs of the cluster, else over the processors of all nodes."""
    cards = [node.id for node in nodes for _ in range(node.gpus)]
    backend, places = ("nccl", cards) if cards else ("gloo", [node.id for node in nodes])
    if len(places) > 1:
        yield _tried("all-reduce", f"{len(places)} processes, {backend}", partial(_all_reduce, backend, places))


def _probe(node_id: str, gpus: int) -> Any:
    place = NodeAffinitySchedulingStrategy(node_id, soft=False)
    return ray.remote(num_cpus=0, num_gpus=gpus)(Probe).options(scheduling_strategy=place).remote()


def _tried(what: str, where: str, check: Callable[[], tuple[str, bool]]) -> Finding:
    """The finding of a check; one that fails is a finding too."""
    try:
        return Finding(what, where, *check())
    except (RayError, ValueError) as error:
        return Finding(what, where, str(error).strip().splitlines()[-1], False)


def _ask(method: Any, *words: Any) -> Any:
    return ray.get(method.remote(*words), timeout=CHECK_S)


def judge_cards(seen: list[str], promised: int) -> tuple[str, bool]:
    """Whether torch sees as many GPUs as Ray gives out."""
    return f"{len(seen)} seen, {promised} given to Ray {', '.join(sorted(set(seen)))}".rstrip(), len(seen) >= promised


def judge_clock(offset: float, error: float) -> tuple[str, bool]:
    """Whether a clock that is `offset` seconds ahead, give or take `error`, is near enough."""
    return f"{1000 * offset:+.1f} ms, give or take {1000 * error:.1f}", abs(offset) - error < SKEW_S


def judge_answer(status: int) -> tuple[str, bool]:
    """Whether MLflow's HTTP status means that it can be used from there."""
    refused = "; add this name to MLFLOW_SERVER_ALLOWED_HOSTS of the server" if status == 403 else ""
    return f"HTTP {status}{refused}", status == 200


def _cards(probe: Any, promised: int) -> tuple[str, bool]:
    return judge_cards(_ask(probe.cards), promised)


def _clock(probe: Any) -> tuple[str, bool]:
    # The fastest of some exchanges bounds the error best.
    return judge_clock(*min((_exchange(probe) for _ in range(REPEATS)), key=lambda exchange: exchange[1]))


def _exchange(probe: Any) -> tuple[float, float]:
    start = time.time()
    there = _ask(probe.clock)
    end = time.time()
    return there - (start + end) / 2, (end - start) / 2


def _tracking(probe: Any, uri: str) -> tuple[str, bool]:
    return judge_answer(_ask(probe.experiments, uri))


def _storage(storage: str, writer: Any, reader: Any) -> tuple[str, bool]:
    """What one node wrote, the next one reads."""
    name = f"{time.time_ns()}.bin"
    wrote, read = (_ask(method, storage, name) for method in (writer.write, reader.read))
    speeds = (f"{what} {STORED_BYTES / seconds / 1e6:.0f} MB/s" for what, seconds in (("write", wrote), ("read", read)))
    return ", ".join(speeds), True


def _all_reduce(backend: str, places: list[str]) -> tuple[str, bool]:
    probes = [_probe(place, int(backend == "nccl")) for place in places]
    address = ray.get(probes[0].address.remote(), timeout=START_S)
    asked = [probe.all_reduce.remote(address, rank, len(probes), backend) for rank, probe in enumerate(probes)]
    slowest = min(ray.get(asked, timeout=CHECK_S))
    for probe in probes:
        ray.kill(probe)
    return f"{slowest:.2f} GB/s", slowest >= SLOWEST_GB_S


def _print(findings: list[Finding]) -> None:
    table = Table("", "where", "found", "")
    for finding in findings:
        table.add_row(finding.what, finding.where, finding.found, "fit" if finding.fit else "[red]not fit[/red]")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
