import io

import numpy as np
import pytest
from PIL import Image

from viral.evaluation.layouts.pascal import DRAWN, VOC, read_pascal, write_pascal
from viral.evaluation.metrics import box_iou
from viral.storage import Storage

SIZE = 48


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    drawn = Storage(str(tmp_path_factory.mktemp("pascal")))
    write_pascal(drawn, 20, SIZE, seed=3)
    return drawn


def test_every_class_of_every_fold_is_asked_for_with_another_picture_of_it(place: Storage) -> None:
    cases = list(read_pascal(place, 20, 0))
    assert [case.labels["category"] for case in cases] == list(DRAWN)
    assert [case.labels["fold"] for case in cases] == [0] * 5 + [1] * 5 + [2] * 5 + [3] * 5
    for case in cases:
        ((shown, boxes),) = case.examples
        assert boxes.any() and case.truth.any() and (shown != case.query).any()


def test_the_truth_is_white_in_the_boxes_and_black_elsewhere(place: Storage) -> None:
    for case in read_pascal(place, 40, 0):
        inside = np.zeros(case.truth.shape[:2], bool)
        for left, top, right, bottom in case.labels["boxes"]:
            inside[top:bottom, left:right] = True
        assert (case.truth == np.where(inside, 255, 0)[..., None]).all() and box_iou(case.truth, case.truth) == 1


def test_vocs_own_files_are_read(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Two pictures of the class boat, palettes as VOC has them, a rim of 255 that belongs to nothing."""
    place = Storage(str(tmp_path_factory.mktemp("voc")))
    boat = VOC.index("boat") + 1
    for name, left in (("2007_000001", 4), ("2007_000002", 20)):
        classes, objects = np.zeros((30, 40), np.uint8), np.zeros((30, 40), np.uint8)
        classes[5:16, left - 1 : left + 11] = objects[5:16, left - 1 : left + 11] = 255
        classes[6:15, left : left + 10], objects[6:15, left : left + 10] = boat, 2
        for folder, numbers in (("SegmentationClass", classes), ("SegmentationObject", objects)):
            place.join(folder).write(f"{name}.png", image_file(numbers, "PNG"))
        place.join("JPEGImages").write(f"{name}.jpg", image_file(np.full((30, 40, 3), left, np.uint8), "JPEG"))
    place.join("ImageSets", "Segmentation").write("val.txt", b"2007_000001\n2007_000002\n")
    cases = {case.case_id: case for case in read_pascal(place, 10, 0)}
    assert set(cases) == {"pascal/boat/2007_000001", "pascal/boat/2007_000002"}
    assert cases["pascal/boat/2007_000002"].labels["boxes"] == [[20, 6, 30, 15]]
    assert cases["pascal/boat/2007_000002"].labels["fold"] == 0


def image_file(pixels: np.ndarray, form: str) -> bytes:
    picture = Image.fromarray(pixels)
    if pixels.ndim == 2:
        picture.putpalette([number for number in range(256) for _ in range(3)])
    file = io.BytesIO()
    picture.save(file, form)
    return file.getvalue()
