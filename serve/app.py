"""The served application: `serve run serve.app:build_app storage=runs/demo`, from the root of the checkout."""

from ray import serve
from ray.serve import Application
from ray.serve.config import AutoscalingConfig, BackpressureConfig, RequestRouterConfig

from serve.arguments import AppArgs
from serve.editor import EditorReplica
from serve.ingress import Ingress
from serve.journal import JournalReplica
from serve.judge import JudgeReplica


def build_app(args: AppArgs) -> Application:
    """Ingress in front of one editor a base, which ask the judge; the journal runs accepted jobs.

    Each scales by its own rule. Queues are bounded: overload answers 429 instead of growing. Options that belong to a
    cluster rather than to the application (placement, scaling delays) are set in serve/config.yaml.
    """
    judge = _judge(args)
    editors = {name: _editor(args, name, judge) for name in args.bases()}
    journal = serve.deployment(
        JournalReplica,
        name="Journal",
        num_replicas=1,  # the one writer of its file
        ray_actor_options={"num_cpus": 0.1},
        max_ongoing_requests=1000,  # waiting for a job costs nothing
        health_check_period_s=1,
        **_shutdown(10),
    ).bind(args, editors)
    # More requests than editors and their queues take are let in: those that are refused, and those that ask for a
    # model list, a job or the page.
    ingress = serve.deployment(
        Ingress,
        name="Ingress",
        ray_actor_options={"num_cpus": 0.1},
        max_ongoing_requests=256,
        max_queued_requests=256,
        backpressure_config=BackpressureConfig(status_code=429, retry_after_s=5),
        autoscaling_config=_scaling(1, args.max_ingresses, target=16),
        **_shutdown(args.timeout_s),
    )
    return ingress.bind(args, editors, journal)


def _editor(args: AppArgs, base: str, judge: Application | None) -> Application:
    """Scales on edits going on and waiting: one painted and none waiting for each replica."""
    return serve.deployment(
        EditorReplica,
        name=editor_name(args, base),
        ray_actor_options={"num_cpus": 0.4, "num_gpus": args.gpus},
        max_ongoing_requests=args.batch + 1,  # one batch is painted while the next is at hand
        max_queued_requests=args.queue - 2,  # with the one that is painted and the one at hand
        request_router_config=RequestRouterConfig(max_backoff_s=0.1),  # half a second, which it is else, is an edit
        autoscaling_config=_scaling(args.min_editors, args.max_editors, target=args.batch),
        health_check_period_s=2,
        **_shutdown(args.timeout_s),
    ).bind(args, base, judge)


def editor_name(args: AppArgs, base: str) -> str:
    """Name of the deployment that paints with a base."""
    return "Editor" if base == next(iter(args.bases())) else "FillEditor"


def _judge(args: AppArgs) -> Application | None:
    """Scales on questions: each takes a fraction of an edit, and an editor asks one at a time."""
    if args.judge is None:
        return None
    return serve.deployment(
        JudgeReplica,
        name="Judge",
        ray_actor_options={"num_cpus": 0.1, "num_gpus": args.judge_gpus},
        max_ongoing_requests=8,
        autoscaling_config=_scaling(1, args.max_judges, target=2),
        health_check_period_s=2,
        **_shutdown(60),
    ).bind(args)


def _scaling(low: int, high: int, target: float) -> AutoscalingConfig:
    return AutoscalingConfig(
        min_replicas=low, max_replicas=high, initial_replicas=low, target_ongoing_requests=target,
        upscale_delay_s=5, downscale_delay_s=600, look_back_period_s=15,
    )  # fmt: skip


def _shutdown(timeout_s: float) -> dict[str, float]:
    """What was accepted is finished before a replica goes."""
    return {"graceful_shutdown_timeout_s": timeout_s, "graceful_shutdown_wait_loop_s": 0.5}
