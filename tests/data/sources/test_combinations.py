"""Edits that are kept from training: the same for ever, in no training pair, and enough to ask for."""

import itertools

import pytest
import yaml

from viral.data.sources.combinations import APART, KEPT_OUT, is_apart
from viral.data.sources.scenes import sampled_edit, sampled_scene_for
from viral.scenes import EDITS, sample_scene

SCENE = sample_scene(3)


def test_about_as_many_combinations_are_apart_as_is_said() -> None:
    choices = EDITS["recolour"].choices
    params = [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]
    share = sum(is_apart("recolour", one, SCENE) for one in params) / len(params)
    assert 0.5 / APART < share < 1.5 / APART


def test_edits_of_one_parameter_are_apart_only_before_some_backdrops() -> None:
    scenes = {backdrop: sample_scene(1, backdrop=backdrop) for backdrop in ("hills", "town", "sea", "plain", "studio")}
    for style in EDITS["style"].choices["style"]:
        apart = {backdrop: is_apart("style", {"style": style}, scene) for backdrop, scene in scenes.items()}
        assert not all(apart.values())
    assert not is_apart("focus", {}, SCENE)


@pytest.mark.parametrize("kind", ["recolour", "style", "move", "tone"])
def test_training_never_meets_what_is_asked_for(kind: str) -> None:
    for seed in range(6):
        edit, scene = sampled_edit(kind, 1000 * seed, "train")
        other = sampled_scene_for(kind, edit.params, 1000 * seed + 7, "train")
        assert not is_apart(kind, edit.params, scene) and not is_apart(kind, edit.params, other)
        asked, place = sampled_edit(kind, 1000 * seed, "apart")
        assert is_apart(kind, asked.params, place)


@pytest.mark.parametrize("name", ["embedded", "embedded_fill"])
def test_the_embedded_adapters_train_on_none_of_what_is_kept_out(name: str) -> None:
    from viral.tasks import TASKS

    with open(f"jobs/configs/{name}.yaml") as file:
        dataset = yaml.safe_load(file)["dataset"]
    edited = [source for source in dataset["sources"].values() if source.get("edits")]
    assert all(source["combinations"] == "train" for source in edited)
    assert not {kind for source in edited for kind in source["edits"]} & {*KEPT_OUT, "all"}
    tasks = {task for part in dataset["parts"].values() for task in part["tasks"]}
    assert set(TASKS) - tasks >= {"lineart", "lineart_inverse"}
