"""A small evaluation that really ran: real tables, a real base, an adapter at its start."""

from pathlib import Path

import numpy as np
import pytest
from skimage.filters import gaussian

from viral.config import AdapterConfig, RunConfig
from viral.data.encode import LatentMaker
from viral.data.latents import TEXT
from viral.data.pair_table import PairTable, good_row, open_pairs, pairs_parquet
from viral.data.shards import MadeShard
from viral.evaluation.evaluate import evaluate_adapter
from viral.evaluation.summary import EvaluationSummary
from viral.model.adapter import AdapterCard, add_adapter, save_adapter
from viral.model.backbone import base_hash, load_backbone
from viral.storage import Manifest, Storage, describe_shard, write_manifest
from viral.tasks import TASKS, Labelled

SIZE = 32
SPLITS = {"train": ("one", "two"), "test": ("three",)}
CROPS = 3


@pytest.fixture(scope="session")
def evaluated(
    tmp_path_factory: pytest.TempPathFactory, tiny_base: Path, ray_cluster: None
) -> tuple[RunConfig, EvaluationSummary]:
    """A storage with everything up to a finished evaluation of an adapter that was never trained."""
    storage = str(tmp_path_factory.mktemp("evaluated"))
    config = RunConfig.model_validate(
        {"storage": storage, "base": str(tiny_base), "evaluate": {"steps": 2, "batch_size": 2, "samples": 200}}
    )
    write_pairs(config, ("negative", "watermark"))
    write_latents(config, open_pairs(Storage(storage).join("pairs")))
    write_adapter(config)
    return config, evaluate_adapter(config)


def write_pairs(config: RunConfig, tasks: tuple[str, ...], masks: bool = True) -> None:
    """A table of pairs of smooth noise, a few crops of each of three sources."""
    rng, rows = np.random.default_rng(0), []
    for split, sources in SPLITS.items():
        for source in sources:
            for i in range(CROPS):
                noise = gaussian(rng.random((SIZE, SIZE, 3)), 2, channel_axis=-1)
                image = (255 * (noise - noise.min()) / np.ptp(noise)).astype(np.uint8)
                rows += [_row(task, split, source, i, image, rng, masks) for task in tasks]
    write_table(config, "pairs", {"shard-00000.parquet": MadeShard(pairs_parquet(rows), len(rows), {})})


def write_latents(config: RunConfig, pairs: PairTable) -> None:
    """The table of latents that belongs to a table of pairs of one shard."""
    (shard,) = pairs.manifest.shards
    make = LatentMaker(pairs, config.base, gpu=0.0, model=config.model)
    write_table(config, "latents", {"shard-00000.arrow": make(shard), TEXT: make(None)})


def write_adapter(config: RunConfig) -> None:
    """An adapter at its start."""
    adapter = AdapterConfig(rank=4, alpha=4, num_experts=2, expert_rank=2, expert_alpha=2)
    transformer = load_backbone(config.base, ("transformer",)).transformer
    add_adapter(transformer, adapter, seed=0)
    card = AdapterCard(adapter=adapter, base="tiny", base_sha256=base_hash(config.base), size=SIZE, steps=1)
    save_adapter(transformer, Storage(config.storage).join("adapter").folder(), card)


def _row(task: str, split: str, source: str, i: int, image: np.ndarray, rng: np.random.Generator, masks: bool) -> dict:
    rendering = TASKS[task].pair(Labelled(image), rng)
    about = {"pair_id": f"{task}-{source}-{i}", "task": task, "split": split, "source_id": source, "licence": "CC0"}
    row = good_row(about, {}, rendering)
    return row if masks else {**row, "mask": None}


def write_table(config: RunConfig, table: str, made: dict[str, MadeShard]) -> None:
    place = Storage(config.storage).join(table)
    for name, shard in made.items():
        place.write(name, shard.data)
    shards = tuple(describe_shard(name, shard.rows, shard.data, {}) for name, shard in made.items())
    write_manifest(place, Manifest(fingerprint="made by hand", complete=True, shards=shards))
