import pyarrow.parquet as pq
import pytest

from viral.config import RunConfig
from viral.data.images import pixels_of
from viral.data.pair_table import open_pairs
from viral.evaluation.evaluate import evaluate_adapter
from viral.evaluation.gallery import PANELS, cut
from viral.evaluation.metrics import psnr
from viral.evaluation.summary import ADAPTER, BEFORE, METHODS, EvaluationSummary
from viral.schema import SCORES
from viral.storage import Storage

Evaluated = tuple[RunConfig, EvaluationSummary]


def _place(config: RunConfig) -> Storage:
    return Storage(config.storage).join("evaluation")


def _scores(config: RunConfig) -> list[dict]:
    table = pq.read_table(_place(config).folder() / "scores.parquet")
    assert table.schema.equals(SCORES)
    return table.to_pylist()


def test_every_crop_kept_apart_is_scored_by_every_method(evaluated: Evaluated) -> None:
    rows = _scores(evaluated[0])
    assert {(row["task"], row["pair_id"]) for row in rows} == {
        (task, f"{task}-three-{i}") for task in ("negative", "watermark") for i in range(3)
    }
    assert all(
        sorted(r["method"] for r in rows if r["pair_id"] == p) == sorted(METHODS) for p in {r["pair_id"] for r in rows}
    )


def test_an_untrained_adapter_scores_exactly_as_before_training(evaluated: Evaluated) -> None:
    for task in evaluated[1].tasks:
        assert task.scores[ADAPTER] == task.scores[BEFORE]
        assert not task.improved and task.against(BEFORE).low == 0 == task.against(BEFORE).high


def test_copying_the_query_scores_what_the_pixels_say(evaluated: Evaluated) -> None:
    rows = {r["pair_id"]: r["value"] for r in _scores(evaluated[0]) if r["method"] == "copy_query"}
    for pair in open_pairs(Storage(evaluated[0].storage).join("pairs")).rows("test", "negative"):
        source, target = (pixels_of(pair[name]["bytes"]) for name in ("source", "target"))
        assert rows[pair["pair_id"]] == psnr(source, target)


def test_the_gallery_shows_the_query_and_its_truth(evaluated: Evaluated) -> None:
    config, summary = evaluated
    pairs = {p["pair_id"]: p for p in open_pairs(Storage(config.storage).join("pairs")).rows("test")}
    for picture in (picture for task in summary.tasks for picture in task.pictures):
        panels = dict(zip(PANELS, cut(_place(config).join("gallery").read(picture.file)), strict=True))
        for panel, name in (("query", "source"), ("truth", "target")):
            assert (panels[panel] == pixels_of(pairs[picture.pair_id][name]["bytes"])).all()


def test_examples_are_drawn_from_the_photographs_trained_on(evaluated: Evaluated) -> None:
    config, summary = evaluated
    train = [pixels_of(p["source"]["bytes"]) for p in open_pairs(Storage(config.storage).join("pairs")).rows("train")]
    for picture in (picture for task in summary.tasks for picture in task.pictures):
        example = cut(_place(config).join("gallery").read(picture.file))[0]
        assert any((example == image).all() for image in train)


def test_fewer_than_forty_crops_are_said_and_not_an_error(evaluated: Evaluated) -> None:
    assert all(task.crops == 3 and not task.enough for task in evaluated[1].tasks)


def test_evaluating_twice_changes_nothing_and_says_so(evaluated: Evaluated, capsys: pytest.CaptureFixture[str]) -> None:
    config, summary = evaluated
    before = {name: _place(config).read(name) for name in ("scores.parquet", "summary.json")}
    again = evaluate_adapter(config)
    assert again.skipped and again.tasks == summary.tasks
    assert "up to date" in capsys.readouterr().out
    assert before == {name: _place(config).read(name) for name in before}


def test_an_evaluation_that_lost_a_shard_ends_with_the_same_bytes(evaluated: Evaluated) -> None:
    config, _ = evaluated
    names = ("scores.parquet", "summary.json")
    before = {name: _place(config).read(name) for name in names}
    _place(config).join("shards").delete("shard-adapter-negative-00001.parquet")
    for name in names:
        _place(config).delete(name)
    evaluate_adapter(config)
    assert before == {name: _place(config).read(name) for name in names}


def test_an_adapter_of_another_base_is_refused(evaluated: Evaluated) -> None:
    config, _ = evaluated
    card = Storage(config.storage).join("adapter")
    text = card.read("card.json")
    digest = text.split(b'"base_sha256": "')[1][:64]
    card.write("card.json", text.replace(digest, b"0" * 64))
    _place(config).delete("summary.json")
    try:
        with pytest.raises(ValueError, match="trained on a base"):
            evaluate_adapter(config)
    finally:
        card.write("card.json", text)
        evaluate_adapter(config)


def test_without_latents_the_error_names_the_job_that_makes_them(tmp_path) -> None:
    with pytest.raises(ValueError, match="encode_dataset"):
        evaluate_adapter(RunConfig(storage=str(tmp_path)))
