"""The Ray cluster a job runs on: the one it was given, or a local one of its own."""

import logging
import os
import secrets
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from viral.config import RunConfig

ATTEMPTS = 3
IDLE_MS = 120_000
"""How long a local cluster keeps a process that has nothing to do."""
_TOO_SLOW = "timed out during startup"
_SERVED = Path("serve", "app.py")


@contextmanager
def connect(config: RunConfig) -> Iterator[None]:
    """Connect this process to Ray for the length of the block.

    Uses the cluster that RAY_ADDRESS names (`ray job submit` sets it), else starts a local one with token
    authentication and shuts it down at the end. A connection that exists already is used and left as it is.
    """
    import ray

    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")  # the jobs draw their own
    if os.environ.get("RAY_ADDRESS"):
        ray.init(runtime_env=_remote_environment(), logging_level=logging.WARNING)
    else:
        _authenticate()
        _start_local()
    try:
        yield
    finally:
        ray.shutdown()


def check_port(port: int, key: str) -> None:
    """Raise `ValueError` when something listens on loopback `port` already; `key` is the setting that moves it."""
    with socket.socket() as probe:
        # As servers do it: a port whose last connections are still being closed is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError:
            raise ValueError(
                f"port {port} may not be opened by this user; choose one above 1023 with {key}=..."
            ) from None
        except OSError:
            raise ValueError(
                f"port {port} is in use by another program (which one cannot be told from here; `ss -ltnp` shows it); "
                f"stop it, or choose another port with {key}={_free_port()}"
            ) from None


def checkout() -> Path | None:
    """Root of the checkout that holds serve/ and jobs/; None where only the package is installed."""
    roots = (Path(__file__).parents[1], Path.cwd(), *map(Path, sys.path))
    return next((root.resolve() for root in roots if (root / _SERVED).is_file()), None)


def _authenticate() -> None:
    """Make token authentication the mode of this process and its children, with a fresh secret.

    What the user has set stays. The token file in the home directory is never read nor written: a cluster that lives
    as long as one job needs no secret that outlives it.
    """
    from ray._raylet import AuthenticationTokenLoader, Config

    os.environ.setdefault("RAY_AUTH_MODE", "token")
    if os.environ["RAY_AUTH_MODE"] == "token" and not os.environ.get("RAY_AUTH_TOKEN_PATH"):
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    # Ray read its settings when it was imported; without this the processes it starts ask for a token that the
    # driver does not send. Ray's own `enable_token_auth_by_default` does the same.
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


def _start_local() -> None:
    """Start a local cluster; once more where the machine was too busy for Ray's patience."""
    # Serve gives its proxy 5 s to import itself and then starts another.
    os.environ.setdefault("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "60")
    # A task of a run finds the process of the one before, which has imported the model's libraries already, which saves
    # the demo's training a minute. Ray's own patience is a second.
    os.environ.setdefault("RAY_idle_worker_killing_time_threshold_ms", str(IDLE_MS))
    # No cloud takes this machine away, so Train needs no process that watches for it.
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    if checkout() is not None:
        os.environ.setdefault("RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH", "serve.proxy:middlewares")
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with _search_path(checkout()):
                _init_local()
            return
        except Exception as error:  # Ray raises the bare class
            # The raylet gives its agents 15 s to import themselves and then aborts; on a busy machine they need more.
            # The second time their files are in memory.
            if _TOO_SLOW not in str(error) or attempt == ATTEMPTS:
                raise


def _init_local() -> None:
    import ray

    ray.init(
        address="local",
        num_cpus=max(2, os.cpu_count() or 1),
        include_dashboard=False,
        logging_level=logging.WARNING,
        # Workers' lines would tear the progress bars apart; they lie in the session folder, under logs/, and what
        # fails comes back as an exception with its traceback.
        log_to_driver=False,
    )


@contextmanager
def _search_path(root: Path | None) -> Iterator[None]:
    """Let processes started in the block import from `root`; Serve's replicas find `serve.app` there."""
    before = os.environ.get("PYTHONPATH")
    if root is not None:
        os.environ["PYTHONPATH"] = os.pathsep.join([str(root), *([before] if before else [])])
    try:
        yield
    finally:
        os.environ.pop("PYTHONPATH", None)
        if before is not None:
            os.environ["PYTHONPATH"] = before


def _remote_environment() -> dict[str, str] | None:
    """Send the checkout to the workers, unless `ray job submit --working-dir` has done so."""
    root = checkout()
    submitted = "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ
    return None if submitted or root is None else {"working_dir": str(root)}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
