from pathlib import Path

import numpy as np
import pytest

from viral.config import RunConfig
from viral.data.images import encode_png
from viral.evaluation.protocols.analogies import DRAWS, analogies, crossed, exemplars


def test_the_same_configuration_asks_the_same(drawn: RunConfig) -> None:
    one, other = (list(analogies(drawn, "depth")) for _ in range(2))
    assert [case.case_id for case in one] == [case.case_id for case in other]
    assert all((a.query == b.query).all() and a.seed == b.seed for a, b in zip(one, other, strict=True))


def test_another_seed_shows_other_scenes(drawn: RunConfig) -> None:
    one, other = list(analogies(drawn, "depth")), list(analogies(drawn.model_copy(update={"seed": 1}), "depth"))
    assert not any((a.query == b.query).all() for a in one for b in other)


@pytest.mark.parametrize("task", ["depth", "detection", "edit", "deraining"])
def test_no_case_is_its_own_example(drawn: RunConfig, task: str) -> None:
    cases = list(analogies(drawn, task))
    assert len(cases) == drawn.protocol.cases
    assert not any((case.query == case.examples[0][0]).all() for case in cases)


def test_detection_is_asked_by_an_example_of_the_same_category(drawn: RunConfig) -> None:
    for case in analogies(drawn, "detection"):
        assert case.truth is not None and case.truth.any() and case.examples[0][1].any()


def test_both_pairs_of_an_edit_share_the_edit(drawn: RunConfig) -> None:
    words = [case.instruction for case in analogies(drawn, "edit")]
    assert words[0] == words[1]


def test_the_random_exemplars_are_asked_of_the_same_queries_as_the_curated_one(drawn: RunConfig) -> None:
    cases = list(exemplars(drawn, "depth"))
    curated = [case for case in cases if case.task == "depth curated"]
    random = [case for case in cases if case.task == "depth random"]
    assert len({case.labels["example"] for case in curated}) == 1
    assert len({(case.labels["draw"], case.labels["example"]) for case in random}) == DRAWS
    assert [(c.source_id, c.seed) for c in random] == [(c.source_id, c.seed) for c in curated] * DRAWS
    assert not {case.labels["example"] for case in cases} & {case.source_id.removeprefix("scene/") for case in cases}


def test_a_rainy_query_keeps_the_truth_and_the_clear_example(drawn: RunConfig) -> None:
    for clear, rainy in zip(analogies(drawn, "depth"), crossed(drawn, "depth", "deraining"), strict=True):
        assert rainy.truth is not None and (rainy.truth == clear.truth).all() and (rainy.query != clear.query).any()
        assert (rainy.examples[0][0] == clear.examples[0][0]).all() and rainy.task == "depth on deraining"


def test_a_folder_of_real_pairs_is_asked_about_where_it_is_named(drawn: RunConfig, tmp_path: Path) -> None:
    folder = tmp_path / "real"
    folder.mkdir()
    for i in range(3):
        picture = np.random.default_rng(i).integers(0, 256, (40, 48, 3), np.uint8)
        (folder / f"{i}-in.png").write_bytes(encode_png(picture))
        (folder / f"{i}-out.png").write_bytes(encode_png(255 - picture))
    source = {"kind": "paired", "path": str(folder), "source": "{id}-in.png", "target": "{id}-out.png"}
    config = drawn.model_copy(update={"protocol": drawn.protocol.model_copy(update={"sources": {"negative": source}})})
    cases = list(analogies(config, "negative"))
    assert len(cases) == 3 and all((case.truth == 255 - case.query).all() for case in cases if case.truth is not None)


def test_a_folder_in_the_layout_of_own_pairs_is_asked_about(
    drawn: RunConfig, tmp_path: Path, ray_cluster: None
) -> None:
    folder = tmp_path / "own" / "negative"
    folder.mkdir(parents=True)
    for i in range(6):
        picture = np.random.default_rng(i).integers(0, 256, (40, 40, 3), np.uint8)
        (folder / f"{i}__source.png").write_bytes(encode_png(picture))
        (folder / f"{i}__target.png").write_bytes(encode_png(255 - picture))
    config = drawn.model_copy(update={"pairs": str(folder.parent)})
    cases = list(analogies(config, "negative"))
    assert cases and len({case.source_id for case in cases}) == len(cases)
    with pytest.raises(ValueError, match="no two pairs of the task depth"):
        list(analogies(config, "depth"))


def test_a_source_that_shows_no_pair_of_a_task_says_why(drawn: RunConfig) -> None:
    sources = {"depth": {"kind": "scenes", "categories": ["unicorn"]}}
    config = drawn.model_copy(update={"protocol": drawn.protocol.model_copy(update={"sources": sources})})
    with pytest.raises(ValueError, match="unicorn"):
        list(analogies(config, "depth"))
