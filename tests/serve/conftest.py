"""One adapter served over HTTP for all tests of the interface."""

import io
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
SIZE = 32


@pytest.fixture(scope="session")
def adapter(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an untrained adapter for `tiny_base`."""
    from viral.config import AdapterConfig
    from viral.model.adapter import AdapterCard, add_adapter, save_adapter
    from viral.model.backbone import base_hash, load_backbone

    transformer = load_backbone(str(tiny_base), ("transformer",)).transformer
    assert transformer is not None
    config = AdapterConfig(rank=2, expert_rank=2)
    add_adapter(transformer, config, seed=0)
    folder = tmp_path_factory.mktemp("adapter") / "first"
    card = AdapterCard(adapter=config, base="tiny", base_sha256=base_hash(str(tiny_base)), size=SIZE, steps=0)
    save_adapter(transformer, folder, card)
    return folder


@pytest.fixture(scope="session")
def registry(adapter: Path, free_ports: list[int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of an MLflow server in which `adapter` is the champion."""
    from viral.config import RunConfig
    from viral.model.adapter import adapter_sha256
    from viral.tracking import Tracker, register_version, set_alias, tracking_server

    storage = str(tmp_path_factory.mktemp("registry"))
    config = RunConfig.model_validate({"storage": storage, "tracking": {"port": free_ports[0]}})
    with tracking_server(config) as uri:
        tracker = Tracker.open(uri, config, None, "made for a test")
        tracker.log_adapter(adapter)
        version = register_version(uri, config.tracking.model_name, tracker.run_id, adapter_sha256(adapter))
        set_alias(uri, config.tracking.model_name, "champion", version)
        yield uri


@pytest.fixture(scope="session")
def server(
    ray_cluster: None,
    tiny_base: Path,
    registry: str,
    free_ports: list[int],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[httpx.Client]:
    """A client of the served champion, limited to small bodies and images."""
    from viral.config import RunConfig

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        from serve.local import serve_adapter

        serve = {"port": free_ports[1], "steps": 2, "max_body_bytes": 1_000_000, "max_pixels": 100_000}
        storage = str(tmp_path_factory.mktemp("served"))
        config = RunConfig.model_validate({"storage": storage, "base": str(tiny_base), "serve": serve})
        with (
            serve_adapter(config, "models:/viral-adapter@champion", registry, refresh_s=0.5) as url,
            httpx.Client(base_url=url, timeout=60) as client,
        ):
            yield client


@pytest.fixture(scope="session")
def picture() -> Callable[..., bytes]:
    """Makes an encoded image of random pixels from (seed, width, height, kind)."""

    def make(seed: int, width: int = SIZE, height: int = SIZE, kind: str = "PNG") -> bytes:
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, kind)
        return buffer.getvalue()

    return make


@pytest.fixture
def parts(picture: Callable[..., bytes]) -> dict[str, bytes]:
    """The three images of a request, as PNG."""
    return {name: picture(seed) for seed, name in enumerate(("example_source", "example_target", "query"))}


@pytest.fixture(scope="session")
def free_ports() -> list[int]:
    """Two ports nobody listens on."""
    with socket.socket() as first, socket.socket() as second:
        for probe in (first, second):
            probe.bind(("127.0.0.1", 0))
        return [first.getsockname()[1], second.getsockname()[1]]
