"""ICEdit's tables on a small FLUX.1 Fill: drawn benchmarks, answered and scored."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tests.evaluation.protocols.conftest import SIZE, protocol_config
from viral.config import AdapterConfig, RunConfig
from viral.data.sources.combinations import KEPT_OUT
from viral.evaluation.metrics import l1
from viral.evaluation.protocols.answer_table import Answerer, Asked
from viral.evaluation.protocols.case_table import write_cases
from viral.evaluation.protocols.cells import Bootstrap, cells
from viral.evaluation.protocols.icedit_tables import ICEDIT_TABLES, TABLE1, TABLE2, TABLE3, VIE, emu_cases
from viral.evaluation.protocols.proof import KINDS
from viral.evaluation.protocols.protocol import Protocol
from viral.evaluation.protocols.rows import rows_of
from viral.evaluation.protocols.run import place_of
from viral.evaluation.protocols.scorer import Answered, Scorer, higher_is_better
from viral.evaluation.protocols.table import Cell
from viral.model.adapter import AdapterCard, add_adapter, save_adapter
from viral.model.backbone import base_hash
from viral.model.flux import load_flux
from viral.sampling.diptych import RELEASED_PROMPT
from viral.storage import Storage, describe_shard

CASES = 3


@pytest.fixture(scope="module")
def config(fill_base: Path, tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """A run with an adapter of its own and none of the ablation's."""
    made = protocol_config(fill_base, tmp_path_factory.mktemp("icedit"))
    write_adapter(made)
    return made


def write_adapter(config: RunConfig) -> None:
    adapter = AdapterConfig(rank=2, alpha=2, num_experts=2, expert_rank=2, expert_alpha=2)
    transformer = load_flux(config.base, ("transformer",)).transformer
    assert transformer is not None
    add_adapter(transformer, adapter, seed=0)
    about = {"base": "tiny", "base_sha256": base_hash(config.base), "size": SIZE, "steps": 1}
    card = AdapterCard(adapter=adapter, text="instruction", prompt=RELEASED_PROMPT, **about)
    save_adapter(transformer, Storage(config.storage).join("adapter").folder(), card)


def figures(config: RunConfig, protocol: Protocol) -> dict[str, dict[str, Cell]]:
    """The cells of every method that can be run, answered and scored as on a cluster, in this process."""
    place = place_of(config, protocol.name)
    cases = write_cases(place.join("cases"), protocol.cases(config), CASES)
    answer, answers = Answerer(cases, config, "cpu"), place.join("answers")
    score, found = Scorer(cases, answers, protocol.columns, config.perceptual, "cpu"), {}
    for row in rows_of(config, protocol, "/nowhere"):
        measured = []
        for shard in cases.manifest.shards if row.peer else ():
            made, name = answer(Asked(row.name, row.peer, shard)), f"{row.name}-{shard.name}"
            answers.write(name, made.data)
            answered = Answered(shard, describe_shard(name, made.rows, made.data, {}))
            measured += pq.read_table(pa.BufferReader(score(answered).data)).to_pylist()
        found[row.name] = cells(protocol.columns, measured, None, Bootstrap(samples=100, seed=0))
    return found


def test_the_table_is_filled_and_says_what_it_could_not_measure(config: RunConfig) -> None:
    table = figures(config, TABLE1)
    for name in ("icedit", "training_free", "copy_query", "vae"):
        assert table[name]["magicbrush/l1"].cases == CASES and table[name]["magicbrush/l1"].absent is None
        assert table[name]["magicbrush/dino"].absent == "perceptual.dino names no weights"
        assert all(cell.value is not None for cell in table[name].values())
    assert table["copy_query"]["magicbrush/l1"].value > 0 and not table["edit_base"]


def test_likeness_to_the_source_is_highest_for_who_changes_nothing(config: RunConfig) -> None:
    table = figures(config, TABLE2)
    assert table["copy_query"]["emu/clip_i_source"].value == pytest.approx(1, abs=1e-5)
    assert table["copy_query"]["emu/verdict"].value == pytest.approx(0, abs=1e-5)
    assert table["training_free"]["emu/clip_i_source"].value < 1
    assert all(cell.value is not None for cell in table["icedit"].values())


def test_a_method_on_the_other_kind_of_base_says_so(config: RunConfig) -> None:
    (missing,) = (row.missing for row in rows_of(config, TABLE1, "/nowhere") if row.missing)
    assert "not a base of the kind Qwen-Image-Edit" in missing


def test_the_early_filter_is_a_row_beside_one_seed(config: RunConfig) -> None:
    once = config.protocol.model_copy(update={"cases": 1})
    longer = config.evaluate.model_copy(update={"steps": 5})
    table = figures(config.model_copy(update={"protocol": once, "evaluate": longer}), VIE)
    for name in ("icedit", "icedit_filtered"):
        cell = table[name]["emu/vie_overall"]
        assert cell.cases == 1 and cell.absent == "perceptual.vlm names no weights"
    assert table["icedit_filtered"]["emu/vie_sc"].value != table["icedit"]["emu/vie_sc"].value


def test_the_ablation_lacks_only_the_adapters_that_nobody_named(config: RunConfig) -> None:
    missing = {row.name: row.missing for row in rows_of(config, TABLE3, "/nowhere") if row.missing}
    assert set(missing) == {"icedit_bare", "lora64", "moe_only"} and "adapters.lora64" in missing["lora64"]
    named = config.model_copy(update={"adapters": {"lora64": f"{config.storage}/adapter"}})
    assert "lora64" not in [row.name for row in rows_of(named, TABLE3, "/nowhere") if row.missing]


def test_the_proof_tells_a_fill_base_in_words_what_others_are_shown(config: RunConfig) -> None:
    few = config.model_copy(update={"protocol": config.protocol.model_copy(update={"cases": 1})})
    table = figures(few, replace(KINDS, methods=("ours", "base", "copy_query")))
    values = {name: [cell.value for cell in row.values()] for name, row in table.items()}
    assert len(values["ours"]) == len(KEPT_OUT) and None not in values["ours"]
    assert len({tuple(row) for row in values.values()}) == 3


def test_l1_is_torchs_on_pictures_in_0_to_1() -> None:
    one, other = np.random.default_rng(0).integers(256, size=(2, 8, 9, 3)).astype(np.uint8)
    tensors = (torch.from_numpy(image).float() / 255 for image in (one, other))
    assert l1(one, other) == pytest.approx(torch.nn.functional.l1_loss(*tensors).item(), rel=1e-6)
    assert l1(one, one) == 0


@pytest.mark.parametrize("protocol", ICEDIT_TABLES, ids=lambda protocol: protocol.name)
def test_printed_figures_have_columns_and_columns_a_direction(protocol: Protocol) -> None:
    keys = {column.key for column in protocol.columns}
    assert all(set(row.figures) <= keys for row in protocol.published)
    assert all(isinstance(higher_is_better(column), bool) for column in protocol.columns)


def test_tables_paint_every_picture_from_one_noise_and_without_the_filter(config: RunConfig) -> None:
    assert {case.seed for case in emu_cases(config)} == {config.seed}
    asked = {name for protocol in (TABLE1, TABLE2, TABLE3) for name in protocol.methods}
    assert all("filter" not in TABLE1.peers.get(name, {}) for name in asked)
