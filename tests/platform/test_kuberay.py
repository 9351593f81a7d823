"""The Kubernetes objects have KubeRay's fields, and mean to Ray's autoscaler what they are to mean."""

from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

KUBERAY = Path(__file__).parents[2] / "platform" / "kuberay"
FIELDS = {
    "RayCluster": "rayVersion enableInTreeAutoscaling authOptions autoscalerOptions headGroupSpec workerGroupSpecs "
    "headServiceAnnotations suspend managedBy gcsFaultToleranceOptions upgradeStrategy",
    "RayJob": "activeDeadlineSeconds backoffLimit rayClusterSpec submitterPodTemplate metadata clusterSelector "
    "submitterConfig managedBy deletionStrategy entrypoint runtimeEnvYAML jobId submissionMode entrypointResources "
    "entrypointNumCpus entrypointNumGpus ttlSecondsAfterFinished shutdownAfterJobFinishes suspend",
    "autoscaler": "resources image imagePullPolicy env envFrom volumeMounts securityContext idleTimeoutSeconds "
    "upscalingMode version",
    "head": "serviceType headService enableIngress resources labels rayStartParams template",
    "worker": "suspend groupName replicas minReplicas maxReplicas idleTimeoutSeconds resources labels rayStartParams "
    "template scaleStrategy numOfHosts",
}
"""KubeRay 1.5's, from its API reference."""


def read(name: str) -> list[dict]:
    return list(yaml.safe_load_all((KUBERAY / name).read_text()))


def check(spec: dict) -> None:
    """Raise for a field that a cluster's specification does not have."""
    assert spec.keys() <= set(FIELDS["RayCluster"].split())
    assert spec["autoscalerOptions"].keys() <= set(FIELDS["autoscaler"].split())
    assert spec["headGroupSpec"].keys() <= set(FIELDS["head"].split())
    assert all(group.keys() <= set(FIELDS["worker"].split()) for group in spec["workerGroupSpecs"])


def test_fields_are_kuberays() -> None:
    (cluster,), (job,) = read("raycluster.yaml"), read("rayjob.yaml")
    check(cluster["spec"])
    assert (cluster["apiVersion"], job["apiVersion"]) == ("ray.io/v1", "ray.io/v1")
    assert job["spec"].keys() <= set(FIELDS["RayJob"].split())


def test_job_brings_the_same_cluster() -> None:
    assert read("rayjob.yaml")[0]["spec"]["rayClusterSpec"] == read("raycluster.yaml")[0]["spec"]


def test_autoscaler_understands_the_groups() -> None:
    from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr

    config = _derive_autoscaling_config_from_ray_cr(read("raycluster.yaml")[0])
    types = config["available_node_types"]
    limits = {name: (kind["min_workers"], kind["max_workers"]) for name, kind in types.items()}
    assert limits == {"headgroup": (0, 0), "processors": (0, 8), "a800": (0, 4)}
    assert [types[name]["resources"].get("GPU", 0) for name in ("headgroup", "processors", "a800")] == [0, 0, 8]
    assert config["idle_timeout_minutes"] == 15


def test_monitored_port_is_one_that_every_pod_names() -> None:
    (endpoint,) = read("podmonitor.yaml")[0]["spec"]["podMetricsEndpoints"]
    spec = read("raycluster.yaml")[0]["spec"]
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        ports = group["template"]["spec"]["containers"][0]["ports"]
        assert endpoint["port"] in {port["name"] for port in ports}


def test_cluster_asks_for_a_token_and_runs_the_installed_ray() -> None:
    spec = read("raycluster.yaml")[0]["spec"]
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["rayVersion"] == version("ray")


@pytest.mark.parametrize("name", ["raycluster.yaml", "rayjob.yaml", "mlflow.yaml"])
def test_no_secret_is_written_down(name: str) -> None:
    assert all(thing["kind"] != "Secret" for thing in read(name))


def test_mlflow_answers_under_the_name_that_jobs_use() -> None:
    _, deployment, service = read("mlflow.yaml")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    settings = {item["name"]: item["value"] for item in container["env"]}
    name = f"{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    assert name in settings["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    assert f"tracking.uri=http://{name}" in read("rayjob.yaml")[0]["spec"]["entrypoint"]
