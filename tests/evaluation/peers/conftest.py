"""Cases of small pictures, and adapters that do something, for every peer to answer."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from skimage.filters import gaussian

from viral.config import AdapterConfig, RunConfig
from viral.evaluation.peers.registry import build_peer
from viral.evaluation.protocols.case import Case, Image
from viral.evaluation.protocols.method import Method
from viral.model.adapter import AdapterCard, add_adapter, save_adapter
from viral.model.backbone import base_hash, load_backbone

SIZE = 32
HEIGHT, WIDTH = 28, 36
"""Of a picture: no size that a model would take as it is."""


@pytest.fixture(scope="session")
def run_config(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """Two steps at 32 pixels, two cases a batch."""
    settings = {"data": {"size": SIZE}, "evaluate": {"steps": 2, "batch_size": 2}}
    return RunConfig.model_validate(
        {"storage": str(tmp_path_factory.mktemp("peers")), "base": str(tiny_base), **settings}
    )


@pytest.fixture(scope="session")
def adapter(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of ours whose weights are random, so that it shows."""
    return write_adapter(tiny_base, tmp_path_factory.mktemp("adapter"))


def write_adapter(base: Path, folder: Path, text: str = "none", **settings: Any) -> Path:
    """An adapter of random weights for `base`, trained at 32 pixels as its card has it."""
    config = AdapterConfig(rank=2, expert_rank=2, **settings)
    transformer = load_backbone(str(base), ("transformer",)).transformer
    add_adapter(transformer, config, seed=0)
    generator = torch.Generator().manual_seed(1)
    for parameter in transformer.parameters():
        if parameter.requires_grad:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.2
    card = AdapterCard(adapter=config, base="test", base_sha256=base_hash(str(base)), size=SIZE, steps=0)
    save_adapter(transformer, folder, card.model_copy(update={"text": text}))
    return folder


def picture(seed: int, height: int = HEIGHT, width: int = WIDTH) -> Image:
    """Smooth noise."""
    noise = gaussian(np.random.default_rng(seed).random((height, width, 3)), 3, channel_axis=-1)
    return (255 * (noise - noise.min()) / np.ptp(noise)).astype(np.uint8)


def make_case(number: int, examples: int = 1, **changes: Any) -> Case:
    """The negative of a picture, asked for by example."""
    sources, query = [picture(10 * number + k + 1) for k in range(examples)], picture(10 * number)
    asked = {"case_id": f"negative/{number}", "task": "negative", "source_id": f"photo-{number}", "seed": 7 + number}
    pairs = tuple((source, 255 - source) for source in sources)
    return Case(**{**asked, "examples": pairs, "query": query, "truth": 255 - query, **changes})


@pytest.fixture
def cases() -> list[Case]:
    """Two of one kind, one with two examples, one with none."""
    return [make_case(0), make_case(1), make_case(2, examples=2), make_case(3, examples=0)]


def loaded(config: RunConfig, **described: Any) -> Method:
    """The method of a description, as an actor loads it."""
    return build_peer("it", **described).load("it", config, "cpu")


def differ(one: Image | None, other: Image | None) -> int:
    """The largest difference of two pictures of one size."""
    assert one is not None and other is not None and one.shape == other.shape
    return int(np.abs(one.astype(int) - other.astype(int)).max())
