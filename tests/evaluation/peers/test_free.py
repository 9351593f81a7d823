"""Answers that cost nothing."""

from pathlib import Path

import numpy as np
import pytest

from tests.evaluation.peers.conftest import HEIGHT, WIDTH, differ, loaded, make_case
from viral.config import RunConfig
from viral.evaluation.answers import through_vae
from viral.evaluation.peers.free import write_means
from viral.evaluation.peers.registry import build_peer
from viral.evaluation.protocols.case import Case
from viral.model.backbone import load_backbone
from viral.storage import Storage


def test_copies_are_copies(run_config: RunConfig, cases: list[Case]) -> None:
    for answer, of in (("copy_query", lambda case: case.query), ("copy_example", lambda case: case.examples[0][1])):
        for case, got in zip(cases[:3], loaded(run_config, kind="free", answer=answer).answer(cases), strict=False):
            assert differ(got, of(case)) == 0
    assert loaded(run_config, kind="free", answer="copy_example").answer(cases)[3] is None


def test_the_mean_is_that_of_the_examples_of_the_task(run_config: RunConfig, cases: list[Case], tmp_path: Path) -> None:
    write_means([*cases, make_case(5, task="edge")], Storage(str(tmp_path)))
    method = loaded(run_config, kind="free", answer="mean", means=str(tmp_path))
    targets = [target for case in cases for _, target in case.examples]
    assert differ(method.answer(cases)[0], np.mean(targets, axis=0).round().astype(np.uint8)) == 0
    assert method.answer([make_case(0, task="depth")]) == [None]
    peer = build_peer("it", kind="free", answer="mean", means=str(tmp_path))
    before = peer.record(run_config)
    write_means([make_case(6)], Storage(str(tmp_path)))
    assert peer.record(run_config) != before
    with pytest.raises(ValueError, match="the place of the mean targets"):
        build_peer("it", kind="free", answer="mean")


def test_the_vae_takes_its_own_size_and_gives_the_querys_back(run_config: RunConfig) -> None:
    case = make_case(0)
    (seen,) = loaded(run_config, kind="free", answer="truth", vae=True).answer([case])
    assert seen is not None and seen.shape == (HEIGHT, WIDTH, 3) and np.abs(seen.astype(int) - case.truth).mean() < 40


def test_a_picture_of_the_vaes_own_size_is_not_resized(run_config: RunConfig, tiny_base: Path) -> None:
    truth = make_case(0).query[:16, :32]
    case = make_case(0, query=255 - truth, truth=truth)
    (seen,) = loaded(run_config, kind="free", answer="truth", vae=True).answer([case])
    assert differ(seen, through_vae(load_backbone(str(tiny_base), ("vae",)), [truth])[0]) == 0


def test_a_fill_base_lends_its_own_vae(run_config: RunConfig, fill_base: Path) -> None:
    (seen,) = loaded(run_config, kind="free", answer="copy_query", vae=True, base=str(fill_base)).answer([make_case(0)])
    assert seen is not None and seen.shape == (HEIGHT, WIDTH, 3)
