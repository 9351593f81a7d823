"""Runs, curves, images and registered versions in MLflow: the only file that imports mlflow."""

import io
import json
import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException, RestException
from mlflow.models import Model, ModelSignature
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode
from mlflow.tracking.context.registry import resolve_tags
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NOTE
from PIL import Image

from viral import mlflow_model
from viral.config import RunConfig
from viral.model.adapter_files import AdapterCard, read_card
from viral.storage import MANIFEST, Manifest, Storage
from viral.tracking_server import tracking_server

__all__ = [
    "Registered",
    "Tracker",
    "TrackerAway",
    "adapter_card",
    "alias_version",
    "find_version",
    "parent_run",
    "register_version",
    "registered_adapters",
    "registered_version",
    "resolve",
    "run_of_version",
    "set_alias",
    "tracked",
    "tracked_whole",
    "tracking_server",
]

ARTIFACT, DENSE, HASH_TAG = "adapter", "dense", "adapter_sha256"
RUNS = "tracking.json"
"""Under `storage`: the tracked runs of its jobs."""
KIND = {"mlflow.experimentKind": "custom_model_development"}
"""Makes MLflow's pages open as those of a model that is trained; else they ask what it is, or show language models'."""
RUNNING, FINISHED = "RUNNING", "FINISHED"
METRICS_PER_CALL, PARAMS_PER_CALL, REFUSED = 900, 90, r"[^\w /.:-]"
"""MLflow takes 1000 metrics and 100 parameters in one request, and not these characters in their names."""


class TrackerAway(ConnectionError):
    """The tracking server does not answer; what was to be logged has to be kept and sent again."""


