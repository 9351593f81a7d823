"""Every table of both papers and of the proof on the models that ship: all of it runs, no cell of ours is empty."""

from pathlib import Path

import pytest

from viral.config import RunConfig
from viral.evaluation.protocols.icedit_tables import ICEDIT_TABLES
from viral.evaluation.protocols.proof import PHOTOGRAPHS, PROOF
from viral.evaluation.protocols.protocol import Protocol
from viral.evaluation.protocols.run import run_protocol
from viral.evaluation.protocols.viral_tables import VIRAL_TABLES
from viral.shipped import SHIPPED_ADAPTERS
from viral.storage import Storage

COMPARED = ("ours", "plain", "single_depth", "single_normal", "bare", "lora64", "moe_only")
"""Adapters that the tables name: here all are the one that ships."""
DRAWN = (*VIRAL_TABLES, *(protocol for protocol in PROOF if protocol is not PHOTOGRAPHS))
"""All but the one that asks for photographs of one's own."""


ON_BASES = [*((protocol, "tiny") for protocol in DRAWN), *((protocol, "tiny-fill") for protocol in ICEDIT_TABLES)]


def config_of(folder: Path, base: str) -> RunConfig:
    return RunConfig.model_validate(
        {
            "storage": str(folder),
            "base": base,
            "adapters": dict.fromkeys(COMPARED, str(SHIPPED_ADAPTERS[base])),
            "data": {"size": 64, "actors": 1},
            "evaluate": {"steps": 8, "batch_size": 2, "samples": 200},
            "protocol": {"cases": 2},
            "tracking": {"uri": f"sqlite:///{folder}/mlflow.db"},
        }
    )


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("protocol", "base"), ON_BASES, ids=lambda given: getattr(given, "name", given))
def test_the_table_is_filled(ray_cluster: None, tmp_path: Path, protocol: Protocol, base: str) -> None:
    table = run_protocol(config_of(tmp_path, base), protocol)
    (ours,) = (row for row in table.rows if row.method == protocol.methods[0])
    assert ours.missing is None and len(ours.cells) == len(protocol.columns)
    asked = [row for row in table.rows if row.missing is None]
    empty = [(row.method, name) for row in asked for name, cell in row.cells.items() if cell.value is None]
    assert len(asked) > 1 and not empty, empty
    assert all(cell.absent is None or "names no weights" in cell.absent for cell in ours.cells.values())
    report = Storage(str(tmp_path)).join("protocols", protocol.name)
    assert ours.title in report.read("report.md").decode() and report.exists("report.html")
