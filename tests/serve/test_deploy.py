"""The configurations that ship are ones that Serve and the application take."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from serve.app import build_app
from serve.arguments import AppArgs
from viral.config import RunConfig
from viral.shipped import SHIPPED_ADAPTER, SHIPPED_BASES, SHIPPED_FILL_ADAPTER

ROOT = Path(__file__).parents[2]


def serve_config() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "serve/config.yaml").read_text())


def ray_service() -> dict[str, Any]:
    documents = yaml.safe_load_all((ROOT / "platform/kuberay/rayservice.yaml").read_text())
    (service,) = [document for document in documents if document["kind"] == "RayService"]
    return service


@pytest.mark.parametrize("read", [serve_config, lambda: yaml.safe_load(ray_service()["spec"]["serveConfigV2"])])
def test_configuration_is_one_that_serve_and_the_application_take(read):
    schema = ServeDeploySchema.model_validate(read())
    (application,) = schema.applications
    args = AppArgs.model_validate(application.args)
    assert application.import_path == "serve.app:build_app"
    assert schema.http_options.request_timeout_s > args.timeout_s
    names = {"Editor", "Ingress", "Journal", *(["Judge"] if args.judge else [])}
    assert {deployment.name for deployment in application.deployments} <= names


def test_replica_of_another_checkout_finds_its_own_shipped_base(monkeypatch, tmp_path):
    sent = AppArgs.of(RunConfig(), "adapter", None)
    monkeypatch.setitem(SHIPPED_BASES, "tiny", tmp_path)
    assert sent.bases() == {"tiny": str(tmp_path)}


def test_run_without_an_adapter_serves_the_shipped_one(tmp_path):
    args = AppArgs(storage=str(tmp_path))
    assert args.default_adapter("tiny") == str(SHIPPED_ADAPTER)
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "card.json").write_text("{}")
    assert args.default_adapter("tiny") == str(tmp_path / "adapter")
    other = AppArgs(storage=str(tmp_path / "empty"), base=str(tmp_path))
    assert other.default_adapter(tmp_path.name) == str(tmp_path / "empty" / "adapter")


def test_shipped_fill_base_has_the_shipped_adapter_unless_another_is_named(fill_base):
    shipped = AppArgs(fill="tiny-fill")
    assert shipped.default_adapter("tiny-fill") == str(SHIPPED_FILL_ADAPTER)
    assert AppArgs(fill="tiny-fill", fill_adapter="models:/a@b").default_adapter("tiny-fill") == "models:/a@b"
    assert AppArgs(fill=str(fill_base)).default_adapter(fill_base.name) is None


def test_fill_base_of_a_run_is_served_alone_with_its_adapter(fill_base):
    args = AppArgs.of(RunConfig(base=str(fill_base), storage="run"), "models:/icedit@champion", "http://mlflow")
    assert args.bases() == {fill_base.name: str(fill_base)}
    assert args.default_adapter(fill_base.name) == "models:/icedit@champion"


def test_server_beyond_loopback_is_configured_with_keys():
    config = yaml.safe_load(ray_service()["spec"]["serveConfigV2"])
    assert config["http_options"]["host"] != "127.0.0.1"
    assert config["applications"][0]["args"]["keys"]


def test_kubernetes_waits_longer_than_a_request_may_take():
    spec = ray_service()["spec"]
    args = yaml.safe_load(spec["serveConfigV2"])["applications"][0]["args"]
    for group in spec["rayClusterConfig"]["workerGroupSpecs"]:
        assert group["template"]["spec"]["terminationGracePeriodSeconds"] > args["timeout_s"]


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({}, {"Editor", "Ingress", "Journal"}),
        ({"base": None, "fill": "fill"}, {"Editor", "Ingress", "Journal"}),
        ({"fill": "fill", "judge": "vlm"}, {"Editor", "FillEditor", "Ingress", "Journal", "Judge"}),
    ],
)
def test_application_has_a_deployment_for_each_part(arguments, names):
    from ray.serve._private.build_app import build_app as flatten

    built = flatten(build_app(AppArgs(**arguments)), name="viral")
    assert {deployment.name for deployment in built.deployments} == names


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"base": None}, "name a base"),
        ({"storage": "s3://bucket/run"}, "journal="),
        ({"model": {"offload": "model"}}, "quantise"),
        ({"min_editors": 2}, "below min_editors"),
        ({"adapter": "models:/name/3"}, "name@alias"),
    ],
)
def test_arguments_that_contradict_each_other_are_refused(arguments, reason):
    with pytest.raises(ValueError, match=reason):
        AppArgs(**arguments)
