"""What check_cluster.py says of a cluster in which one thing is not fit."""

import importlib.util
import sys
from pathlib import Path

from ray import cloudpickle  # Ray's own copy; what the package of that name is told does not reach it

from viral.config import RunConfig, TrackingConfig

SCRIPT = Path(__file__).parents[2] / "platform" / "check_cluster.py"


def test_mlflow_that_does_not_answer_is_the_only_thing_not_fit(ray_cluster: None, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("check_cluster", SCRIPT)
    assert spec is not None and spec.loader is not None
    script = sys.modules["check_cluster"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    cloudpickle.register_pickle_by_value(script)
    config = RunConfig(storage=str(tmp_path), tracking=TrackingConfig(uri="http://127.0.0.1:9"))
    findings = {finding.what: finding for finding in script._look(config)}
    assert {what for what, finding in findings.items() if not finding.fit} == {"MLflow"}
    assert "refused" in findings["MLflow"].found
    assert findings.keys() == {"cards", "clock", "MLflow", "storage"}  # a network takes two nodes
