import subprocess
import sys
from pathlib import Path

import pytest

from viral.config import RunConfig, fingerprint, resolve

ROOT = Path(__file__).parents[1]


def test_overrides_reach_nested_keys() -> None:
    config = resolve(str(ROOT / "jobs/configs/tiny.yaml"), ["train.steps=7", "data.tasks=[edge]", "storage=elsewhere"])
    assert (config.train.steps, config.data.tasks, config.storage) == (7, ("edge",), "elsewhere")


def test_bad_keys_and_values_are_named() -> None:
    for words, message in [
        (["train.stepz=7"], "unknown key train.stepz"),
        (["train.steps=many"], "train.steps"),
        (["steps"], "not of the form key=value"),
        (["train.batch_size=7"], "not a multiple"),
    ]:
        with pytest.raises(ValueError, match=message):
            resolve(None, words)
    with pytest.raises(ValueError, match="is not a file"):
        resolve("nowhere.yaml", [])


def test_fingerprint_depends_on_content_alone() -> None:
    assert fingerprint(RunConfig(), "x") == fingerprint(RunConfig(), "x") != fingerprint(RunConfig(seed=1), "x")


def test_config_loads_neither_torch_nor_ray() -> None:
    code = "import sys, viral.config; assert not {'torch', 'ray', 'mlflow'} & set(sys.modules), 'heavy'"
    subprocess.run([sys.executable, "-c", code], check=True)
