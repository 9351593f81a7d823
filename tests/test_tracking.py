"""MLflow as we use it, against a real server."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from PIL import Image

from viral.config import AdapterConfig, RunConfig, TrackingConfig
from viral.model.adapter_files import AdapterCard, read_card
from viral.storage import Manifest, Storage, write_manifest
from viral.tracking import (
    Tracker,
    TrackerAway,
    alias_version,
    parent_run,
    register_version,
    resolve,
    set_alias,
    tracked,
    tracked_whole,
    tracking_server,
)

SHA = uuid4().hex * 2
CARD = AdapterCard(adapter=AdapterConfig(), base="tiny", base_sha256=SHA, size=64, steps=3)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    return RunConfig(storage=str(tmp_path_factory.mktemp("tracked")), tracking=TrackingConfig(port=free_port()))


@pytest.fixture(scope="module")
def server(config: RunConfig) -> Iterator[str]:
    with tracking_server(config) as uri:
        yield uri


@pytest.fixture(scope="module")
def tracker(server: str, config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Tracker:
    folder = tmp_path_factory.mktemp("adapter")
    (folder / "card.json").write_text(CARD.model_dump_json())
    tracker = Tracker.open(server, config, None, "a run")
    tracker.log_adapter(folder)
    return tracker


def test_a_server_on_the_same_storage_is_used_and_left_running(server: str, config: RunConfig) -> None:
    with tracking_server(config) as again:
        assert again == server
    with tracking_server(config.model_copy(update={"tracking": TrackingConfig(uri=server)})) as named:
        assert named == server


def test_a_port_in_use_names_the_way_out(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = RunConfig(storage=str(tmp_path), tracking=TrackingConfig(port=other.getsockname()[1]))
        with pytest.raises(ValueError, match=r"tracking\.port="), tracking_server(taken):
            pass


def test_a_named_server_that_is_away_is_told_at_once(tmp_path: Path) -> None:
    away = RunConfig(storage=str(tmp_path), tracking=TrackingConfig(uri=f"http://127.0.0.1:{free_port()}"))
    with pytest.raises(ValueError, match=r"tracking\.uri"), tracking_server(away):
        pass


def test_lines_sent_twice_count_once(tracker: Tracker) -> None:
    from mlflow import MlflowClient

    lines = [{"step": step, "time": 1e9 + step, "loss": 1 / step, "loss_task/edge": 0.5} for step in (1, 2, 3)]
    tracker.log_lines(lines[:2])
    tracker.log_lines(lines)
    history = MlflowClient(tracker.uri).get_metric_history(tracker.run_id, "loss")
    assert [(m.step, m.value) for m in history] == [(line["step"], line["loss"]) for line in lines]


def test_parameters_images_and_data_land_in_the_run(tracker: Tracker, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    picture = tmp_path / "grid.png"
    Image.new("RGB", (8, 8), "red").save(picture)
    tracker.log_params({"train.steps": 3, "methods.Ours (K = 2)": "x"})
    tracker.log_params({"methods.Ours (K = 2)": "x"})
    tracker.log_lines([{"step": 0, "time": 1e9, "Ours, K = 2/edge": 0.5}])
    tracker.log_image(picture.read_bytes(), "validation", 150)
    tracker.log_dataset("latents", Storage("somewhere"), Manifest(fingerprint="abc"))
    run = MlflowClient(tracker.uri).get_run(tracker.run_id)
    assert run.data.params == {"train.steps": "3", "methods.Ours _K _ 2_": "x"}
    assert run.data.metrics["Ours_ K _ 2/edge"] == 0.5  # MLflow refuses the other characters
    assert run.inputs.dataset_inputs[0].dataset.digest == "abc"
    images = [item.path for item in MlflowClient(tracker.uri).list_artifacts(tracker.run_id, "images")]
    assert any("validation+step+150" in path for path in images)


def test_parameter_of_a_resumed_run_keeps_its_first_value_and_tells_the_latest(tracker: Tracker) -> None:
    from mlflow import MlflowClient

    for workers, told in ((2, None), (1, "1"), (2, "2")):
        tracker.log_params({"train.workers": workers, "train.rank": 4})
        data = MlflowClient(tracker.uri).get_run(tracker.run_id).data
        assert (data.params["train.workers"], data.params["train.rank"]) == ("2", "4")
        assert (data.tags.get("train.workers"), data.tags.get("train.rank")) == (told, None)


def test_the_same_adapter_is_registered_once_and_resolved_by_alias(tracker: Tracker) -> None:
    version = register_version(tracker.uri, "model", tracker.run_id, SHA)
    assert register_version(tracker.uri, "model", tracker.run_id, SHA) == version
    assert alias_version(tracker.uri, "model", "champion") is None
    set_alias(tracker.uri, "model", "champion", version)
    folder, found = resolve("models:/model@champion", tracker.uri)
    assert found == version and read_card(folder) == CARD
    assert register_version(tracker.uri, "model", tracker.run_id, SHA[::-1]) != version


@pytest.mark.parametrize("address", ["models:/model@nobody", "models:/other/1", "model", "models:/model"])
def test_an_unknown_address_is_refused(server: str, address: str) -> None:
    with pytest.raises(ValueError, match="models:/"):
        resolve(address, server)


def test_a_run_goes_on_under_its_own_id(tracker: Tracker, config: RunConfig) -> None:
    assert Tracker.open(tracker.uri, config, tracker.run_id, "again").run_id == tracker.run_id
    assert Tracker.open(tracker.uri, config, "0" * 32, "new").run_id != tracker.run_id


def test_jobs_are_children_of_one_run_and_go_on_in_their_own(server: str, config: RunConfig) -> None:
    from mlflow import MlflowClient

    with tracked(server, config, "generate") as first:
        first.log_file("counts.json", b"{}", "data")
    with pytest.raises(RuntimeError), tracked(server, config, "evaluate") as second:
        raise RuntimeError("of its own")
    with tracked(server, config, "generate") as again:
        assert again.run_id == first.run_id and again.read_file("counts.json", "data") == b"{}"
        assert again.read_file("nothing.json", "data") is None
    client = MlflowClient(server)
    runs = {run_id: client.get_run(run_id) for run_id in (first.run_id, second.run_id, parent_run(server, config))}
    assert [run.info.status for run in runs.values()] == ["FINISHED", "FAILED", "FINISHED"]
    assert {run.data.tags.get("mlflow.parentRunId") for run in runs.values()} == {parent_run(server, config), None}


def test_a_finished_job_keeps_its_times_and_the_whole_runs_as_long_as_its_jobs(server: str, config: RunConfig) -> None:
    from mlflow import MlflowClient

    client, parent = MlflowClient(server), parent_run(server, config)
    with tracked(server, config, "generate") as job:
        pass
    ended = client.get_run(job.run_id).info.end_time
    with tracked_whole(server, config):
        with tracked(server, config, "generate"):
            assert client.get_run(parent).info.status == "RUNNING"
        assert parent_run(server, config) == parent and client.get_run(parent).info.status == "RUNNING"
    assert client.get_run(parent).info.status == "FINISHED" and client.get_run(job.run_id).info.end_time == ended


def test_a_table_is_a_run_with_counts_and_reasons(server: str, config: RunConfig, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    place = Storage(str(tmp_path)).join("pairs")
    counts = {"counts_in": {"rows": 7}, "counts_out": {"good": 5}, "rejected": {"no image: of a known kind!": 2}}
    write_manifest(place, manifest := Manifest(fingerprint="abc", complete=True, **counts))
    with tracked(server, config, "made") as job:
        job.log_table("pairs", place, manifest)
    run = MlflowClient(server).get_run(job.run_id)
    assert run.data.metrics == {"pairs_in/rows": 7, "pairs_out/good": 5, "pairs_rejected": 2}
    assert b"of a known kind!" in (job.read_file("manifest.json", "pairs") or b"")


def test_a_model_says_what_it_takes(tracker: Tracker, tmp_path: Path) -> None:
    from mlflow import MlflowClient
    from mlflow.models import Model

    path = MlflowClient(tracker.uri).download_artifacts(tracker.run_id, "adapter/MLmodel", str(tmp_path))
    signature = Model.load(path).signature
    assert signature.inputs.input_names() == ["example_source", "example_target", "query"]
    assert [param.name for param in signature.params.params] == ["steps", "seed", "example_guidance"]


def test_an_outage_is_told_within_seconds() -> None:
    start = time.monotonic()
    with pytest.raises(TrackerAway):
        Tracker(f"http://127.0.0.1:{free_port()}", "0" * 32).log_lines([{"step": 1, "time": 0.0, "loss": 1.0}])
    assert time.monotonic() - start < 10
