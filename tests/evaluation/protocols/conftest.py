"""A protocol that really ran: drawn scenes, a small base, an adapter at its start, all stages on Ray."""

from pathlib import Path

import pytest

from viral.config import AdapterConfig, RunConfig
from viral.evaluation.protocols.run import run_protocol
from viral.evaluation.protocols.table import ProtocolTable
from viral.evaluation.protocols.viral_tables import TABLE3
from viral.model.adapter import AdapterCard, add_adapter, save_adapter
from viral.model.backbone import base_hash, load_backbone
from viral.storage import Storage

SIZE = 32


def protocol_config(base: Path, folder: Path, **protocol: object) -> RunConfig:
    """Few small cases, two steps, figures tracked in a file."""
    return RunConfig.model_validate(
        {
            "storage": str(folder),
            "base": str(base),
            "data": {"size": SIZE, "actors": 1},
            "evaluate": {"steps": 2, "batch_size": 2, "samples": 200},
            "protocol": {"cases": 3, **protocol},
            "tracking": {"uri": f"sqlite:///{folder}/mlflow.db"},
        }
    )


def write_adapter(config: RunConfig) -> None:
    """An adapter at its start, which paints as the base does."""
    adapter = AdapterConfig(rank=2, alpha=2, num_experts=2, expert_rank=2, expert_alpha=2)
    transformer = load_backbone(config.base, ("transformer",)).transformer
    add_adapter(transformer, adapter, seed=0)
    card = AdapterCard(adapter=adapter, base="tiny", base_sha256=base_hash(config.base), size=SIZE, steps=1)
    save_adapter(transformer, Storage(config.storage).join("adapter").folder(), card)


@pytest.fixture(scope="session")
def ran(
    tiny_base: Path, tmp_path_factory: pytest.TempPathFactory, ray_cluster: None
) -> tuple[RunConfig, ProtocolTable]:
    """VIRAL's Table 3, finished."""
    config = protocol_config(tiny_base, tmp_path_factory.mktemp("ran"))
    write_adapter(config)
    return config, run_protocol(config, TABLE3)


@pytest.fixture
def drawn(tiny_base: Path, tmp_path: Path) -> RunConfig:
    """A configuration with no run yet."""
    return protocol_config(tiny_base, tmp_path)
