import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from viral.config import RunConfig, fingerprint, load, resolve

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
        (["train.targets=2"], "set train.context=stationary"),
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


def test_shipped_configurations_resolve() -> None:
    bases = {path.stem: resolve(str(path), []).base for path in (ROOT / "jobs/configs").glob("*.yaml")}
    assert bases["qwen_edit_2511"] == "Qwen/Qwen-Image-Edit-2511"
    assert bases["flux_fill"] == "black-forest-labs/FLUX.1-Fill-dev"


def test_dry_run_prints_the_configuration_then_the_estimate(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        load(
            "a job",
            ["seed=1", "--dry-run", "model.card=H200-141G"],
            estimate=lambda config: print(config.model.card, "estimate"),
        )
    assert end.value.code == 0
    said = capsys.readouterr().out
    assert yaml.safe_load(said.rpartition("H200-141G estimate")[0])["model"]["card"] == "H200-141G"


def test_unknown_cards_and_types_are_refused_with_those_there_are() -> None:
    for word, known in (("model.card=A1000", "A800-80G"), ("model.quantise=int3", "float8")):
        with pytest.raises(ValueError, match=known):
            resolve(None, [word])
