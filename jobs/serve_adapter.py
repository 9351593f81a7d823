"""Serve the registry's champion on the loopback until Ctrl-C.

python jobs/serve_adapter.py jobs/configs/tiny.yaml serve.port=8000
"""

import signal
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

from viral.config import RunConfig, load, stop

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Start everything, say where it is, wait."""
    config = load(__doc__ or "")
    sys.path.insert(0, str(ROOT))  # serve/ runs from the checkout
    try:
        _serve(config)
    except (ValueError, ConnectionError) as error:
        stop(str(error))


def _serve(config: RunConfig) -> None:
    from serve.local import serve_adapter
    from viral.cluster import check_port, connect
    from viral.tracking import resolve, tracking_server

    adapter = f"models:/{config.tracking.model_name}@champion"
    with ExitStack() as stack:
        # What can be wrong is found before the half minute that Ray takes to start.
        check_port(config.serve.port, "serve.port")
        tracking = stack.enter_context(tracking_server(config))
        resolve(adapter, tracking)
        stack.enter_context(connect(config))
        url = stack.enter_context(serve_adapter(config, adapter, tracking))
        print(f"serving {adapter} on {url} (try {url}/v1/models; runs at {tracking}); Ctrl-C ends it", flush=True)
        _wait()
    print("stopped")


def _wait() -> None:
    """Block until SIGINT or SIGTERM."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()


if __name__ == "__main__":
    main()
