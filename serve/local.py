"""A served adapter on this machine's loopback, for as long as a block runs."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ray import serve
from ray.exceptions import RayActorError

from serve.app import build_app
from serve.arguments import AppArgs
from viral.cluster import check_port
from viral.config import RunConfig

NAME = "viral"


@contextmanager
def serve_adapter(config: RunConfig, adapter: str, tracking: str | None = None, **arguments: Any) -> Iterator[str]:
    """Serve `adapter` (a folder, or `models:/name@alias` in the registry at `tracking`) and yield the base URL, ready.

    `arguments` are further ones of `AppArgs`. Jobs that are not done when the block ends are done in the next one.
    Needs a connection to Ray. Raises `ValueError` when `serve.port` is in use; ends what it started.
    """
    check_port(config.serve.port, "serve.port")
    args = AppArgs.of(config, adapter, tracking, **arguments)
    quiet = {"log_level": "WARNING", "enable_access_log": False}
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    serve.start(
        proxy_location="HeadOnly",
        http_options={"host": "127.0.0.1", "port": config.serve.port},
        logging_config=quiet,
    )
    try:
        serve.run(build_app(args), name=NAME, route_prefix="/", logging_config=quiet)
        yield f"http://127.0.0.1:{config.serve.port}"
        _drain(args.timeout_s)
    finally:
        _stop()


def _drain(timeout_s: float) -> None:
    """Wait for what was accepted: Serve stops all deployments at once, and edits would wait for editors in vain."""
    with suppress(RayActorError, TimeoutError):  # an ingress that died accepted nothing that its clients do not retry
        serve.get_app_handle(NAME).drain.remote().result(timeout_s=timeout_s)


def _stop() -> None:
    """Take the application down, and Serve with it unless it serves others too."""
    serve.delete(NAME)
    if not serve.status().applications:
        serve.shutdown()
