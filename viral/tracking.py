"""Runs, curves, images and registered versions in MLflow: the only file that imports mlflow."""

import io
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException, RestException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode
from mlflow.tracking.context.registry import resolve_tags
from PIL import Image

from viral.config import RunConfig
from viral.tracking_server import tracking_server

__all__ = [
    "Tracker",
    "TrackerAway",
    "alias_version",
    "find_version",
    "register_version",
    "resolve",
    "set_alias",
    "tracking_server",
]

ARTIFACT, HASH_TAG = "adapter", "adapter_sha256"
KIND = {"mlflow.experimentKind": "custom_model_development"}
"""Makes MLflow's pages open as those of a model that is trained; else they ask what it is, or show language models'."""
METRICS_PER_CALL, PARAMS_PER_CALL = 900, 90
"""MLflow takes 1000 metrics and 100 parameters in one request."""


class TrackerAway(ConnectionError):
    """The tracking server does not answer; what was to be logged has to be kept and sent again."""


@dataclass(frozen=True)
class Tracker:
    """One run on one server. Every method may raise `TrackerAway` and may then be called again."""

    uri: str
    run_id: str

    @classmethod
    def open(cls, uri: str, config: RunConfig, run_id: str | None, name: str) -> "Tracker":
        """Go on with `run_id` if the server has it, else start a run called `name`."""
        with _client(uri) as client:
            if run_id is None or not _has_run(client, run_id):
                experiment = _experiment(client, config.tracking.experiment)
                run_id = client.create_run(experiment, tags=resolve_tags(), run_name=name).info.run_id
            client.update_run(run_id, status="RUNNING")
        return cls(uri, run_id)

    def log_params(self, params: dict[str, Any]) -> None:
        """Log parameters; the same ones again change nothing."""
        items = [Param(key, str(value)) for key, value in params.items()]
        with _client(self.uri) as client:
            for start in range(0, len(items), PARAMS_PER_CALL):
                client.log_batch(self.run_id, params=items[start : start + PARAMS_PER_CALL])

    def log_lines(self, lines: list[dict[str, Any]]) -> None:
        """Log lines of figures, each with its `step` and `time` in seconds; a line sent twice counts once."""
        metrics = [
            Metric(key, value, int(line["time"] * 1000), line["step"])
            for line in lines
            for key, value in line.items()
            if key not in ("step", "time")
        ]
        with _client(self.uri) as client:
            for start in range(0, len(metrics), METRICS_PER_CALL):
                client.log_batch(self.run_id, metrics=metrics[start : start + METRICS_PER_CALL])

    def log_image(self, png: bytes, key: str, step: int) -> None:
        """Add an image to the run's series `key`."""
        with _client(self.uri) as client, Image.open(io.BytesIO(png)) as image:
            client.log_image(self.run_id, image.convert("RGB"), key=key, step=step)

    def log_dataset(self, name: str, digest: str, source: str, profile: str) -> None:
        """Name the data that the run was trained on."""
        dataset = Dataset(name=name, digest=digest, source_type="local", source=source, profile=profile)
        context = [InputTag("mlflow.data.context", "training")]
        with _client(self.uri) as client:
            client.log_inputs(self.run_id, datasets=[DatasetInput(dataset, context)])

    def log_adapter(self, folder: Path) -> None:
        """Keep an adapter folder with the run."""
        with _client(self.uri) as client:
            client.log_artifacts(self.run_id, str(folder), ARTIFACT)

    def finish(self, status: str = "FINISHED") -> None:
        """Close the run as FINISHED or FAILED."""
        with _client(self.uri) as client:
            client.set_terminated(self.run_id, status)


def find_version(uri: str, model: str, sha256: str) -> str | None:
    """The registered version of an adapter with this hash, if there is one."""
    with _client(uri) as client:
        found = client.search_model_versions(f"name = '{model}'")
    return next((str(version.version) for version in found if version.tags.get(HASH_TAG) == sha256), None)


def register_version(uri: str, model: str, run_id: str, sha256: str) -> str:
    """Register the adapter that a run keeps as a version of `model`; the same adapter again is the same version."""
    known = find_version(uri, model, sha256)
    if known is not None:
        return known
    with _client(uri) as client:
        try:
            client.create_registered_model(model)
        except RestException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
                raise
        source = f"{client.get_run(run_id).info.artifact_uri}/{ARTIFACT}"
        return str(client.create_model_version(model, source, run_id, tags={HASH_TAG: sha256}).version)


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


def _has_run(client: MlflowClient, run_id: str) -> bool:
    try:
        client.get_run(run_id)
    except RestException:
        return False
    return True


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
