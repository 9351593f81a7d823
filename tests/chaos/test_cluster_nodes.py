"""The jobs on several nodes: stages run where their labels say, and a node that dies in the middle changes nothing."""

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.platform.expressions import expressions, gather, metrics
from viral.config import RunConfig, TrackingConfig
from viral.storage import Storage
from viral.tracking_server import tracking_server

ROOT = Path(__file__).parents[2]
SMALL = [
    "data.tasks=[negative, low_light]", "data.train_crops=64", "data.test_crops=16", "data.rows_per_shard=4",
    "train.steps=40", "train.save_every=10", "train.log_every=2", "evaluate.steps=2", "tracking.port=5631",
]  # fmt: skip
PLACES = ["nodes.data={stage: data}", "nodes.train={stage: train}"]
COMPARED = ("pairs/manifest.json", "latents/manifest.json", "evaluation/scores.parquet")
PLACED = """
import json, ray
from ray._private.state import actors
ray.init(logging_level="ERROR", log_to_driver=False)
labels = {node["NodeID"]: node["Labels"].get("stage") for node in ray.nodes()}
placed = [(actor["ActorClassName"], labels.get(actor["Address"]["NodeID"])) for actor in actors().values()]
print(json.dumps([pair for pair in placed if pair[1] is not None]))
"""


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator:
    """A head that runs no stage; tests add nodes."""
    from ray.cluster_utils import Cluster

    from viral.cluster import _authenticate

    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    _authenticate()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield cluster
    cluster.shutdown()


def start(job: str, storage: Path | str, address: str | None, *words: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, **({} if address is None else {"RAY_ADDRESS": address})}
    command = [sys.executable, str(ROOT / "jobs" / job), str(ROOT / "jobs/configs/tiny.yaml"), f"storage={storage}"]
    return subprocess.Popen([*command, *SMALL, *words], env=environment, cwd=ROOT)


def run(job: str, storage: Path | str, address: str | None, *words: str) -> None:
    assert start(job, storage, address, *words).wait(900) == 0


def wait(process: subprocess.Popen[bytes], happened: Callable[[], bool]) -> None:
    """Until something has happened, while the process runs."""
    while not happened():
        assert process.poll() is None, "the job ended before the node could be killed"
        time.sleep(0.05)


def shards(storage: Path) -> int:
    manifest = storage / "pairs" / "manifest.json"
    return len(json.loads(manifest.read_text())["shards"]) if manifest.exists() else 0


def metric_addresses(cluster) -> list[str]:
    nodes = [node for node in cluster.global_state.node_table() if node["Alive"]]
    return [f"{node['NodeManagerAddress']}:{node['MetricsExportPort']}" for node in nodes]


def saved(storage: Path) -> bool:
    return any(storage.glob("train/**/step-*.json"))


@pytest.mark.timeout(3600)
def test_nodes_that_die_change_nothing_and_stages_stay_where_they_belong(cluster, tmp_path: Path) -> None:
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    for job in ("generate_dataset.py", "train_adapter.py", "evaluate_adapter.py"):
        run(job, undisturbed, None)

    first, second = (cluster.add_node(num_cpus=2, labels={"stage": "data"}) for _ in range(2))
    making = start("generate_dataset.py", disturbed, cluster.address, *PLACES)
    wait(making, lambda: shards(disturbed) >= 2)
    cluster.remove_node(first, allow_graceful=False)
    assert making.wait(900) == 0

    third, _ = (cluster.add_node(num_cpus=1, labels={"stage": "train"}) for _ in range(2))  # one worker each
    training = start("train_adapter.py", disturbed, cluster.address, *PLACES)
    wait(training, lambda: saved(disturbed))
    asked = [one for one in expressions() if any(name.startswith("ray_train_") for name in metrics(one))]
    assert gather(asked, metric_addresses(cluster)) == []
    cluster.remove_node(third, allow_graceful=False)
    cluster.add_node(num_cpus=1, labels={"stage": "train"})
    assert training.wait(900) == 0

    run("evaluate_adapter.py", disturbed, cluster.address, *PLACES)
    placed = subprocess.run(
        [sys.executable, "-c", PLACED],
        env={**os.environ, "RAY_ADDRESS": cluster.address},
        capture_output=True,
        check=True,
    )
    where = json.loads(placed.stdout.splitlines()[-1])
    assert {stage for name, stage in where if "_Actor" in name} == {"data"}
    assert {stage for name, stage in where if "RayTrainWorker" in name} == {"train"}
    weights = sorted(path.relative_to(undisturbed) for path in (undisturbed / "adapter").glob("*.safetensors"))
    assert weights
    for name in (*COMPARED, *weights):
        assert (disturbed / name).read_bytes() == (undisturbed / name).read_bytes(), name


@pytest.mark.timeout(1800)
def test_nodes_that_share_no_folder_train_on_shards_of_their_own_copies(cluster, bucket: str, tmp_path: Path) -> None:
    alone, caches = tmp_path / "alone", [tmp_path / name for name in ("first", "second")]
    for cache in caches:
        cache.mkdir()
        cluster.add_node(num_cpus=1, labels={"stage": "train"}, env_vars={"TMPDIR": str(cache)})  # one worker each
    cluster.add_node(num_cpus=2, labels={"stage": "data"})
    with tracking_server(RunConfig(storage=str(tmp_path), tracking=TrackingConfig(port=5632))) as uri:
        for job in ("generate_dataset.py", "train_adapter.py"):
            run(job, bucket, cluster.address, *PLACES, f"tracking.uri={uri}")
    for job in ("generate_dataset.py", "train_adapter.py"):
        run(job, alone, None)
    for cache in caches:
        (kept,) = cache.glob("viral-cache-*")
        assert any(kept.iterdir()), "a worker read shards without a copy of them"
    trained = Storage(bucket).join("adapter")
    weights = [name for name in trained.list() if name.endswith(".safetensors")]
    assert weights
    for name in weights:
        assert trained.read(name) == (alone / "adapter" / name).read_bytes(), name


@pytest.mark.timeout(900)
def test_stage_that_asks_for_a_gpu_runs_on_the_node_that_offers_one(cluster, tmp_path: Path) -> None:
    cluster.add_node(num_cpus=2, num_gpus=1, labels={"stage": "gpu"})
    code = (
        "import sys, ray; sys.path[:0] = [sys.argv[2]]\n"
        "from tests.chaos.test_cluster_nodes import where_gpu_stage_ran; print(where_gpu_stage_ran(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), str(ROOT)],
        env={**os.environ, "RAY_ADDRESS": cluster.address}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1:] == ["gpu"], done.stderr


def where_gpu_stage_ran(folder: str) -> str:
    """Run a stage whose actors want a GPU on the connected cluster, and tell the label of its node."""
    import ray
    import ray.data

    from viral.data.shards import MadeShard, Pool, ShardWork, make_shards
    from viral.storage import Manifest, Storage

    def maker():
        label = ray.get_runtime_context().get_node_labels().get("stage", "none")
        return lambda work: MadeShard(label.encode(), 1, {})

    ray.init(logging_level="ERROR", log_to_driver=False)
    plan = [ShardWork("shard-0", 1, None)]
    make_shards("placing", Storage(folder), Manifest(fingerprint="x"), plan, maker, Pool(1, gpus=1))
    return Storage(folder).read("shard-0").decode()
