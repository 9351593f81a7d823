"""Which squares of which photographs become pairs: a grid on each, so that no two overlap."""

import heapq
from dataclasses import dataclass
from math import ceil

import cv2
import numpy as np
from jaxtyping import UInt8

from viral.data.photographs import DETAIL, Photograph

CHOICE = 1.5
"""Squares that a photograph is cut into for each that is kept."""


@dataclass(frozen=True)
class Box:
    """A square of a photograph, in its pixels."""

    left: int
    top: int
    side: int


def crop_boxes(photos: tuple[Photograph, ...], count: int, size: int) -> list[tuple[Photograph, Box]]:
    """`count` disjoint squares of at least `size` pixels, spread evenly over the scenes; fewer if there is no room.

    Each photograph is cut by the coarsest grid that gives a choice of `CHOICE` times its share, where there is room for
    one; the squares with the most detail are kept. An even sky makes an example that shows nothing.
    """
    room = {photo.pixels_sha256: _cells(photo, size) for photo in photos}
    shares = _shares(photos, room, count)
    return [(photo, box) for photo in photos for box in _grid(photo, shares[photo.pixels_sha256], size)]


def cut(pixels: UInt8[np.ndarray, "y x 3"], box: Box, size: int) -> UInt8[np.ndarray, "s s 3"]:
    """The square `box`, averaged down to `size` pixels a side."""
    square = pixels[box.top : box.top + box.side, box.left : box.left + box.side]
    return np.ascontiguousarray(cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA))


def _cells(photo: Photograph, side: int) -> int:
    return (photo.height // side) * (photo.width // side)


def _shares(photos: tuple[Photograph, ...], room: dict[str, int], count: int) -> dict[str, int]:
    """Deal crops out one by one, to the scene with the fewest, and in it to the photograph with the fewest."""
    shares = dict.fromkeys(room, 0)
    waiting: dict[str, list[tuple[int, int, str]]] = {}
    for order, photo in enumerate(photos):
        if room[photo.pixels_sha256]:
            waiting.setdefault(photo.source_id, []).append((0, order, photo.pixels_sha256))
    scenes = [(0, order, source_id) for order, source_id in enumerate(waiting)]
    for _ in range(min(count, sum(room.values()))):
        dealt, scene_order, source_id = heapq.heappop(scenes)
        share, order, photo_id = heapq.heappop(waiting[source_id])
        shares[photo_id] = share + 1
        if shares[photo_id] < room[photo_id]:
            heapq.heappush(waiting[source_id], (share + 1, order, photo_id))
        if waiting[source_id]:
            heapq.heappush(scenes, (dealt + 1, scene_order, source_id))
    return shares


def _grid(photo: Photograph, share: int, size: int) -> list[Box]:
    """`share` cells of a centred grid, those with the most detail, in reading order."""
    if share == 0:
        return []
    wanted = min(int(CHOICE * share), _cells(photo, size))
    side = next(side for side in range(min(photo.width, photo.height), size - 1, -1) if _cells(photo, side) >= wanted)
    rows, columns = photo.height // side, photo.width // side
    left, top = (photo.width - columns * side) // 2, (photo.height - rows * side) // 2
    cells = [Box(left + column * side, top + row * side, side) for row in range(rows) for column in range(columns)]
    kept = sorted(cells, key=lambda box: -_detail(photo, box))[:share]
    return sorted(kept, key=lambda box: (box.top, box.left))


def _detail(photo: Photograph, box: Box) -> float:
    """Mean detail of the photograph in a square."""
    cells = np.frombuffer(photo.detail, np.uint8).reshape(DETAIL, DETAIL)
    rows = slice(box.top * DETAIL // photo.height, ceil((box.top + box.side) * DETAIL / photo.height))
    columns = slice(box.left * DETAIL // photo.width, ceil((box.left + box.side) * DETAIL / photo.width))
    return float(cells[rows, columns].mean())
