"""The served application: `serve run serve.app:build_app storage=runs/demo`, from the root of the checkout."""

from ray import serve
from ray.serve import Application
from ray.serve.config import BackpressureConfig

from serve.arguments import AppArgs
from serve.editor import EditorReplica
from serve.ingress import Ingress


def build_app(args: AppArgs) -> Application:
    """Ingress (CPU) in front of one editor; queues are bounded, so that overload answers 429 instead of growing."""
    waiting = serve.deployment(
        EditorReplica,
        name="Editor",
        user_config={"adapter": args.adapter_source()},
        ray_actor_options={"num_cpus": 0.5, "num_gpus": args.gpus},
        max_ongoing_requests=2,  # one is painted while the next is at hand
        max_queued_requests=args.queue,
        graceful_shutdown_timeout_s=args.timeout_s,
        graceful_shutdown_wait_loop_s=0.5,
    )
    ingress = serve.deployment(
        Ingress,
        name="Ingress",
        ray_actor_options={"num_cpus": 0.1},
        max_ongoing_requests=64,
        max_queued_requests=64,
        backpressure_config=BackpressureConfig(status_code=429, retry_after_s=5),
        graceful_shutdown_timeout_s=args.timeout_s,
        graceful_shutdown_wait_loop_s=0.5,
    )
    return ingress.bind(waiting.bind(args), args)
