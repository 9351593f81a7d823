"""The grid that inpainters are shown: A beside A', a row for each pair, under them B beside a hole."""

import numpy as np
from PIL import Image as Pillow

from viral.evaluation.peers.pictures import pillow, query_of, sized_as
from viral.evaluation.protocols.case import Case

GREY = 127


def grid_of(case: Case, cell: tuple[int, int]) -> tuple[Pillow.Image, Pillow.Image]:
    """The grid with cells of this width and height, its hole grey, and the mask that is white there."""
    query = np.asarray(query_of(case).resize(cell, Pillow.Resampling.BICUBIC))
    rows = [[sized_as(pillow(picture), query) for picture in pair] for pair in case.examples]
    rows.append([query, np.full_like(query, GREY)])
    picture = pillow(np.vstack([np.hstack(row) for row in rows]))
    hole = Pillow.new("L", picture.size)
    hole.paste(255, _hole(picture.size, case))
    return picture, hole


def last_cell(filled: Pillow.Image, case: Case) -> Pillow.Image:
    """What was painted into the hole; the grid may have come back at another size."""
    return filled.crop(_hole(filled.size, case))


def _hole(size: tuple[int, int], case: Case) -> tuple[int, int, int, int]:
    """Left, top, right, bottom."""
    width, height = size
    return width // 2, height - height // (len(case.examples) + 1), width, height
