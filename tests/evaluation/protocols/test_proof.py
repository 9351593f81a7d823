"""The proof of the embedded adapter: what its questions ask and what its figures mean."""

import numpy as np
import pytest

from viral.config import RunConfig, resolve
from viral.data.sources.combinations import KEPT_OUT, is_apart
from viral.evaluation.protocols.case import Case
from viral.evaluation.protocols.proof import KINDS, LINEART, PARAMETERS, PROOF, UNCHANGED
from viral.evaluation.protocols.proof_error import case_errors, relative_errors, told_errors
from viral.evaluation.protocols.proof_exchange import (
    EXCHANGED,
    conclude_exchange,
    exchange_cases,
    follows,
    follows_own,
)
from viral.evaluation.protocols.proof_filter import conclude_filter
from viral.evaluation.protocols.proof_identity import conclude_identity
from viral.evaluation.protocols.proof_lineart import DRAWN, EDGES, conclude_lineart
from viral.evaluation.protocols.proof_parameters import VARIED, conclude_parameters, nearer_own
from viral.evaluation.protocols.proof_photographs import photograph_cases
from viral.evaluation.protocols.protocol import Score
from viral.evaluation.protocols.registry import PROTOCOLS
from viral.scenes import EDITS, sample_scene

ANYWHERE = sample_scene(0)


def _config(cases: int) -> RunConfig:
    return resolve(None, [f"protocol.cases={cases}", "data.size=64"])


def _scores(method: str, values: list[float], column: str = "edge/edge_f1") -> list[Score]:
    return [Score(method, f"{column}/{i}", f"scene {i // 2}", column, value) for i, value in enumerate(values)]


@pytest.fixture(scope="module")
def exchanged() -> list[Case]:
    return list(exchange_cases(_config(2)))


@pytest.fixture(scope="module")
def varied() -> list[Case]:
    return list(PARAMETERS.cases(_config(4)))


def test_every_protocol_of_the_proof_is_a_command() -> None:
    assert all(PROTOCOLS[protocol.name] is protocol for protocol in PROOF)


@pytest.mark.parametrize(("column", "sign"), [("edge/edge_f1", 1), ("depth/depth_error", -1)])
def test_the_vae_errs_by_nothing_and_the_best_free_answer_by_one(column: str, sign: int) -> None:
    values = {"vae": 0.9, "copy_query": 0.2, "mean": 0.5, "ours": 0.7}
    noise = np.random.default_rng(0).normal(size=8) * 0.01
    scores = [s for name, v in values.items() for s in _scores(name, list(sign * (v + noise)), column)]
    (error,) = relative_errors(scores)
    assert error.free == "mean" and error.error.mean == pytest.approx(0.5)
    assert relative_errors(scores, "vae")[0].error.mean == pytest.approx(0)
    assert relative_errors(scores, "mean")[0].error.mean == pytest.approx(1)
    cases = case_errors(scores)
    assert len(cases) == 8 and np.mean([case.error for case in cases.values()]) == pytest.approx(0.5)


def test_the_interval_widens_with_scatter_and_covers_the_mean() -> None:
    rng, free = np.random.default_rng(1), [0.2] * 20
    widths = []
    for scatter in (0.01, 0.1):
        ours = list(0.6 + scatter * rng.normal(size=20))
        scores = _scores("ours", ours) + _scores("vae", [0.9] * 20) + _scores("copy_query", free)
        (error,) = relative_errors(scores)
        assert error.error.low < error.error.mean < error.error.high
        widths.append(error.error.high - error.error.low)
    assert widths[1] > 3 * widths[0]


def test_a_task_that_costs_nothing_to_solve_tells_nothing() -> None:
    scores = [s for name in ("ours", "vae", "copy_query") for s in _scores(name, [0.9] * 4)]
    assert relative_errors(scores) == [] and told_errors(scores, 0.7, "nine") == []


def test_an_error_without_an_upper_end_says_so() -> None:
    free = [0.0, *([1.1] * 3)]  # above the VAE's own in most resamples, and hardly below it in the mean
    scores = _scores("ours", [0.2] * 4) + _scores("vae", [0.9] * 4) + _scores("copy_query", free)
    (error,) = relative_errors(scores)
    assert error.error.high == np.inf and error.sentence.startswith(f"edge/edge_f1: error {error.error.mean:.2f}")
    assert "∞] of copy_query's" in error.sentence


def test_tasks_within_the_limit_are_counted() -> None:
    scores = []
    for column, ours in (("edge/edge_f1", 0.8), ("pose/pck", 0.3)):
        for name, value in (("vae", 1.0), ("copy_query", 0.0), ("ours", ours)):
            scores += _scores(name, [value] * 6, column)
    first, best, worst = told_errors(scores, 0.7, "nine")
    assert "on 1 of 2 tasks" in first
    assert best.startswith("edge/edge_f1: error 0.20") and worst.startswith("pose/pck: error 0.70")


def test_each_truth_follows_its_own_example_and_no_other(exchanged: list[Case]) -> None:
    assert len(exchanged) == 2 * len(EXCHANGED)
    for case in exchanged:
        assert case.truth is not None
        others = [case.labels[f"truth {task}"] for task in EXCHANGED if task != case.task]
        for score in (follows, follows_own):
            assert score(case.truth, case) == 1
            assert [score(other, case) for other in others] == [0] * len(others)


