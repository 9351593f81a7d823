"""A race: one way of ours against what people would use instead, in turn, and whether both came to the same."""

import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

Result = Mapping[str, Tensor]
"""What an arm came to, by name."""
Arm = Callable[[], Result]


@dataclass(frozen=True)
class Gate:
    """Whether two arms came to the same, in words and in short."""

    told: str
    passed: bool


Check = Callable[[Result, Result], Gate]
"""Compares what ours and theirs came to."""

RUNS, REPEATS = 7, 5
LONG = 3
"""Repeats where a run is itself a sum of dozens of steps, so that fifteen minutes hold all rows."""
CORES = len(os.sched_getaffinity(0))
GROWTH_CORES = 8
"""Cores from which on growth from 1 to 2 says something: with fewer, the second worker takes the first one's."""


@dataclass(frozen=True)
class Peer:
    """What people would use instead, and how much slower than ours it has to be."""

    id: str
    name: str
    bar: float
    floor: float
    """The ratio at which our way would cost no more than its arithmetic."""
    run: Arm
    expected: Arm | None = None
    """What ours must come to, where the peer by design computes something else."""
    tolerance: float = 1e-5
    check: Check | None = None
    """How the arms are compared, if not by their relative error."""
    beside: str = ""
    """What is worth knowing but is in neither arm."""


@dataclass(frozen=True)
class Race:
    """One workload, our arm and its peers."""

    workload: str
    ours: Arm
    peers: tuple[Peer, ...]
    repeats: int = REPEATS
    """How often the least of seven runs is taken."""


@dataclass(frozen=True)
class Row:
    """One claim: seconds of both arms, theirs / ours, and whether that passes; null where it was not measured."""

    id: str
    workload: str
    peer: str
    ours: float | None
    theirs: float | None
    ratio: float | None
    bar: float
    floor: float
    gate: str
    passed: bool | None


def not_measured(name: str, workload: str, peer: str, bar: float, floor: float) -> Row:
    """The row of a growth from 1 to 2 on a machine that is too small to tell."""
    gate = f"not measured: growth needs {GROWTH_CORES} cores, this machine has {CORES}"
    return Row(name, workload, peer, None, None, None, bar, floor, gate, None)


def run_race(race: Race) -> list[Row]:
    """Rows of all peers; a peer to which ours is not equal gets no ratio and is not timed."""
    gates = [compare(peer, race.ours()) for peer in race.peers]
    equal = [peer for peer, gate in zip(race.peers, gates, strict=True) if gate.passed]
    repeats = [best_of((race.ours, *(peer.run for peer in equal))) for _ in range(race.repeats)] if equal else []
    return [_row(race, peer, gate, equal, repeats) for peer, gate in zip(race.peers, gates, strict=True)]


def compare(peer: Peer, ours: Result) -> Gate:
    """The gate of one peer."""
    theirs = (peer.expected or peer.run)()
    if peer.check is not None:
        return peer.check(ours, theirs)
    error = largest_error(ours, theirs)
    return Gate(f"relative error {error:.1e} of at most {peer.tolerance:.0e}", error <= peer.tolerance)


def _row(race: Race, peer: Peer, gate: Gate, equal: list[Peer], repeats: list[list[float]]) -> Row:
    told = "; ".join(filter(None, (gate.told, peer.beside)))
    about = {"id": peer.id, "workload": race.workload, "peer": peer.name, "bar": peer.bar, "floor": peer.floor}
    if not gate.passed:
        return Row(**about, ours=None, theirs=None, ratio=None, gate=told, passed=False)
    place = 1 + equal.index(peer)
    ratio = statistics.median(times[place] / times[0] for times in repeats)
    ours, theirs = (min(times[i] for times in repeats) for i in (0, place))
    return Row(**about, ours=ours, theirs=theirs, ratio=ratio, gate=told, passed=ratio >= peer.bar)


def best_of(arms: tuple[Callable[[], object], ...], runs: int = RUNS) -> list[float]:
    """Least processor seconds of each arm, the arms taken in turn."""
    times: list[list[float]] = [[] for _ in arms]
    for _ in range(runs):
        for taken, arm in zip(times, arms, strict=True):
            start = time.process_time()
            arm()
            taken.append(time.process_time() - start)
    return [min(taken) for taken in times]


def largest_error(ours: Result, theirs: Result) -> float:
    """Largest of the errors |ours - theirs| / |theirs| of what the peer came to; infinite for what is not a number."""
    errors = [_error(ours[name], expected) for name, expected in theirs.items()]
    return float(torch.tensor(errors).nan_to_num(nan=torch.inf).max())


def _error(ours: Tensor, theirs: Tensor) -> float:
    difference = (ours.double() - theirs.double()).norm()
    return float(difference / theirs.double().norm()) if difference else 0.0
