"""Running a protocol: cases, answers, scores, table and report; each stage goes on where it was stopped."""

import time

from viral.config import RunConfig
from viral.data.shards import Pool
from viral.evaluation.peers.free import Free, write_means
from viral.evaluation.protocols.answer_table import answer_cases
from viral.evaluation.protocols.case_table import CaseTable, write_cases
from viral.evaluation.protocols.cells import Bootstrap, cells, scores
from viral.evaluation.protocols.protocol import Protocol
from viral.evaluation.protocols.report import Shown, write_report
from viral.evaluation.protocols.rows import Row, rows_of
from viral.evaluation.protocols.scorer import Measured, score_answers
from viral.evaluation.protocols.table import Printed, ProtocolTable, TableRow, headings
from viral.model.backbone import base_hash
from viral.storage import Storage


def run_protocol(config: RunConfig, protocol: Protocol) -> ProtocolTable:
    """Answer and score a protocol under `storage`/protocols/NAME and write its report; needs Ray.

    Killed at any moment and run again it ends with the same bytes. `ValueError` for cases that cannot be made, and
    where not one method can be run.
    """
    place = place_of(config, protocol.name)
    with place.alone():
        shown = _measure(config, protocol, place)
        write_report(place, shown)
    _track(config, shown.table, place)
    return shown.table


def place_of(config: RunConfig, name: str) -> Storage:
    """Where everything about a protocol lies."""
    return Storage(config.storage).join("protocols", name)


def _measure(config: RunConfig, protocol: Protocol, place: Storage) -> Shown:
    columns = headings(protocol)  # an unknown metric is told before anything is painted
    cases = write_cases(place.join("cases"), protocol.cases(config), config.evaluate.batch_size)
    means = place.join("means")
    write_means(cases, means)
    rows = rows_of(config, protocol, "/".join((means.uri, *means.names)))
    if all(row.missing for row in rows):
        raise ValueError(f"{protocol.name}: no method can be run: " + "; ".join(f"{r.name}: {r.missing}" for r in rows))
    pool = Pool(config.data.actors, float(config.train.gpus), config.nodes.data)
    answers = answer_cases(config, cases, rows, place.join("answers"), pool)
    measured = score_answers(config, protocol.columns, cases, answers, place.join("scores"), pool)
    every = [score for method, found in measured.items() for score in scores(method, found)]
    table = ProtocolTable(
        name=protocol.name,
        title=protocol.title,
        table=protocol.table,
        settings=_settings(config, cases),
        headings=columns,
        rows=tuple(_row(config, protocol, row, measured) for row in rows),
        published=tuple(Printed(method=row.method, figures=row.figures) for row in protocol.published),
        sentences=tuple(protocol.conclude(every)) if protocol.conclude else (),
        notes=protocol.notes,
    )
    return Shown(table, cases, answers, every)


def _row(config: RunConfig, protocol: Protocol, row: Row, measured: dict[str, Measured]) -> TableRow:
    ours = protocol.methods[0]
    how = Bootstrap(config.evaluate.samples, config.seed)
    compared = None if row.name == ours else measured.get(ours)
    return TableRow(
        method=row.name,
        title=row.title,
        paints=not isinstance(row.peer, Free),
        bound=isinstance(row.peer, Free) and row.peer.answer == "truth",
        licence=row.licence,
        missing=row.missing,
        cells=cells(protocol.columns, measured.get(row.name, []), compared, how),
    )


def _settings(config: RunConfig, cases: CaseTable) -> dict[str, str]:
    return {
        "base": f"{config.base} {base_hash(config.base_folder(), config.model)[:12]}",
        "steps": str(config.evaluate.steps),
        "seed": str(config.seed),
        "cases": f"{sum(shard.rows for shard in cases.manifest.shards)}, {cases.manifest.fingerprint}",
    }


def _track(config: RunConfig, table: ProtocolTable, place: Storage) -> None:
    """Log the figures, the report and the gallery to a run of the protocol's own; an outage is only told."""
    from viral.tracking import TrackerAway, tracked, tracking_server  # takes seconds, needed only here

    try:
        with tracking_server(config) as uri, tracked(uri, config, table.name) as run:
            run.log_lines([{"step": 0, "time": time.time(), **table.figures()}])
            for name in place.list():
                run.log_file(name, place.read(name), "report")
            for name in place.join("gallery").list():
                run.log_file(name, place.join("gallery").read(name), "report/gallery")
    except TrackerAway as error:
        print(f"the report is in {place} but not in MLflow: {error}")
