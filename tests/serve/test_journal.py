"""Accepted jobs on disk, and who may ask how often."""

from pathlib import Path

import pytest

from serve.ledger import Claim, Full, KeyReused, Ledger, NoSuchJob
from serve.visits import FORGET_S, WINDOW_S, Visits


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "serve" / "journal.sqlite"


def ledger(file: Path, max_waiting: int = 10, keep_s: float = 60) -> Ledger:
    return Ledger(file, max_waiting, keep_s)


def test_accepted_job_is_there_after_the_process_is_gone(file):
    assert ledger(file).begin("j1", "ann", "k", "digest", b"asked") == Claim("j1", True)
    later = ledger(file)
    assert later.waiting() == ["j1"]
    assert later.request("j1") == b"asked"


def test_same_key_is_the_same_job_and_another_request_under_it_is_refused(file):
    book = ledger(file)
    book.begin("j1", "ann", "k", "digest", b"asked")
    assert book.begin("j2", "ann", "k", "digest", b"asked") == Claim("j1", False)
    with pytest.raises(KeyReused, match="'k'"):
        book.begin("j3", "ann", "k", "other", b"else")
    assert book.begin("j4", "bob", "k", "other", b"else").new
    assert book.waiting() == ["j1", "j4"]


def test_a_call_that_is_sent_again_begins_one_job(file):
    book = ledger(file)
    assert book.begin("j1", "", None, "digest", b"asked") == book.begin("j1", "", None, "digest", b"asked")
    assert book.waiting() == ["j1"]


def test_the_first_end_of_a_job_stands(file):
    book = ledger(file)
    book.begin("j1", "", None, "digest", b"asked")
    assert book.finish("j1", "done", answer=b"png")
    assert not book.finish("j1", "cancelled")
    assert (book.job("j1").state, book.job("j1").answer) == ("done", b"png")
    with pytest.raises(NoSuchJob):
        book.request("j1")


def test_too_many_waiting_jobs_are_refused_and_known_keys_are_not(file):
    book = ledger(file, max_waiting=1)
    book.begin("j1", "", "k", "digest", b"asked")
    with pytest.raises(Full):
        book.begin("j2", "", None, "digest", b"asked")
    assert book.begin("j3", "", "k", "digest", b"asked").job == "j1"


def test_jobs_that_are_over_are_forgotten_in_time(file):
    book = ledger(file, keep_s=0)
    book.begin("j1", "", "k", "digest", b"asked")
    book.finish("j1", "done", answer=b"png")
    book.begin("j2", "", None, "digest", b"asked")
    with pytest.raises(NoSuchJob):
        book.job("j1")


def test_a_job_is_hidden_from_other_owners(file):
    book = ledger(file)
    book.begin("j1", "ann", None, "digest", b"asked")
    assert book.job("j1", "ann").id == "j1"
    with pytest.raises(NoSuchJob):
        book.job("j1", "bob")


def test_rate_is_counted_over_a_sliding_minute():
    visits = Visits()
    assert [visits.admit(f"v{i}", "ann", 2, None, now=float(i)) for i in range(2)] == [0.0, 0.0]
    assert visits.admit("v2", "ann", 2, None, now=10.0) == WINDOW_S - 10
    assert visits.admit("v2", "bob", 2, None, now=10.0) == 0.0
    assert visits.admit("v2b", "ann", 2, None, now=WINDOW_S) == 0.0


def test_concurrent_visits_are_limited_until_one_leaves_or_is_forgotten():
    visits = Visits()
    assert visits.admit("v1", "ann", None, 1, now=0.0) == 0.0
    assert visits.admit("v1", "ann", None, 1, now=0.0) == 0.0, "the same call sent again"
    assert visits.admit("v2", "ann", None, 1, now=0.0) > 0
    visits.leave("v1")
    assert visits.admit("v2", "ann", None, 1, now=0.0) == 0.0
    assert visits.admit("v3", "ann", None, 1, now=FORGET_S) == 0.0
