"""A race: one way of ours against what people would use instead, in turn, and whether both came to the same."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

Result = Mapping[str, Tensor]
"""What an arm came to, by name."""
Arm = Callable[[], Result]

RUNS, REPEATS = 7, 5


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
    beside: str = ""
    """What is worth knowing but is in neither arm."""


@dataclass(frozen=True)
class Race:
    """One workload, our arm and its peers."""

    workload: str
    ours: Arm
    peers: tuple[Peer, ...]


@dataclass(frozen=True)
class Row:
    """One claim: processor seconds of both arms, theirs / ours, and whether that passes."""

    id: str
    workload: str
    peer: str
    ours: float | None
    theirs: float | None
    ratio: float | None
    bar: float
    floor: float
    gate: str
    passed: bool


def run_race(race: Race) -> list[Row]:
    """Rows of all peers; a peer to which ours is not equal gets no ratio and is not timed."""
    errors = [largest_error(race.ours(), (peer.expected or peer.run)()) for peer in race.peers]
    equal = [peer for peer, error in zip(race.peers, errors, strict=True) if error <= peer.tolerance]
    repeats = [best_of((race.ours, *(peer.run for peer in equal))) for _ in range(REPEATS)] if equal else []
    return [_row(race, peer, error, equal, repeats) for peer, error in zip(race.peers, errors, strict=True)]


def _row(race: Race, peer: Peer, error: float, equal: list[Peer], repeats: list[list[float]]) -> Row:
    gate = f"relative error {error:.1e} of at most {peer.tolerance:.0e}{'; ' * bool(peer.beside)}{peer.beside}"
    about = {"id": peer.id, "workload": race.workload, "peer": peer.name, "bar": peer.bar, "floor": peer.floor}
    if peer not in equal:
        return Row(**about, ours=None, theirs=None, ratio=None, gate=gate, passed=False)
    place = 1 + equal.index(peer)
    ratio = statistics.median(times[place] / times[0] for times in repeats)
    ours, theirs = (min(times[i] for times in repeats) for i in (0, place))
    return Row(**about, ours=ours, theirs=theirs, ratio=ratio, gate=gate, passed=ratio >= peer.bar)


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