def test_a_faint_answer_follows_by_pixels(exchanged: list[Case]) -> None:
    for case in exchanged:
        assert case.truth is not None
        grey = case.labels["free"][case.task]
        faint = (0.7 * case.truth.astype(float) + 0.3 * case.truth.mean()).astype(np.uint8)
        assert grey > 0 and follows(faint, case) == 1


def test_only_the_example_differs_between_tasks_that_are_exchanged(exchanged: list[Case]) -> None:
    by_scene: dict[str, list[Case]] = {}
    for case in exchanged:
        by_scene.setdefault(case.source_id, []).append(case)
    for same in by_scene.values():
        assert all(np.array_equal(case.query, same[0].query) for case in same)
        assert all(np.array_equal(case.examples[0][0], same[0].examples[0][0]) for case in same)
        assert len({case.examples[0][1].tobytes() for case in same}) == len(EXCHANGED)


def test_two_examples_of_one_kind_differ_in_one_parameter_and_were_never_trained(varied: list[Case]) -> None:
    assert {case.task for case in varied} == set(VARIED) and len(varied) == 4 * len(VARIED)
    for one, other in zip(varied[::2], varied[1::2], strict=True):
        assert np.array_equal(one.query, other.query) and one.seed == other.seed
        assert np.array_equal(one.examples[0][0], other.examples[0][0])
        assert not np.array_equal(one.examples[0][1], other.examples[0][1])
        kind, params = one.labels["kind"], one.labels["params"]
        assert sum(params[name] != other.labels["params"][name] for name in params) == 1
        if len(EDITS[kind].choices) > 1:  # those of one parameter depend on the backdrop, which a case does not keep
            assert is_apart(kind, params, ANYWHERE) and is_apart(kind, other.labels["params"], ANYWHERE)


def test_an_output_is_nearer_to_its_own_truth_or_it_is_not(varied: list[Case]) -> None:
    for case in varied:
        assert case.truth is not None
        assert (nearer_own(case.truth, case), nearer_own(case.labels["other"], case)) == (1, 0)
    answers = [nearer_own(case.query, case) for case in varied]
    assert np.mean(answers) <= 0.5  # an answer that does not look at the example is right for one of two at most


def test_kinds_kept_out_are_questions_of_their_own() -> None:
    cases = list(KINDS.cases(_config(2)))
    assert {case.task for case in cases} == set(KEPT_OUT) and len({case.case_id for case in cases}) == len(cases)


def test_identity_asks_for_the_query_and_line_drawing_for_the_drawing_twice() -> None:
    for case in UNCHANGED.cases(_config(2)):
        (source, target), truth = case.examples[0], case.truth
        assert np.array_equal(source, target) and np.array_equal(case.query, truth)
        assert not np.array_equal(source, case.query)
    cases = {case.case_id: case for case in LINEART.cases(_config(2))}
    drawn = [case for name, case in cases.items() if name.startswith(f"{DRAWN}/")]
    for case in drawn:
        edges = cases[case.case_id.replace(DRAWN, EDGES, 1)]
        assert case.truth is not None and edges.truth is not None and np.array_equal(case.truth, edges.truth)
        assert case.examples[0][1].mean() > 128 > edges.examples[0][1].mean()


def test_photographs_want_the_collection_to_be_named() -> None:
    with pytest.raises(ValueError, match="protocol.layout=FOLDER"):
        next(photograph_cases(_config(1)))


def test_conclusions_say_what_the_scores_hold() -> None:
    own = _scores("ours", [1.0, 0.0], "edge/follows by the tasks' own metrics")
    share, share_own = conclude_exchange(_scores("ours", [1.0, 1.0, 1.0, 0.0], "edge/follows") + own)
    assert share.startswith("75% [") and "of 4 outputs" in share and "by pixels" in share
    assert share_own.startswith("50% [") and "of 2 outputs" in share_own
    parts = conclude_parameters(_scores("ours", [1.0, 0.0], "colour/own") + _scores("ours", [1.0, 1.0], "style/own"))
    assert [part.split(" [")[0] for part in parts] == ["all: 75%", "colour: 50%", "style: 100%"]
    lost = conclude_identity(_scores("ours", [30.0, 31.0], "i/psnr") + _scores("vae", [31.0, 32.0], "i/psnr"))
    assert "is -1.00 [-1.00, -1.00] dB" in lost[0]
    nearer = conclude_lineart(
        [
            *_scores("ours", [20.0, 20.0], f"{DRAWN}/psnr"),
            *_scores("copy_query", [15.0, 15.0], f"{DRAWN}/psnr"),
            *_scores("ours", [22.0, 22.0], f"{EDGES}/psnr"),
        ]
    )
    assert "+5.00" in nearer[0] and "than the query" in nearer[0] and "-2.00" in nearer[1]
    plain, picked = _scores("ours", [20.0] * 8, "edge/psnr"), _scores("filtered_cycle", [20.5] * 8, "edge/psnr")
    (verdict,) = conclude_filter(plain + picked)
    assert "+0.500 [+0.500, +0.500] dB" in verdict and "earns its keep" in verdict


@pytest.mark.parametrize("protocol", PROOF, ids=lambda protocol: protocol.name)
def test_nothing_is_concluded_where_ours_was_not_run(protocol) -> None:
    assert protocol.conclude is not None and list(protocol.conclude(_scores("copy_query", [0.5] * 4))) == []
