"""A finding that is really run: data made, an adapter trained by the ordinary job, scored on unseen scenes, kept."""

from pathlib import Path

from tests.evaluation.protocols.conftest import protocol_config
from tests.train.conftest import free_port
from viral.evaluation.findings import Arm, Finding
from viral.evaluation.findings_run import changed, found_trials, run_finding, setting
from viral.shipped import SHIPPED_BASE
from viral.tracking import tracking_server


def test_a_trial_is_trained_scored_kept_and_not_run_twice(ray_cluster: None, tmp_path: Path) -> None:
    own = protocol_config(SHIPPED_BASE, tmp_path, cases=2)
    small = {
        "dataset.sources": {"plain": {"kind": "scenes"}},
        "dataset.parts": {"plain": {"source": "plain", "images": 4, "tasks": ["negative", "edge"]}},
        "adapter.rank": 2, "adapter.expert_rank": 2, "adapter.num_experts": 2, "findings.seeds": 1,
        "train.steps": 2, "train.batch_size": 2, "train.micro_batch": 2, "train.workers": 1, "train.log_every": 1,
        "train.save_every": 2, "tracking.port": free_port(), "tracking.uri": None,
    }  # fmt: skip
    config = changed(own, small)
    finding = Finding("alone", "One arm", "Nothing.", lambda config: (Arm("no roles", {"train.roles": "none"}),))
    with tracking_server(config) as uri:
        tracked = changed(config, {"tracking.uri": uri})
        (trial,) = run_finding(tracked, finding)
        assert {error.column.partition("/")[0] for error in trial.errors.values()} >= {"depth", "edge", "negative"}
        assert trial.figures["parameters"] > 0 and trial.figures["samples/s"] > 0
        place = tmp_path / "findings" / "alone" / setting(config, finding) / "no-roles" / "seed-0" / "trial.json"
        kept = place.stat().st_mtime_ns
        assert list(run_finding(tracked, finding)) == list(found_trials(config, finding)) == [trial]
    assert place.stat().st_mtime_ns == kept
