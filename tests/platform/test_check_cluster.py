"""What check_cluster.py says of a cluster that is not fit."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "platform" / "check_cluster.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The script as a module; its folder is no package."""
    spec = importlib.util.spec_from_file_location("check_cluster", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = sys.modules["check_cluster"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_refused_name_missing_card_and_fast_clock_are_not_fit(script: ModuleType) -> None:
    assert script.judge_answer(403) == ("HTTP 403; add this name to MLFLOW_SERVER_ALLOWED_HOSTS of the server", False)
    assert script.judge_cards(["NVIDIA A800"], 8) == ("1 seen, 8 given to Ray NVIDIA A800", False)
    assert script.judge_cards(["NVIDIA A800"], 1)[1]
    assert script.judge_clock(0.9, 0.1) == ("+900.0 ms, give or take 100.0", False)
    assert script.judge_clock(0.9, 0.5)[1]  # nothing is known
