"""The findings: arms that change what they say, trials that are compared fairly, a page that hides nothing."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.evaluation.protocols.conftest import protocol_config, write_adapter
from viral.config import RunConfig, resolve
from viral.evaluation.findings import FINDINGS, Finding
from viral.evaluation.findings_asked import ask_examples, ask_filters
from viral.evaluation.findings_page import findings_page
from viral.evaluation.findings_router import router_turn
from viral.evaluation.findings_run import changed, equal_trial, found_trials, scores_of, setting
from viral.evaluation.findings_trial import Trial, difference, find_trial, mean_error
from viral.evaluation.protocols.proof_error import CaseError
from viral.evaluation.protocols.protocol import Score
from viral.evaluation.protocols.rows import rows_of
from viral.evaluation.protocols.viral_tables import TABLE3
from viral.model.adapter import adapter_parameters, inject_adapter
from viral.model.backbone import load_backbone
from viral.shipped import SHIPPED_ADAPTERS
from viral.storage import Storage

CONFIG = resolve("jobs/configs/embedded.yaml", [])


def _finding(name: str) -> Finding:
    (found,) = [finding for finding in FINDINGS if finding.name == name]
    return found


def _trial(arm: str, seed: int, errors: list[float]) -> Trial:
    cases = {f"edge/{i}": CaseError(f"scene {i // 2}", "edge/edge_f1", error) for i, error in enumerate(errors)}
    return Trial(arm=arm, seed=seed, key="k", errors=cases, figures={"samples/s": 20.0})


@pytest.mark.parametrize("finding", FINDINGS, ids=lambda finding: finding.name)
def test_every_arm_of_a_training_is_a_configuration_that_makes_sense(finding: Finding) -> None:
    arms = finding.arms(CONFIG)
    assert len(arms) >= 2 and len({arm.name for arm in arms}) == len(arms)
    for arm in arms:
        if finding.trained and arm.missing is None:
            config = changed(CONFIG, arm.changes)
            assert all(_value(config, key) == value for key, value in arm.changes.items())


def _value(config: RunConfig, key: str) -> object:
    value: object = config
    for name in key.split("."):
        value = getattr(value, name)
    return value


def test_plain_lora_has_as_many_parameters_as_the_experts_but_their_routers(tiny_base: Path) -> None:
    small = changed(CONFIG, {"adapter.rank": 4, "adapter.expert_rank": 2})
    counts = {}
    for arm in _finding("experts").arms(small):
        transformer = load_backbone(str(tiny_base), ("transformer",)).transformer
        assert transformer is not None
        inject_adapter(transformer, changed(small, arm.changes).adapter)
        named = adapter_parameters(transformer).items()
        counts[arm.name] = sum(p.numel() for name, p in named if not name.endswith("lora_router"))
    mixture, equal, active = counts.values()
    assert mixture == equal > active


def test_a_task_alone_takes_the_steps_that_joint_training_spends_on_it() -> None:
    joint, *alone = _finding("joint").arms(CONFIG)
    assert not joint.changes and {arm.tasks for arm in alone} == {("depth",), ("edge",), ("colorization",)}
    steps = {arm.tasks[0]: arm.changes["train.steps"] for arm in alone}
    assert steps["edge"] / steps["depth"] == pytest.approx(0.5 / 3, rel=0.02)
    assert sum(steps.values()) < CONFIG.train.steps


def test_equal_trials_differ_by_nothing_and_worse_ones_by_what_they_err_more() -> None:
    rng = np.random.default_rng(0)
    errors = [list(rng.random(20)) for _ in range(3)]
    first = [_trial("a", seed, own) for seed, own in enumerate(errors)]
    worse = [_trial("b", seed, [error + 0.2 for error in own]) for seed, own in enumerate(errors)]
    same = difference(first, first)
    assert (same.mean, same.low, same.high) == (0, 0, 0)
    more = difference(first, worse)
    assert more.mean == pytest.approx(0.2) and more.low == pytest.approx(0.2)
    whole = mean_error(first)
    assert whole.low < whole.mean < whole.high and whole.mean == pytest.approx(np.mean(errors))


def test_seeds_that_disagree_widen_the_interval() -> None:
    agreeing = [_trial("a", seed, [0.5] * 8) for seed in range(3)]
    apart = [_trial("a", seed, [0.2 + 0.3 * seed] * 8) for seed in range(3)]
    narrow, wide = (mean_error(trials) for trials in (agreeing, apart))
    assert narrow.high - narrow.low == pytest.approx(0) and wide.high - wide.low > 0.2


def test_trials_without_a_common_case_are_not_compared() -> None:
    with pytest.raises(ValueError, match="no case in common"):
        difference([_trial("a", 0, [0.1, 0.2])], [_trial("b", 1, [0.1, 0.2])])


def test_a_trial_made_from_something_else_is_not_taken(tmp_path: Path) -> None:
    place = Storage(str(tmp_path))
    trial = _trial("a", 0, [0.1, 0.4]).keep(place)
    assert find_trial(place, "k") == trial and find_trial(place, "other") is None


def test_a_training_of_another_question_that_was_the_same_is_found(tmp_path: Path) -> None:
    config = changed(CONFIG, {"storage": str(tmp_path)})
    own = setting(config, _finding("roles"))
    place = Storage(str(tmp_path)).join("findings", "roles", own, "roles-on-the-rope", "seed-0")
    trial = _trial("roles on the rope", 0, [0.1, 0.4]).keep(place)
    assert equal_trial(config, "k") == trial and equal_trial(config, "other") is None


@pytest.mark.parametrize(
    ("name", "arm", "change"),
    [("roles", "roles-on-the-rope", {"train.steps": 7}), ("examples", "k-1", {"adapters.ours": "viral/fill_adapter"})],
)
def test_trials_of_another_setting_are_not_told(name: str, arm: str, change: dict[str, Any], tmp_path: Path) -> None:
    config = changed(CONFIG, {"storage": str(tmp_path), "adapters.ours": "viral/adapter"})
    finding = _finding(name)
    assert not list(found_trials(changed(config, {"adapters.ours": "nowhere"}), finding))
    place = Storage(str(tmp_path)).join("findings", name, setting(config, finding), arm, "seed-0")
    trial = _trial("it", 0, [0.1]).keep(place)
    assert list(found_trials(config, finding)) == [trial]
    assert not list(found_trials(changed(config, change), finding))


def test_the_page_tells_what_was_not_run_and_why_and_what_the_arms_came_to() -> None:
    trials = {
        "context": [_trial("full", s, [0.5, 0.6, 0.7, 0.5]) for s in range(3)]
        + [_trial("stationary", s, [0.8, 0.9, 1.0, 0.8]) for s in range(3)]
    }
    page = findings_page(resolve("jobs/configs/embedded.yaml", []), "embedded.yaml", trials)
    assert all(f"## {finding.title}" in page for finding in FINDINGS)
    assert "| full | 0.575 [" in page and "- Stationary errs more than full: +0.300 [+0.300, +0.300]." in page
    assert page.count("Not run.") == len(FINDINGS) - 1
    assert "encoded together with the images" in page and "C7 to C9" in page and "`consensus`" not in page
    later = {"roles": [_trial("roles on the rope", 0, [0.5]), _trial("no roles", 0, [0.75])]}
    goes_on = findings_page(resolve("jobs/configs/embedded.yaml", []), "embedded.yaml", later, page)
    assert "| full | 0.575 [" in goes_on and "+0.250" in goes_on and goes_on.count("Not run.") == len(FINDINGS) - 2
    assert findings_page(resolve("jobs/configs/embedded.yaml", []), "embedded.yaml", {}, goes_on) == goes_on


def test_a_router_as_drawn_was_turned_by_nothing(tiny_base: Path, tmp_path: Path) -> None:
    config = protocol_config(tiny_base, tmp_path)
    write_adapter(config)
    adapter = {"rank": 2, "alpha": 2, "num_experts": 2, "expert_rank": 2, "expert_alpha": 2}
    drawn = changed(config, {f"adapter.{name}": value for name, value in adapter.items()})
    turned = changed(drawn, {"seed": 5})
    assert router_turn(drawn, tmp_path / "adapter") == pytest.approx(0, abs=0.01)
    assert (router_turn(turned, tmp_path / "adapter") or 0) > 20


def test_more_examples_are_asked_of_the_same_queries_and_paired_with_fewer() -> None:
    arms = _finding("examples").arms(CONFIG)
    asked = ask_examples(arms, seed=1)
    config = resolve(None, ["protocol.cases=2", "data.size=32"])
    cases = [case for case in asked.protocol.cases(config) if case.task.startswith("negative, ")]
    assert [len(case.examples) for case in cases] == [1, 1, 2, 2, 3, 3, 4, 4]
    first, more = cases[0], cases[6]
    assert np.array_equal(first.query, more.query) and first.seed == more.seed
    assert np.array_equal(first.examples[0][1], more.examples[0][1])
    assert {case.task for case in cases} <= {column.task for column in asked.protocol.columns}
    values = {"ours": 20.0, "vae": 30.0, "copy_query": 10.0}
    scores = [
        Score(name, case.case_id, case.source_id, f"{case.task}/psnr", value)
        for case in cases
        for name, value in values.items()
    ]
    errors = [asked.errors(scores, arm) for arm in arms]
    assert len(errors[0]) == 2 and all(one.keys() == errors[0].keys() for one in errors)
    assert all(case.error == pytest.approx(0.5) for one in errors for case in one.values())


def test_other_rounds_ask_the_same_from_other_noise() -> None:
    config = resolve(None, ["protocol.cases=1", "data.size=32"])
    one, other = (
        next(iter(ask_examples(_finding("examples").arms(CONFIG), seed).protocol.cases(config))) for seed in (0, 1)
    )
    assert one.case_id == other.case_id and np.array_equal(one.query, other.query) and one.seed != other.seed


def test_every_way_of_filtering_is_a_row_that_can_be_built() -> None:
    arms = _finding("filter").arms(CONFIG)
    asked = ask_filters(arms, seed=0)
    config = changed(CONFIG, {"adapters.ours": str(SHIPPED_ADAPTERS["tiny"]), **asked.changes})
    rows = rows_of(config, asked.protocol, "means")
    assert not [row.missing for row in rows if row.missing]
    assert {arm.name for arm in arms[1:]} < {row.title for row in rows}
    assert max(arm.changes["preview_steps"] for arm in arms[1:]) < config.evaluate.steps
    values = {"ours": 20.0, "m-8-m-4": 25.0, "vae": 30.0, "copy_query": 10.0}
    scores = [Score(name, f"edge/{i}", f"scene {i}", "edge/psnr", v) for name, v in values.items() for i in range(4)]
    found = {arm.name: asked.errors(scores, arm) for arm in arms if arm.name in ("one seed", "M = 8, m = 4")}
    assert {name: case["edge/0"].error for name, case in found.items()} == {"one seed": 0.5, "M = 8, m = 4": 0.25}


def test_a_finding_with_an_arm_that_cannot_run_says_which(ray_cluster: None, tiny_base: Path, tmp_path: Path) -> None:
    config = protocol_config(tiny_base, tmp_path, cases=1)
    with pytest.raises(ValueError, match="Adapter nobody: there is no adapter called 'nobody'"):
        scores_of(config, replace(TABLE3, methods=("copy_query", "nobody"), conclude=None))
