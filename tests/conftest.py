"""Fixtures shared by all tests: one Ray cluster, one small base of random weights."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import install_import_hook

# Shapes in signatures are checked while the tests run, and only then.
install_import_hook("viral", "beartype.beartype")

from viral.config import RunConfig  # noqa: E402
from viral.pretrain.pictures import Photograph, Pictures  # noqa: E402


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The served application holds processors of the shared cluster until the session ends: it comes last."""
    items.sort(key=lambda item: "serve" in item.path.parts)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a skipped test is a failed run, unless it was skipped for want of a GPU."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = [str(report.longrepr) for report in reporter.stats.get("skipped", [])] if reporter else []
    unexcused = [reason for reason in skipped if "GPU" not in reason]
    if os.environ.get("CI") and unexcused:
        reporter.write_line(f"skipped for other reasons than a missing GPU: {unexcused}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def pictures() -> Pictures:
    """Pictures to build a base from: drawn shapes, and noise with a gradient for a photograph."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 255, 96)[:, None, None] * np.ones((96, 96, 3))
    pixels = np.clip(ramp + rng.normal(size=ramp.shape) * 30, 0, 255).astype(np.uint8)
    return Pictures([Photograph(pixels, "0" * 64, "ramp", "CC0", "made here")], size=32)


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory, pictures: Pictures) -> Path:
    """A complete base folder of two layers with random weights in the DiT; its VAE's encoder is exact."""
    from viral.pretrain import folder, tokenizer, vae

    path = tmp_path_factory.mktemp("base")
    words = tokenizer.build_tokenizer(["make it darker", "tint it red"] * 20)
    transformer = folder.build_transformer(layers=2, heads=2)
    folder.save_base(path, transformer, vae.build(pictures), folder.build_text_encoder(words), words)
    return path


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """The one Ray cluster of the session."""
    from viral.cluster import connect

    with connect(RunConfig()):
        yield
