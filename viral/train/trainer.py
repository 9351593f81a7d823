"""A training run from start to end: Ray Train for the workers, DeepSpeed in them, MLflow beside them."""

import errno
import json
import os
import shutil
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from ray.train import FailureConfig, ScalingConfig, ValidationConfig, ValidationTaskConfig
from ray.train import RunConfig as RayRunConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2.api.exceptions import TrainingFailedError

from viral.config import RunConfig
from viral.model.adapter_files import DIFFUSERS
from viral.storage import Storage, local_folder
from viral.tracking import Tracker, TrackerAway, parent_run, tracking_server
from viral.train.export import beside_training, export_adapter
from viral.train.follow import Mirror, following
from viral.train.journal import read_journal
from viral.train.model_card import card_words
from viral.train.run import Run, claim, describe_run, note
from viral.train.validation import validate
from viral.train.worker import STOPPED, Job, make_sampler, work

DONE, RAY_RUNS = "done.json", "ray"
VALIDATION_S = 3600.0
"""When a validation is given up; training never waits for one."""


@dataclass(frozen=True)
class TrainResult:
    """Where the adapter is and what its training came to."""

    adapter: str
    run_id: str
    steps: int
    loss: float
    """Mean over the last logged steps."""
    skipped: bool = False


def train_adapter(config: RunConfig) -> TrainResult:
    """Train the adapter of `config` on its latents; goes on where an interrupted run stopped, does nothing when done.

    `ValueError` where the latents are missing or unfit, where `storage` holds a run of another configuration or
    is being trained in by another process, and for a loss that is not finite.
    """
    config = _absolute(config)
    storage, run = Storage(config.storage).join("train"), describe_run(config)
    with storage.alone():
        return _train_alone(config, storage, run)


def _train_alone(config: RunConfig, storage: Storage, run: Run) -> TrainResult:
    notes = claim(storage, run)
    if storage.exists(DONE):
        print("training: done before with the same configuration and data, nothing to do", flush=True)
        return TrainResult(**json.loads(storage.read(DONE)) | {"skipped": True})
    make_sampler(config)  # tells what is wrong with the data before anything is started
    with tracking_server(config) as uri:
        name, parent = f"train-{run.fingerprint}", parent_run(uri, config)
        tracker = Tracker.open(uri, config, notes.get("run_id"), name, parent)
        note(storage, run_id=tracker.run_id)
        return _train(config, run, storage, Mirror(storage, tracker, notes.get("sent", [])))


def _train(config: RunConfig, run: Run, storage: Storage, mirror: Mirror) -> TrainResult:
    _describe(config, run, mirror.tracker)
    try:
        with following(storage, mirror, config.train.steps):
            fit(Job(config, run.fingerprint, run.base_sha256), storage)
    except BaseException:
        _close(mirror.tracker, "FAILED")
        raise
    return _finish(config, storage, mirror)


def fit(job: Job, storage: Storage) -> None:
    """Run Ray Train once. Its folder is disposable: it holds no checkpoint of ours and every attempt has its own.

    So a snapshot that Ray left damaged (it writes it in place) is never read again, and resuming is our loader's work.
    """
    storage.delete(STOPPED)
    runs = storage.join(RAY_RUNS)
    if runs.is_local:
        shutil.rmtree(runs.folder(), ignore_errors=True)
    filesystem, path = runs.filesystem
    train = job.config.train
    trainer = TorchTrainer(
        work,
        train_loop_config={"job": job},
        scaling_config=ScalingConfig(
            num_workers=train.workers,
            use_gpu=train.gpus,
            resources_per_worker=_resources(train.gpus),
            label_selector=job.config.nodes.train or None,
        ),
        torch_config=TorchConfig(backend="nccl" if train.gpus else "gloo"),
        run_config=RayRunConfig(
            name=f"fit-{uuid.uuid4().hex[:8]}",
            storage_path=path,
            storage_filesystem=filesystem,
            failure_config=FailureConfig(max_failures=train.max_failures),
        ),
        # Where the workers hold all GPUs, a validation waits until they are done.
        validation_config=ValidationConfig(
            partial(validate, config=job.config, fingerprint=job.fingerprint),
            ValidationTaskConfig(timeout_s=VALIDATION_S),
            beside_training(job.config),
        ),
    )
    try:
        trainer.fit()
    except TrainingFailedError as error:
        _raise_reason(storage)
        if os.strerror(errno.ENOSPC) in str(error):  # where the reason found no room, or Ray had none
            raise ValueError(f"{storage}: no room is left there; free some, then run the same command again") from error
        raise
    _raise_reason(storage)


def _resources(gpus: bool) -> dict[str, int]:
    return {"CPU": 1, "GPU": 1} if gpus else {"CPU": 1}


def _raise_reason(storage: Storage) -> None:
    """Tell why the workers stopped for good, where they did."""
    if storage.exists(STOPPED):
        reason = json.loads(storage.read(STOPPED))["reason"]
        storage.delete(STOPPED)
        raise ValueError(reason)


def _describe(config: RunConfig, run: Run, tracker: Tracker) -> None:
    """Log what the run is made of."""
    workers = {
        f"train.{name}": getattr(config.train, name) for name in ("workers", "micro_batch", "zero_stage", "gpus")
    }
    tracker.log_params({**run.inputs, "base.name": config.base, **workers})
    tracker.log_dataset("latents", Storage(config.storage).join(config.latents), run.data)


def _finish(config: RunConfig, storage: Storage, mirror: Mirror) -> TrainResult:
    """Hand over to the tracker what it has not got, then mark the run as done."""
    adapter = Storage(config.storage).join("adapter")
    try:
        if mirror.away is not None:
            raise TrackerAway(mirror.away)
        with local_folder(adapter) as folder:
            mirror.tracker.log_adapter(folder)
            mirror.tracker.describe(card_words(folder))
        with local_folder(export_adapter(config)) as folder:
            mirror.tracker.log_diffusers(folder / DIFFUSERS, config.base_folder())
        mirror.tracker.finish()
    except TrackerAway as error:
        raise ValueError(
            f"the adapter is trained and lies at {adapter}, but {error}. Its figures are kept at {storage}; "
            "run the same command again when the server is back"
        ) from error
    last = read_journal(storage)[-1]
    result = TrainResult(str(adapter), mirror.tracker.run_id, config.train.steps, last["loss"])
    storage.write(DONE, json.dumps(asdict(result), indent=1).encode())
    return result


def _close(tracker: Tracker, status: str) -> None:
    """Close the run of a training that failed, if the server is there; the failure itself is what counts."""
    with suppress(TrackerAway):
        tracker.finish(status)


def _absolute(config: RunConfig) -> RunConfig:
    """The configuration with no relative folder in it, as workers start in a folder of their own."""
    base = str(Path(config.base).resolve()) if Path(config.base).is_dir() else config.base
    return config.model_copy(update={"storage": Storage(config.storage).uri, "base": base})
