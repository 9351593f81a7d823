"""Scores of an adapter that edits as told: the same methods without an example, on FLUX.1 Fill's diptychs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.evaluation.conftest import SIZE, write_pairs, write_table
from viral.config import AdapterConfig, RunConfig
from viral.data.encode import LatentMaker, words_of
from viral.data.images import pixels_of
from viral.data.latents import TEXT, LatentTable
from viral.data.pair_table import open_pairs
from viral.evaluation import evaluate
from viral.evaluation.crops import PictureTable
from viral.evaluation.gallery import TOLD, cut
from viral.evaluation.painter import load_base, painter_of
from viral.evaluation.report import ReportFacts, write_report
from viral.evaluation.scorer import Chunk, Models, Scorer
from viral.evaluation.summary import ADAPTER, BEFORE, EvaluationSummary
from viral.model.adapter import AdapterCard, add_adapter, save_adapter
from viral.model.flux import load_flux
from viral.registration import judge
from viral.sampling.diptych import RELEASED_PROMPT
from viral.storage import Storage

Told = tuple[RunConfig, EvaluationSummary]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, fill_base: Path) -> Told:
    """A finished evaluation of an adapter that was never trained."""
    settings = {"train": {"text": "instruction"}, "evaluate": {"steps": 2, "batch_size": 2, "samples": 200}}
    config = RunConfig.model_validate(
        {"storage": str(tmp_path_factory.mktemp("told")), "base": str(fill_base), **settings}
    )
    write_pairs(config, ("negative",))
    pairs = open_pairs(Storage(config.storage).join("pairs"))
    make = LatentMaker(pairs, config.base, 0.0, config.model, words_of(config))
    write_table(config, "latents", {"shard-00000.arrow": make(pairs.manifest.shards[0]), TEXT: make(None)})
    write_adapter(config)
    return config, scored(config)


def write_adapter(config: RunConfig) -> None:
    adapter = AdapterConfig(rank=4, alpha=4, num_experts=2, expert_rank=2, expert_alpha=2)
    transformer = load_flux(config.base, ("transformer",)).transformer
    add_adapter(transformer, adapter, seed=0)
    words = {"text": "instruction", "prompt": RELEASED_PROMPT}
    card = AdapterCard(adapter=adapter, base="tiny", base_sha256="0" * 64, size=SIZE, steps=1, **words)
    save_adapter(transformer, Storage(config.storage).join("adapter").folder(), card)


def scored(config: RunConfig) -> EvaluationSummary:
    """What the job does on a cluster, in this process."""
    storage = Storage(config.storage)
    pairs, latents = open_pairs(storage.join("pairs")), LatentTable(storage.join("latents"))
    models = Models(config.base, storage.join("adapter"), config.evaluate.steps, "cpu", config.model)
    means, _ = evaluate._survey(pairs)
    scorer, rows = Scorer(pairs, latents.storage, models, means), []
    for work in evaluate._plan(config, evaluate._crops(config, latents), {"negative": "psnr"}):
        rows += rows_of(scorer, work.work)
    assert {row["example"] == row["row"] for row in rows} == {True}
    return evaluate._conclude(config, "made by hand", rows, PictureTable(pairs, latents))


def rows_of(scorer: Scorer, chunk: Chunk) -> list[dict]:
    return pq.read_table(pa.BufferReader(scorer(chunk).data)).to_pylist()


def test_every_method_but_the_examples_is_scored(told: Told) -> None:
    (task,) = told[1].tasks
    assert task.crops == 3 and "copy_query" in task.scores and "copy_example" not in task.scores
    assert task.scores[ADAPTER] == task.scores[BEFORE] and task.best_free in task.scores
    assert judge(told[1])[0] is False


def test_the_gallery_shows_the_picture_and_its_truth(told: Told) -> None:
    config, summary = told
    pairs = {p["pair_id"]: p for p in open_pairs(Storage(config.storage).join("pairs")).rows("test")}
    for picture in summary.tasks[0].pictures:
        assert picture.panels == TOLD and picture.instruction
        strip = Storage(config.storage).join("evaluation", "gallery").read(picture.file)
        panels = dict(zip(TOLD, cut(strip, len(TOLD)), strict=True))
        for panel, name in (("query", "source"), ("truth", "target")):
            assert (panels[panel] == pixels_of(pairs[picture.pair_id][name]["bytes"])).all()


def test_the_page_speaks_of_words_and_not_of_examples(told: Told) -> None:
    config, _ = told
    write_report(config, ReportFacts())
    page = Storage(config.storage).read("report.html").decode()
    assert "told in words" in page and "A′" not in page and "example’s target" not in page


def test_what_is_painted_follows_the_words(told: Told) -> None:
    config, _ = told
    table = LatentTable(Storage(config.storage).join("latents"))
    pair = table[int(table.rows("negative", "test")[0])]
    painter = painter_of(load_base(config.base, "cpu", config.model), table.text)
    assert pair.text is not None and pair.pooled is not None
    silent = replace(pair, text=np.zeros_like(pair.text), pooled=np.zeros_like(pair.pooled))
    one, again, other = painter([(pair, pair), (pair, pair), (silent, silent)], [0, 0, 0], 2)
    assert one.shape == (SIZE, SIZE, 3)
    same, different = (np.abs(one.astype(int) - image).max() for image in (again, other))
    assert same <= 1 < different, "up to rounding: places in a batch may be reckoned in another order"
