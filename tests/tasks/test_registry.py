"""Tasks of your own: a few lines of configuration and a function, without touching the library."""

from pathlib import Path

import numpy as np
import pytest

from tests.tasks.pictures import labelled, photo
from viral.config import RunConfig, resolve
from viral.data.pairs import PairMaker
from viral.tasks import TASKS, all_tasks, describe_task, find_tasks, load_function, own_key

SEPIA = """
import numpy as np

def sepia(picture, rng):
    grey = picture.image.mean(axis=2, keepdims=True)
    return np.clip(grey * [1.1, 0.9, 0.7], 0, 255).astype(np.uint8)

def cut(picture, rng):
    return picture.image[:8]
"""


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    (tmp_path / "my_tasks.py").write_text(SEPIA)
    yaml = tmp_path / "run.yaml"
    yaml.write_text(
        f"data:\n  tasks: [edge, sepia]\ntasks:\n  sepia: {{render: '{tmp_path}/my_tasks.py:sepia', metric: ab_error, "
        "higher_is_better: false, weight: 3}\n"
    )
    return resolve(str(yaml), [])


def test_a_task_of_your_own_is_a_few_lines_and_a_function(config: RunConfig) -> None:
    edge, sepia = find_tasks(config.data.tasks, config.tasks)
    assert edge is TASKS["edge"] and (sepia.title, sepia.metric, sepia.weight) == ("Sepia", "ab_error", 3)
    pair = sepia.pair(labelled(), np.random.default_rng(0))
    assert np.array_equal(pair.source, photo()) and (pair.target[..., 0] >= pair.target[..., 2]).all()
    assert describe_task("sepia", config.tasks).metric == "ab_error" and describe_task("sepia").metric == "psnr"
    assert "sepia" in all_tasks(config.tasks) and "sepia" not in TASKS
    PairMaker(config.tasks)


def test_what_its_pairs_depend_on_changes_with_the_function(config: RunConfig, tmp_path: Path) -> None:
    before = own_key(config.tasks)
    (tmp_path / "my_tasks.py").write_text(SEPIA.replace("1.1", "1.2"))
    assert own_key(config.tasks) != before


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("my_tasks", "expected module:function or folder/file.py:function"),
        ("no_such_module_here:f", "there is no module 'no_such_module_here'"),
        ("/nowhere/at_all.py:f", "/nowhere/at_all.py is not a file"),
        ("json:no_such_function", "json has no function 'no_such_function'"),
    ],
)
def test_an_address_that_leads_nowhere_is_named(address: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_function(address, "tasks.mine.render")


def test_a_name_that_is_taken_and_a_label_that_is_none_are_refused(config: RunConfig) -> None:
    sepia = config.tasks["sepia"]
    with pytest.raises(ValueError, match="edge are there already"):
        all_tasks({"edge": sepia})
    with pytest.raises(ValueError, match="there is no label colour; choose from depth"):
        all_tasks({"mine": sepia.model_copy(update={"needs": ("colour",)})})


def test_a_target_of_another_size_is_refused(config: RunConfig) -> None:
    sepia = config.tasks["sepia"]
    wrong = sepia.model_copy(update={"render": sepia.render.replace(":sepia", ":cut")})
    with pytest.raises(ValueError, match="expected a Rendering or a target of uint8 and shape"):
        all_tasks({"cut": wrong})["cut"].pair(labelled(), np.random.default_rng(0))