@dataclass(frozen=True)
class Tracker:
    """One run on one server. Every method may raise `TrackerAway` and may then be called again."""

    uri: str
    run_id: str

    @classmethod
    def open(cls, uri: str, config: RunConfig, run_id: str | None, name: str, parent: str | None = None) -> "Tracker":
        """Go on with `run_id` if the server has it, else start a run called `name`, as a child of `parent`.

        One that is finished keeps its times.
        """
        with _client(uri) as client:
            status = None if run_id is None else _status(client, run_id)
            if status is None:
                experiment = _experiment(client, config.tracking.experiment)
                tags = resolve_tags() | ({MLFLOW_PARENT_RUN_ID: parent} if parent else {})
                run_id = client.create_run(experiment, tags=tags, run_name=name).info.run_id
            elif status != FINISHED:
                client.update_run(run_id, status=RUNNING)
        assert run_id is not None
        return cls(uri, run_id)

    def log_params(self, params: dict[str, Any]) -> None:
        """Log parameters; one that has changed since, which MLflow forbids, keeps its first value and is a tag too."""
        params = {re.sub(REFUSED, "_", key): value for key, value in params.items()}
        with _client(self.uri) as client:
            there = client.get_run(self.run_id).data
            new = [Param(key, str(value)) for key, value in params.items() if key not in there.params]
            for start in range(0, len(new), PARAMS_PER_CALL):
                client.log_batch(self.run_id, params=new[start : start + PARAMS_PER_CALL])
            latest = {key: str(value) for key, value in params.items()} | there.params | there.tags
            client.log_batch(self.run_id, tags=[RunTag(k, str(v)) for k, v in params.items() if latest[k] != str(v)])

    def log_lines(self, lines: list[dict[str, Any]]) -> None:
        """Log lines of figures, each with its `step` and `time` in seconds; a line sent twice counts once."""
        metrics = [
            Metric(re.sub(REFUSED, "_", key), line[key], int(line["time"] * 1000), line["step"])
            for line in lines
            for key in line.keys() - {"step", "time"}
        ]
        with _client(self.uri) as client:
            for start in range(0, len(metrics), METRICS_PER_CALL):
                client.log_batch(self.run_id, metrics=metrics[start : start + METRICS_PER_CALL])

    def log_image(self, png: bytes, key: str, step: int) -> None:
        """Add an image to the run's series `key`."""
        with _client(self.uri) as client, Image.open(io.BytesIO(png)) as image:
            client.log_image(self.run_id, image.convert("RGB"), key=key, step=step)

    def log_dataset(self, name: str, place: Storage, manifest: Manifest, use: str = "training") -> None:
        """Name a table that the run was trained on, or has another `use` for."""
        profile = json.dumps({"shards": len(manifest.shards), "rows": sum(shard.rows for shard in manifest.shards)})
        source = json.dumps({"uri": str(place)})
        dataset = Dataset(name, manifest.fingerprint, source_type="local", source=source, profile=profile)
        with _client(self.uri) as client:
            client.log_inputs(self.run_id, datasets=[DatasetInput(dataset, [InputTag("mlflow.data.context", use)])])

    def log_table(self, name: str, place: Storage, manifest: Manifest) -> None:
        """Log a table that the run made: its counts as figures, the reasons of rejections in its manifest."""
        counts = {"in": manifest.counts_in, "out": manifest.counts_out}
        figures = {f"{name}_{side}/{what}": float(n) for side, found in counts.items() for what, n in found.items()}
        figures[f"{name}_rejected"] = float(sum(manifest.rejected.values()))
        self.log_lines([{"step": 0, "time": time.time(), **figures}])
        self.log_dataset(name, place, manifest, "made here")
        self.log_file(MANIFEST, place.read(MANIFEST), name)

    def log_adapter(self, folder: Path) -> None:
        """Keep an adapter folder with the run, as a model that `mlflow.pyfunc.load_model` opens."""
        with _client(self.uri) as client:
            client.log_artifacts(self.run_id, str(folder), ARTIFACT)
            with tempfile.TemporaryDirectory() as place:
                _describe_model(read_card(folder), self.run_id).save(f"{place}/MLmodel")
                client.log_artifacts(self.run_id, place, ARTIFACT)

    def describe(self, text: str) -> None:
        """Say in Markdown what the run is, for its page."""
        with _client(self.uri) as client:
            client.set_tag(self.run_id, MLFLOW_RUN_NOTE, text)

    def log_diffusers(self, weights: Path, base: str) -> None:
        """Keep a plain LoRA for `base` in MLflow's diffusers flavour."""
        with _client(self.uri) as client, tempfile.TemporaryDirectory() as place:
            model = Model(artifact_path=DENSE, run_id=self.run_id)
            mlflow.diffusers.save_model(str(weights), f"{place}/{DENSE}", base, mlflow_model=model, pip_requirements=[])
            client.log_artifacts(self.run_id, f"{place}/{DENSE}", DENSE)

    def log_file(self, name: str, data: bytes, place: str) -> None:
        """Keep a file with the run, under `place`."""
        with _client(self.uri) as client, tempfile.TemporaryDirectory() as folder:
            (Path(folder) / name).write_bytes(data)
            client.log_artifact(self.run_id, f"{folder}/{name}", place)

    def read_file(self, name: str, place: str) -> bytes | None:
        """A file that the run keeps, none where it keeps none of this name."""
        with _client(self.uri) as client, tempfile.TemporaryDirectory() as folder:
            if f"{place}/{name}" not in [item.path for item in client.list_artifacts(self.run_id, place)]:
                return None
            return Path(client.download_artifacts(self.run_id, f"{place}/{name}", folder)).read_bytes()

    def finish(self, status: str = FINISHED) -> None:
        """Close the run as FINISHED or FAILED, unless it is closed."""
        with _client(self.uri) as client:
            if _status(client, self.run_id) == RUNNING:
                client.set_terminated(self.run_id, status)


