"""Rows of the benchmark: what a ratio is, and when there is none."""

import time

import torch
from timing import Gate, Peer, Race, Result, Row, run_race


def spin(milliseconds: float, value: float = 1.0) -> Result:
    """Takes processor time and comes to a value."""
    end = time.process_time() + milliseconds / 1000
    while time.process_time() < end:
        pass
    return {"value": torch.tensor(value)}


def measure(peer: Peer) -> Row:
    (row,) = run_race(Race("spin", lambda: spin(2), (peer,)))
    return row


def test_the_ratio_is_their_time_over_ours() -> None:
    row = measure(Peer("S", "twice as long", 1.5, 2.0, lambda: spin(4)))
    assert row.ratio is not None
    assert 1.8 < row.ratio < 2.2
    assert row.passed


def test_a_bar_that_is_missed_says_so_and_keeps_its_ratio() -> None:
    row = measure(Peer("S", "as long", 1.5, 2.0, lambda: spin(2)))
    assert row.ratio is not None
    assert not row.passed


def test_arms_that_disagree_have_no_ratio() -> None:
    row = measure(Peer("S", "slow and wrong", 1.5, 2.0, lambda: spin(4, 1.1)))
    assert (row.ours, row.theirs, row.ratio, row.passed) == (None, None, None, False)
    assert "relative error 9.1e-02" in row.gate


def test_a_peer_that_computes_something_else_is_held_to_what_it_should() -> None:
    row = measure(Peer("S", "another result", 1.5, 2.0, lambda: spin(4, 7.0), expected=lambda: spin(0)))
    assert row.passed


def test_a_gate_of_its_own_decides() -> None:
    refused = Gate("never", False)
    row = measure(Peer("S", "refused", 1.5, 2.0, lambda: spin(4), check=lambda ours, theirs: refused))
    assert row.ratio is None
    assert row.gate == "never"
