"""Crops: disjoint squares, spread over the scenes, as many as there is room for."""

from collections import Counter
from dataclasses import replace

import numpy as np

from viral.data.crops import crop_boxes, cut
from viral.data.photographs import PhotoFile, Photograph, detail_map


def _photo(name: str, source: str, width: int, height: int) -> Photograph:
    return Photograph(PhotoFile(name, None, "", "", None, ""), name, source, "train", width, height)


PHOTOS = (
    _photo("wide", "a", 640, 100),
    _photo("left", "b", 500, 700),
    _photo("right", "b", 500, 700),
    _photo("small", "c", 70, 70),
)


def test_squares_are_disjoint_large_enough_and_inside() -> None:
    for count in (1, 7, 40, 100):
        crops = crop_boxes(PHOTOS, count, 64)
        assert len(crops) == min(count, 10 + 2 * 70 + 1)
        for photo in PHOTOS:
            seen = np.zeros((photo.height, photo.width), int)
            for box in (box for other, box in crops if other is photo):
                assert box.side >= 64 and box.left >= 0 and box.top >= 0
                assert box.left + box.side <= photo.width and box.top + box.side <= photo.height
                seen[box.top : box.top + box.side, box.left : box.left + box.side] += 1
            assert seen.max() <= 1


def test_scenes_share_alike_until_one_is_full() -> None:
    crops = crop_boxes(PHOTOS, 9, 64)
    assert Counter(photo.source_id for photo, _ in crops) == {"a": 4, "b": 4, "c": 1}
    assert Counter(photo.file.name for photo, _ in crops if photo.source_id == "b") == {"left": 2, "right": 2}


def test_a_crop_shows_as_much_as_its_share_allows() -> None:
    ((_, box),) = crop_boxes((_photo("one", "a", 640, 100),), 1, 64)
    assert box.side == 100


def test_squares_that_show_something_are_kept() -> None:
    luma = np.zeros((100, 640), np.uint8)
    luma[:, 320:] = np.random.default_rng(0).integers(0, 255, (10, 32)).repeat(10, 0).repeat(10, 1)
    photo = replace(_photo("half a sky", "a", 640, 100), detail=detail_map(luma))
    crops = crop_boxes((photo,), 3, 64)
    assert len(crops) == 3 and all(box.left >= 300 for _, box in crops)


def test_cutting_averages_down_and_keeps_its_size() -> None:
    pixels = np.zeros((100, 100, 3), np.uint8)
    pixels[::2] = 200
    (_, box), *_ = crop_boxes((_photo("one", "a", 100, 100),), 1, 50)
    assert box.side == 100
    assert (cut(pixels, box, 50) == 100).all()