def _describe_model(card: AdapterCard, run_id: str) -> Model:
    """What MLflow has to know of an adapter folder: who opens it, what it takes and what it gives."""
    model = Model(artifact_path=ARTIFACT, run_id=run_id)
    mlflow.pyfunc.add_to_model(model, loader_module="viral.mlflow_model", model_config=mlflow_model.SETTINGS)
    model.signature = ModelSignature(
        inputs=Schema([ColSpec(kind, name) for name, kind in mlflow_model.inputs_of(card).items()]),
        outputs=Schema([ColSpec("binary")]),
        params=ParamSchema([ParamSpec(name, *typed) for name, typed in mlflow_model.params_of(card).items()]),
    )
    return model


def parent_run(uri: str, config: RunConfig) -> str:
    """The run of `config.storage` as a whole, whose children its jobs are; the same at every call."""
    storage = Storage(config.storage)
    known = json.loads(storage.read(RUNS))["parent"] if storage.exists(RUNS) else None
    with _client(uri) as client:
        if known is not None and _status(client, known) is not None:
            return known
    tracker = Tracker.open(uri, config, None, str(storage).rpartition("/")[2])
    storage.write(RUNS, json.dumps({"parent": tracker.run_id, "children": {}}, indent=1).encode())
    tracker.finish()
    return tracker.run_id


@contextmanager
def tracked_whole(uri: str, config: RunConfig) -> Iterator[None]:
    """Show `parent_run` as running for the length of the block, in which its jobs follow one another."""
    parent = Tracker(uri, parent_run(uri, config))
    with _client(uri) as client:
        client.update_run(parent.run_id, status=RUNNING)
    with _closing(parent):
        yield


@contextmanager
def tracked(uri: str, config: RunConfig, job: str) -> Iterator[Tracker]:
    """The run of one job on `config.storage`, a child of `parent_run`; done again, the job goes on in the same run."""
    parent, storage = parent_run(uri, config), Storage(config.storage)
    notes = json.loads(storage.read(RUNS))
    tracker = Tracker.open(uri, config, notes["children"].get(job), job, parent)
    storage.write(RUNS, json.dumps(notes | {"children": notes["children"] | {job: tracker.run_id}}, indent=1).encode())
    with _closing(tracker):
        yield tracker


@contextmanager
def _closing(tracker: Tracker) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with suppress(TrackerAway):  # what went wrong is what counts
            tracker.finish("FAILED")
        raise
    tracker.finish()


def find_version(uri: str, model: str, sha256: str) -> str | None:
    """The registered version of an adapter with this hash, if there is one."""
    with _client(uri) as client:
        found = client.search_model_versions(f"name = '{model}'")
    return next((str(version.version) for version in found if version.tags.get(HASH_TAG) == sha256), None)


def register_version(uri: str, model: str, run_id: str, sha256: str, description: str = "") -> str:
    """Register the adapter that a run keeps as a version of `model`; the same adapter again is the same version.

    `description` is Markdown for its page.
    """
    if (known := find_version(uri, model, sha256)) is not None:
        return known
    with _client(uri) as client:
        try:
            client.create_registered_model(model)
        except RestException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
                raise
        source, tags = f"{client.get_run(run_id).info.artifact_uri}/{ARTIFACT}", {HASH_TAG: sha256}
        return str(client.create_model_version(model, source, run_id, tags=tags, description=description).version)


def run_of_version(uri: str, model: str, version: str) -> str:
    """The run that a registered version came from."""
    with _client(uri) as client:
        return str(client.get_model_version(model, version).run_id)


def set_alias(uri: str, model: str, alias: str, version: str) -> None:
    """Make `models:/model@alias` mean a version."""
    with _client(uri) as client:
        client.set_registered_model_alias(model, alias, version)


def alias_version(uri: str, model: str, alias: str) -> str | None:
    """The version an alias means, none where it means none."""
    with _client(uri) as client:
        try:
            return str(client.get_model_version_by_alias(model, alias).version)
        except RestException:
            return None


@dataclass(frozen=True)
class Registered:
    """A registered version of an adapter, and where its files lie."""

    name: str
    version: str
    sha256: str
    source: str
    alias: str | None = None


