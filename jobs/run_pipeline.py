"""Run the main job whole: photographs, pairs, latents, adapter, scores, registered version, an answer over HTTP.

    python jobs/run_pipeline.py jobs/configs/tiny.yaml [images=my_photographs]

Every step that is already done is left as it is; interrupted and run again, it goes on.
"""

import sys
import time
from contextlib import ExitStack
from pathlib import Path

from viral.config import RunConfig, load, stop

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Read the command line and run all steps on one Ray cluster and one tracking server."""
    config, start = load(__doc__ or ""), time.monotonic()
    sys.path.insert(0, str(ROOT))  # serve/ runs from the checkout
    try:
        _run(config)
    except ValueError as error:
        stop(str(error))
    print(f"done in {time.monotonic() - start:.0f} s")


def _run(config: RunConfig) -> None:
    from viral.cluster import check_port, connect
    from viral.data.dataset import task_names
    from viral.data.photographs import check_images
    from viral.tracking import tracked_whole, tracking_server
    from viral.train.run import check_training

    check_port(config.serve.port, "serve.port")  # before the minutes of work that come first
    check_training(config, task_names(config))
    if not config.dataset.parts:
        check_images(config)
    with ExitStack() as stack:
        print("== starting MLflow and Ray", flush=True)
        uri = stack.enter_context(tracking_server(config))
        stack.enter_context(connect(config))
        stack.enter_context(tracked_whole(uri, config))
        _steps(config, uri)


def _steps(config: RunConfig, uri: str) -> None:
    from serve.answer import answer_once
    from viral.evaluation.evaluate import evaluate_adapter
    from viral.evaluation.report import ReportFacts, write_report
    from viral.registration import register_adapter
    from viral.steps import Clock
    from viral.storage import Storage
    from viral.train.trainer import train_adapter

    clock = Clock(Storage(config.storage))
    clock.time("pairs", "pairs/manifest.json", lambda: _generate(config, uri))
    clock.time("latents", "latents/manifest.json", lambda: _encode(config, uri))
    trained = clock.time("training", "train/done.json", lambda: train_adapter(config))
    scores = clock.time("evaluation", "evaluation/summary.json", lambda: evaluate_adapter(config))
    version = clock.time("registration", "registration.json", lambda: register_adapter(config, uri))
    print(version)
    answers = {}
    if version.champion:
        answers = clock.time("serving", "answer/request.txt", lambda: answer_once(config, uri, scores, version.version))
    facts = ReportFacts(
        run_id=trained.run_id,
        mlflow_uri=uri,
        model_name=version.model,
        version=version.version,
        alias="champion" if version.champion else None,
        seconds=clock.seconds,
        answers=answers,
        commands=_commands(config),
    )
    print(f"report: {write_report(config, facts)} (the same figures: {config.storage}/summary.json)")
    print("\n".join(f"{what}: {command}" for what, command in facts.commands.items()))


def _generate(config: RunConfig, uri: str) -> None:
    from viral.data.dataset import make_pairs
    from viral.data.pairs import load_pairs
    from viral.tracking import tracked

    with tracked(uri, config, "generate") as run:
        run.log_params({**config.data.model_dump(mode="json"), "seed": config.seed})
        manifest = make_pairs(config)
        run.log_table("pairs", load_pairs(config).storage, manifest)


def _encode(config: RunConfig, uri: str) -> None:
    from viral.data.encode import encode_pairs
    from viral.storage import Storage
    from viral.tracking import tracked

    with tracked(uri, config, "encode") as run:
        run.log_params({"base.name": config.base, "text": config.train.text})
        run.log_table("latents", Storage(config.storage).join(config.latents), encode_pairs(config))


def _commands(config: RunConfig) -> dict[str, str]:
    """Where to look further."""
    folder = config.storage.rstrip("/")
    server = f"mlflow server --backend-store-uri sqlite:///{folder}/mlflow/mlflow.db"
    return {
        "serve it": "make serve" + (f" IMAGES={config.images}" if config.images else ""),
        "browse the runs": f"{server} --artifacts-destination {folder}/mlflow/artifacts --port {config.tracking.port}",
        "paint from files": "python jobs/edit_image.py a.png a2.png b.png -o out.png",
    }


if __name__ == "__main__":
    main()
