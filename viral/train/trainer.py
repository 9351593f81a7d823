"""A training run from start to end: Ray Train for the workers, DeepSpeed in them, MLflow beside them."""

import json
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import ray
from ray.actor import ActorHandle
from ray.exceptions import GetTimeoutError, RayActorError
from ray.train import FailureConfig, ScalingConfig
from ray.train import RunConfig as RayRunConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2.api.exceptions import TrainingFailedError

from viral.config import RunConfig
from viral.data.latents import LatentTable
from viral.storage import Storage
from viral.tracking import Tracker, TrackerAway, tracking_server
from viral.train.follow import Mirror, following
from viral.train.journal import read_journal
from viral.train.run import Run, claim, describe_run, note
from viral.train.sampler import AnalogySampler
from viral.train.validation import Painter
from viral.train.worker import STOPPED, Job, work

DONE, RAY_RUNS = "done.json", "ray"
PAINT_S = 60.0
"""How long the end of a run waits for its last picture."""


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
    AnalogySampler(LatentTable(Storage(config.storage).join(config.latents)), config.seed)
    with tracking_server(config) as uri:
        tracker = Tracker.open(uri, config, notes.get("run_id"), f"train-{run.fingerprint}")
        note(storage, run_id=tracker.run_id)
        return _train(config, run, storage, Mirror(storage, tracker, notes.get("images", [])))


def _train(config: RunConfig, run: Run, storage: Storage, mirror: Mirror) -> TrainResult:
    _describe(config, run, mirror.tracker)
    # A picture takes no processor of its own from the scheduler: the workers hold them all while they train.
    painter = ray.remote(num_cpus=0, num_gpus=int(config.train.gpus))(Painter).remote(config, run.fingerprint)
    try:
        with following(storage, mirror, config.train.steps):
            _fit(Job(config, run.fingerprint, run.base_sha256, painter), storage)
            _wait_for_pictures(painter, config.train.steps)
    except BaseException:
        _close(mirror.tracker, "FAILED")
        raise
    finally:
        ray.kill(painter)
    return _finish(config, storage, mirror)


def _fit(job: Job, storage: Storage) -> None:
    """Run Ray Train once. Its folder is disposable: it holds no checkpoint of ours and every attempt has its own.

    So a snapshot that Ray left damaged (it writes it in place) is never read again, and resuming is our loader's work.
    """
    storage.delete(STOPPED)
    runs = storage.join(RAY_RUNS)
    if runs.is_local:
        shutil.rmtree(runs.folder(), ignore_errors=True)
    train = job.config.train
    trainer = TorchTrainer(
        work,
        train_loop_config={"job": job},
        scaling_config=ScalingConfig(
            num_workers=train.workers, use_gpu=train.gpus, resources_per_worker=_resources(train.gpus)
        ),
        torch_config=TorchConfig(backend="nccl" if train.gpus else "gloo"),
        run_config=RayRunConfig(
            name=f"fit-{uuid.uuid4().hex[:8]}",
            storage_path=str(runs),
            failure_config=FailureConfig(max_failures=train.max_failures),
        ),
    )
    try:
        trainer.fit()
    except TrainingFailedError:
        _raise_reason(storage)
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


def _wait_for_pictures(painter: ActorHandle, step: int) -> None:
    """Calls of an actor run in order, so when this last one is answered all are; a picture never fails a run."""
    try:
        ray.get(painter.paint.remote(step), timeout=PAINT_S)
    except (GetTimeoutError, RayActorError) as error:
        print(f"the last validation pictures are missing: {type(error).__name__}", flush=True)


def _describe(config: RunConfig, run: Run, tracker: Tracker) -> None:
    """Log what the run is made of."""
    workers = {
        f"train.{name}": getattr(config.train, name) for name in ("workers", "micro_batch", "zero_stage", "gpus")
    }
    tracker.log_params({**run.inputs, "base.name": config.base, **workers})
    profile = json.dumps({"shards": len(run.data.shards), "rows": sum(shard.rows for shard in run.data.shards)})
    source = str(Storage(config.storage).join(config.latents))
    tracker.log_dataset("latents", run.data.fingerprint, json.dumps({"uri": source}), profile)


def _finish(config: RunConfig, storage: Storage, mirror: Mirror) -> TrainResult:
    """Hand over to the tracker what it has not got, then mark the run as done."""
    adapter = Storage(config.storage).join("adapter")
    try:
        if mirror.away is not None:
            raise TrackerAway(mirror.away)
        with _local(adapter) as folder:
            mirror.tracker.log_adapter(folder)
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


@contextmanager
def _local(place: Storage) -> Iterator[Path]:
    """A local copy of a folder of small files."""
    with tempfile.TemporaryDirectory() as folder:
        for name in place.list():
            (Path(folder) / name).write_bytes(place.read(name))
        yield Path(folder)


def _close(tracker: Tracker, status: str) -> None:
    """Close the run of a training that failed, if the server is there; the failure itself is what counts."""
    with suppress(TrackerAway):
        tracker.finish(status)


def _absolute(config: RunConfig) -> RunConfig:
    """The configuration with no relative folder in it, as workers start in a folder of their own."""
    base = str(Path(config.base).resolve()) if Path(config.base).is_dir() else config.base
    return config.model_copy(update={"storage": Storage(config.storage).uri, "base": base})
