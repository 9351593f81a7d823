"""Every table of VIRAL asks cases that can be made, and fills every cell with what the embedded models measure."""

import io
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from viral.config import RunConfig
from viral.evaluation.protocols.answer_table import Answerer, Asked
from viral.evaluation.protocols.case_table import CaseTable, write_cases
from viral.evaluation.protocols.cells import Bootstrap, cells
from viral.evaluation.protocols.protocol import Protocol
from viral.evaluation.protocols.rows import Row, rows_of
from viral.evaluation.protocols.scorer import Answered, Measured, Scorer
from viral.evaluation.protocols.table import headings
from viral.evaluation.protocols.viral_tables import VIRAL_TABLES
from viral.storage import Storage, describe_shard

each_table = pytest.mark.parametrize("protocol", VIRAL_TABLES, ids=lambda protocol: protocol.name)


@each_table
def test_every_cell_of_an_answer_is_filled(protocol: Protocol, drawn: RunConfig) -> None:
    """Without weights too: perceptual cells by the embedded embedder, and they say so."""
    cases = write_cases(Storage(drawn.storage).join("cases"), protocol.cases(drawn), 8)
    (row,) = (row for row in rows_of(drawn, protocol, "") if row.name == "copy_query")
    found = cells(protocol.columns, _measured(drawn, protocol, cases, row), None, Bootstrap(100, 0))
    for column in protocol.columns:
        cell = found[column.key]
        assert cell.value is not None and cell.cases == cell.asked > 0, column
        assert (cell.absent is not None) == (column.metric in ("lpips", "fid", "clip_i", "dinov2"))
        assert (cell.deviation is not None) == (column.spread is not None)


@each_table
def test_what_was_published_stands_in_columns_that_there_are(protocol: Protocol) -> None:
    keys = {column.key for column in protocol.columns}
    assert all(set(row.figures) <= keys for row in protocol.published)


@each_table
def test_every_column_has_a_heading(protocol: Protocol) -> None:
    assert [heading.key for heading in headings(protocol)] == [column.key for column in protocol.columns]


def test_an_unknown_metric_is_told_before_anything_is_painted() -> None:
    protocol = VIRAL_TABLES[0]
    (column, *_) = protocol.columns
    with pytest.raises(ValueError, match="no metric 'beauty'"):
        headings(replace(protocol, columns=(replace(column, metric="beauty"),)))


def _measured(config: RunConfig, protocol: Protocol, cases: CaseTable, row: Row) -> Measured:
    """As two actors do it, one after the other."""
    assert row.peer is not None
    answer, place, measured = Answerer(cases, config, "cpu"), Storage(config.storage).join("answers"), []
    score = Scorer(cases, place, protocol.columns, config.perceptual, "cpu")
    for shard in cases.manifest.shards:
        made = answer(Asked(row.name, row.peer, shard))
        place.write(shard.name, made.data)
        answered = Answered(shard, describe_shard(shard.name, made.rows, made.data, {}))
        measured += pq.read_table(io.BytesIO(score(answered).data)).to_pylist()
    return measured
