"""Who is let in while the editors are known to be full."""

import serve.admission
from serve.admission import Admission


def test_everybody_is_let_in_until_the_editors_refuse_somebody():
    admission = Admission()
    assert all(admission.enter() for _ in range(100))


def test_after_a_refusal_one_is_let_in_for_every_edit_that_ends():
    admission = Admission()
    admission.refused()
    assert not admission.enter()
    admission.ended()
    admission.ended()
    assert [admission.enter() for _ in range(3)] == [True, True, False]


def test_a_refusal_is_forgotten_in_time_because_there_may_be_more_editors(monkeypatch):
    now = 100.0
    monkeypatch.setattr(serve.admission.time, "monotonic", lambda: now)
    admission = Admission()
    admission.refused()
    now += serve.admission.PROBE_S / 2
    assert not admission.enter()
    now += serve.admission.PROBE_S
    assert admission.enter() and admission.enter()
