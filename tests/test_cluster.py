"""The connection to Ray, and the description of a rack."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from viral.cluster import check_port, connect
from viral.config import RunConfig

ROOT = Path(__file__).parents[1]

FRESH_CLUSTER = """
import json, os
import ray
from pathlib import Path
from viral.cluster import connect
from viral.config import RunConfig

with connect(RunConfig()):
    @ray.remote(num_cpus=0.1)
    def found():
        import serve.app
        return Path(serve.app.__file__).parts[-2:]
    inside = {
        "mode": os.environ["RAY_AUTH_MODE"], "secret": os.environ.get("RAY_AUTH_TOKEN"), "app": ray.get(found.remote()),
        "cpus": ray.cluster_resources()["CPU"],
    }
print(json.dumps({**inside, "up": ray.is_initialized()}))
"""


def run_elsewhere(code: str, home: Path) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    env["HOME"] = str(home)
    return subprocess.run([sys.executable, "-c", code], cwd=home, env=env, capture_output=True, text=True, timeout=300)


def test_local_cluster_takes_a_fresh_secret_and_leaves_the_home_directory_alone(tmp_path):
    token = tmp_path / ".ray" / "auth_token"
    token.parent.mkdir()
    token.write_text("a" * 64)
    done = run_elsewhere(FRESH_CLUSTER, tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["mode"], len(found["secret"]), found["up"]) == ("token", 64, False)
    assert found["secret"] != token.read_text() == "a" * 64
    assert found["app"] == ["serve", "app.py"]  # from another folder than the checkout
    assert found["cpus"] >= 2


def test_authentication_that_the_user_chose_is_kept(tmp_path):
    code = (
        "import os; os.environ.update(RAY_AUTH_MODE='{mode}', RAY_AUTH_TOKEN_PATH='mine')\n"
        "from viral.cluster import _authenticate; _authenticate()\n"
        "print(os.environ['RAY_AUTH_MODE'], os.environ.get('RAY_AUTH_TOKEN'))"
    )
    for mode in ("disabled", "token"):
        assert run_elsewhere(code.format(mode=mode), tmp_path).stdout.split() == [mode, "None"]


def test_running_cluster_refuses_who_has_no_secret(ray_cluster):
    import ray

    address = ray.get_runtime_context().gcs_address
    env = {**os.environ, "RAY_ADDRESS": address, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}
    code = f"import ray; from ray._raylet import GcsClient; GcsClient(address={address!r}).internal_kv_get(b'x', None)"
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert "InvalidAuthToken" in done.stderr


def test_connection_that_exists_is_used_and_left_open(ray_cluster):
    import ray

    before = ray.get_runtime_context().gcs_address
    with connect(RunConfig()):
        assert ray.get_runtime_context().gcs_address == before
    assert ray.is_initialized()


def test_port_in_use_is_refused_with_a_way_out():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=rf"port {port} is in use.*serve\.port=\d+"):
            check_port(port, "serve.port")
    check_port(port, "serve.port")


def test_rack_description_passes_rays_own_validation():
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = prepare_config(yaml.safe_load((ROOT / "cluster.yaml").read_text()))
    validate_config(config)
    assert config["provider"]["type"] == "local"
    (kind,) = config["available_node_types"].values()
    assert (kind["min_workers"], kind["max_workers"]) == (0, len(config["provider"]["worker_ips"]))
    assert "--num-gpus=0" in config["head_start_ray_commands"][-1]
    starts = config["head_start_ray_commands"][-1], config["worker_start_ray_commands"][-1]
    assert all("RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=" in command for command in starts)


def test_serve_configuration_passes_rays_own_validation_and_names_the_application():
    from ray.serve.schema import ServeDeploySchema

    config = ServeDeploySchema.model_validate(yaml.safe_load((ROOT / "serve" / "config.yaml").read_text()))
    assert config.http_options.host == "127.0.0.1"
    assert [app.import_path for app in config.applications] == ["serve.app:build_app"]
