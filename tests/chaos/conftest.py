"""Fixtures of the served application, started anew with the arguments that a test asks for."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.serve.conftest import adapter, free_ports, parts, picture, registry, server
from viral.config import RunConfig

__all__ = ["adapter", "free_ports", "parts", "picture", "registry", "server"]


@dataclass(frozen=True)
class Serving:
    """Serves an adapter with arguments of the application; the jobs lie under `storage`."""

    base: Path
    adapter: Path
    port: int
    storage: Path

    @contextmanager
    def __call__(self, **arguments: Any) -> Iterator[str]:
        """Serve within a block; its address."""
        from serve.local import serve_adapter

        with serve_adapter(self.config, str(self.adapter), None, **arguments) as url:
            yield url

    def again(self, **arguments: Any) -> None:
        """Replace what is served, as `serve deploy` does; returns when the new version runs."""
        from ray import serve

        from serve.app import build_app
        from serve.arguments import AppArgs
        from serve.local import NAME

        args = AppArgs.of(self.config, str(self.adapter), None, **arguments)
        serve.run(build_app(args), name=NAME, route_prefix="/")

    @property
    def config(self) -> RunConfig:
        return RunConfig.model_validate(
            {"storage": str(self.storage), "base": str(self.base), "serve": {"port": self.port, "steps": 2}}
        )


@pytest.fixture
def serving(ray_cluster: None, tiny_base: Path, adapter: Path, free_ports: list[int], tmp_path: Path) -> Serving:
    return Serving(tiny_base, adapter, free_ports[1], tmp_path)