def registered_adapters(uri: str) -> list[Registered]:
    """Every adapter that an alias of the registry names, by name and alias."""
    found = []
    with _client(uri) as client:
        try:
            for model in client.search_registered_models(max_results=1000):
                for alias, version in sorted(model.aliases.items()):
                    found += _registered(client.get_model_version(model.name, version), alias)
        except RestException as error:
            raise TrackerAway(f"MLflow at {uri} does not show its registry: {error.message}") from error
    return found


def registered_version(uri: str, name: str, version: str) -> Registered | None:
    """One version of an adapter, if the registry has it."""
    with _client(uri) as client:
        try:
            return next(iter(_registered(client.get_model_version(name, version))), None)
        except RestException:
            return None


def _registered(version: ModelVersion, alias: str | None = None) -> list[Registered]:
    if HASH_TAG not in version.tags:
        return []  # not one of ours
    assert version.source is not None
    return [Registered(version.name, str(version.version), version.tags[HASH_TAG], version.source, alias)]


def adapter_card(uri: str, adapter: Registered) -> dict[str, Any]:
    """The card of a registered adapter as plain values; costs one small download."""
    with _client(uri), tempfile.TemporaryDirectory() as folder:
        got = download_artifacts(artifact_uri=f"{adapter.source}/card.json", dst_path=folder, tracking_uri=uri)
        return json.loads(Path(got).read_text())


def resolve(address: str, uri: str | None = None) -> tuple[Path, str]:
    """Local folder and version of `models:/name@alias` or `models:/name/version`.

    The folder is this machine's copy, kept by the adapter's hash. `ValueError` for an address without such a version.
    """
    _settle()
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI")
    if uri is None:
        raise ValueError(
            f"{address} is in a registry whose address is not known; give tracking.uri or MLFLOW_TRACKING_URI"
        )
    name, mark, which = address.removeprefix("models:/").partition("@" if "@" in address else "/")
    if not (address.startswith("models:/") and name and mark and which):
        raise ValueError(f"{address!r} is no registered version; write models:/name@alias or models:/name/version")
    with _client(uri) as client:
        try:
            version = (
                client.get_model_version_by_alias(name, which) if mark == "@" else client.get_model_version(name, which)
            )
        except RestException as error:
            raise ValueError(
                f"{address} is not in the registry at {uri} ({error.message}); run jobs/register_adapter.py"
            ) from None
    return _local_copy(uri, version), str(version.version)


def _local_copy(uri: str, version: ModelVersion) -> Path:
    kept = Path(tempfile.gettempdir()) / f"viral-cache-{os.getuid()}" / "adapters" / version.tags[HASH_TAG]
    if not kept.is_dir():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
            got = Path(download_artifacts(artifact_uri=version.source, dst_path=folder, tracking_uri=uri))
            if not kept.is_dir():
                shutil.move(got, kept)
    return kept


def _experiment(client: MlflowClient, name: str) -> str:
    known = client.get_experiment_by_name(name)
    return known.experiment_id if known is not None else client.create_experiment(name, tags=KIND)


def _status(client: MlflowClient, run_id: str) -> str | None:
    """What state a run is in; none where the server does not have it."""
    try:
        return str(client.get_run(run_id).info.status)
    except RestException:
        return None


@contextmanager
def _client(uri: str) -> Iterator[MlflowClient]:
    """A client whose silence is short: an outage becomes `TrackerAway` within seconds, not MLflow's minutes."""
    _settle()
    try:
        yield MlflowClient(uri, registry_uri=uri)
    except RestException:
        raise
    except (MlflowException, ConnectionError) as error:
        raise TrackerAway(f"MLflow at {uri} does not answer: {str(error).splitlines()[0][:200]}") from error


def _settle() -> None:
    """MLflow's settings for this process, where the user has not made them."""
    settings = {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "GIT_PYTHON_REFRESH": "quiet",
    }
    for name, value in settings.items():
        os.environ.setdefault(name, value)
    logging.getLogger("mlflow").setLevel(logging.ERROR)
