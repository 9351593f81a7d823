"""A whole run: what is asked, that a stopped one goes on, what is said of methods that cannot run."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from viral.config import RunConfig
from viral.evaluation.metrics import abs_rel
from viral.evaluation.protocols.case_table import CaseTable
from viral.evaluation.protocols.run import place_of, run_protocol
from viral.evaluation.protocols.table import ProtocolTable, TableRow
from viral.evaluation.protocols.viral_tables import TABLE3, TABLE6
from viral.storage import read_manifest

Ran = tuple[RunConfig, ProtocolTable]
REPORT = ("report.md", "report.html", "table.json")


def _row(table: ProtocolTable, name: str) -> TableRow:
    return next(row for row in table.rows if row.method == name)


def test_every_method_answers_every_case(ran: Ran) -> None:
    config, table = ran
    assert [row.method for row in table.rows] == list(TABLE3.methods)
    for row in table.rows:
        assert {column.key for column in TABLE3.columns} == set(row.cells)
        assert all(cell.cases == cell.asked == config.protocol.cases for cell in row.cells.values())


def test_copying_the_query_scores_what_the_pixels_say(ran: Ran) -> None:
    config, table = ran
    place = place_of(config, TABLE3.name).join("cases")
    manifest = read_manifest(place)
    assert manifest is not None
    cases = [case for case in CaseTable(place, manifest) if case.task == "depth"]
    expected = np.mean([abs_rel(case.query, case.truth) for case in cases if case.truth is not None])
    assert _row(table, "copy_query").cells["depth/abs_rel"].value == pytest.approx(expected)


def test_every_row_but_ours_is_compared_with_ours(ran: Ran) -> None:
    ours, base = (_row(ran[1], name).cells for name in ("ours", "base"))
    assert all(cell.behind is None for cell in ours.values()) and all(cell.behind for cell in base.values())


def test_an_interrupted_run_ends_with_the_same_bytes(ran: Ran) -> None:
    config, _ = ran
    place = place_of(config, TABLE3.name)
    before = {name: place.read(name) for name in REPORT}
    shards = {name: place.join("answers").read(name) for name in place.join("answers").list()}
    victims = [name for name in shards if name.startswith("shard-ours")][:1]
    for name in victims:
        place.join("answers").delete(name)
    place.delete("report.html")
    run_protocol(config, TABLE3)
    assert {name: place.read(name) for name in REPORT} == before
    assert {name: place.join("answers").read(name) for name in shards} == shards


def test_figures_and_report_are_tracked(ran: Ran) -> None:
    from mlflow import MlflowClient

    config, table = ran
    client = MlflowClient(config.tracking.uri)
    (experiment,) = (e for e in client.search_experiments() if e.name == config.tracking.experiment)
    (run,) = (r for r in client.search_runs([experiment.experiment_id]) if r.info.run_name == TABLE3.name)
    value = _row(table, "ours").cells["depth/abs_rel"].value
    assert run.data.metrics["viral_table3/ours/depth/abs_rel"] == pytest.approx(value)
    assert "report/report.html" in [item.path for item in client.list_artifacts(run.info.run_id, "report")]


def test_an_adapter_that_nobody_named_is_a_row_that_says_so(ran: Ran) -> None:
    config = ran[0].model_copy(update={"protocol": ran[0].protocol.model_copy(update={"cases": 2})})
    table = run_protocol(config, replace(TABLE6, methods=("ours", "plain")))
    assert "adapters.plain" in (_row(table, "plain").missing or "") and _row(table, "plain").cells == {}
    assert _row(table, "ours").missing is None


def test_rows_of_the_configuration_follow_those_of_the_protocol(ran: Ran, tmp_path: Path) -> None:
    config, _ = ran
    folder = tmp_path / "predictions"
    methods = {"painted": {"kind": "predictions", "title": "Painted elsewhere", "folder": str(folder)}}
    for case_id in ("depth/1000003/0",):
        (folder / case_id).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16)).save(folder / f"{case_id}.png")
    config = config.model_copy(update={"protocol": config.protocol.model_copy(update={"methods": methods})})
    row = run_protocol(config, replace(TABLE3, name="with_another", methods=("ours",))).rows[-1]
    cell = row.cells["depth/abs_rel"]
    assert row.title == "Painted elsewhere" and (cell.cases, cell.asked) == (1, config.protocol.cases)


def test_a_method_of_the_configuration_that_cannot_run_is_an_error(ran: Ran) -> None:
    config, _ = ran
    methods = {"absent": {"kind": "analogy", "adapter": "/no/such/folder"}}
    config = config.model_copy(update={"protocol": config.protocol.model_copy(update={"methods": methods})})
    with pytest.raises(ValueError, match="/no/such/folder"):
        run_protocol(config, TABLE3)
