"""COCO's annotations as labels: boxes, masks in all their forms, keypoints, panoptic segments."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from viral.data.sources.coco import Coco, decode_mask
from viral.tasks import TASKS, fit

POINTS = [12, 6, 2, 13, 5, 2, 11, 5, 2, 14, 6, 1, 10, 6, 1, 16, 10, 2, 8, 10, 2, *([0] * 30)]
CATEGORIES = [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}]


def _annotation(number: int, image: int, category: int, box: list[float], **more: object) -> dict:
    return {"id": number, "image_id": image, "category_id": category, "bbox": box, "iscrowd": 0, **more}


@pytest.fixture
def coco(tmp_path: Path) -> Coco:
    """Two pictures; the first shows a person (polygon, keypoints) and a dog (run lengths), the second a crowd."""
    for number in (1, 2):
        pixels = np.random.default_rng(number).integers(0, 256, (30, 40, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    images = [{"id": n, "file_name": f"{n}.png", "width": 40, "height": 30, "license": n + 3} for n in (1, 2)]
    dog = {"size": [30, 40], "counts": [30 * 30 + 10, 20, 10, 20, 30 * 40 - 30 * 30 - 60]}
    crowd = {"size": [30, 40], "counts": [0, 600, 600]}
    instances = [
        _annotation(7, 1, 1, [6, 4, 12, 20], segmentation=[[6, 4, 18, 4, 18, 24, 6, 24]]),
        _annotation(8, 1, 18, [30, 10, 2, 20], segmentation=dog),
        _annotation(9, 2, 1, [0, 0, 20, 30], segmentation=crowd) | {"iscrowd": 1},
    ]
    people = [_annotation(7, 1, 1, [6, 4, 12, 20], keypoints=POINTS)]
    painted = np.zeros((30, 40, 3), np.uint8)
    painted[:, :10], painted[:, 10:20], painted[:, 30:] = (5, 1, 0), (6, 0, 0), (99, 0, 0)
    (tmp_path / "panoptic").mkdir()
    Image.fromarray(painted).save(tmp_path / "panoptic" / "1.png")
    segments = [{"id": 5 + 256, "category_id": 1}, {"id": 6, "category_id": 18}]
    files = {
        "instances": instances,
        "keypoints": people,
        "panoptic": [{"image_id": 1, "file_name": "1.png", "segments_info": segments}],
    }
    for name, annotations in files.items():
        content = {"images": images, "annotations": annotations, "categories": CATEGORIES}
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return Coco(kind="coco", images=str(tmp_path), **{name: f"{tmp_path}/{name}.json" for name in files})


def test_an_instance_has_its_box_mask_category_and_keypoints(coco: Coco) -> None:
    (item,) = coco.items(9, 0, frozenset({"boxes", "keypoints"}))
    assert (item.source_id, item.licence) == ("coco/1", "CC BY 2.0")
    person, dog = coco.reader("cpu")(item, 64).instances
    assert (person.category, person.box) == ("person", (6.0, 4.0, 18.0, 24.0))
    ys, xs = np.nonzero(person.mask)
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == (6, 18, 4, 24)
    assert person.keypoints[0].tolist() == [12, 6, 2] and dog.keypoints is None
    ys, xs = np.nonzero(dog.mask)
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == (30, 31, 10, 29) and dog.mask.sum() == 40


def test_pictures_without_the_labels_asked_for_are_left_out(coco: Coco) -> None:
    assert [item.id for item in coco.items(9, 0, frozenset({"boxes"}))] == ["1"]  # the other shows a crowd
    assert {item.id for item in coco.items(9, 0, frozenset())} == {"1", "2"}
    bare = coco.model_copy(update={"instances": None, "keypoints": None})
    assert bare.gives == {"entities"} and coco.gives >= {"boxes", "masks", "keypoints", "entities"}


def test_panoptic_segments_are_numbered_and_unknown_colours_are_none(coco: Coco) -> None:
    item = next(item for item in coco.items(9, 0, frozenset()) if item.id == "1")
    entities = coco.reader("cpu")(item, 64).entities
    assert [int(entities[0, x]) for x in (0, 15, 25, 35)] == [2, 1, 0, 0]


def test_every_task_of_objects_renders_from_coco(coco: Coco) -> None:
    (item,) = coco.items(1, 0, frozenset({"keypoints"}))
    picture = fit(coco.reader("cpu")(item, 48), 48)
    for name in ("detection", "interactive", "entity", "pose"):
        assert TASKS[name].pair(picture, np.random.default_rng(0)).target.any()


def _compressed(runs: list[int]) -> str:
    """COCO's own way to write run lengths."""
    text = ""
    for i, run in enumerate(runs):
        value = run - (runs[i - 2] if i > 2 else 0)
        while True:
            bits, value = value & 31, value >> 5
            more = value != (-1 if bits & 16 else 0)
            text += chr((bits | 32 if more else bits) + 48)
            if not more:
                break
    return text


def test_compressed_run_lengths_say_the_same_as_plain_ones() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        mask = rng.random((37, 53)) < rng.random()
        flat = np.concatenate([[False], mask.T.ravel()])
        ends = np.unique(np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]), [mask.size]]))
        runs = np.diff(ends).tolist()
        runs = [0, *runs] if mask[0, 0] else runs
        for counts in (runs, _compressed(runs)):
            assert np.array_equal(decode_mask({"size": [37, 53], "counts": counts}, 37, 53), mask)


def test_a_segmentation_in_another_form_or_size_is_refused() -> None:
    with pytest.raises(ValueError, match="neither polygons nor run lengths"):
        decode_mask({"counts": []}, 4, 4)
    with pytest.raises(ValueError, match=r"the picture has \[4, 4\]"):
        decode_mask({"size": [3, 4], "counts": [12]}, 4, 4)


def test_json_that_is_not_cocos_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"images": []}')
    with pytest.raises(ValueError, match="x.json has no key annotations, categories"):
        Coco(kind="coco", images=str(tmp_path), instances=f"{tmp_path}/x.json").items(1, 0, frozenset())
