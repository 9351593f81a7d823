"""People as skeletons, in the colours that OpenPose gave joints and limbs."""

import cv2
import numpy as np
from jaxtyping import Float, Float32

from viral.tasks.labelled import Image, Labelled
from viral.tasks.task import Rendering, Task

NECK = 17
"""Row of the neck behind COCO's 17 joints."""
OPENPOSE = (0, NECK, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
"""OpenPose's 18 joints, as rows of COCO's and the neck."""
LIMBS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13), (1, 0),
    (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
COLOURS = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0), (0, 255, 85),
    (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255),
    (255, 0, 170), (255, 0, 85),
)  # fmt: skip
"""Of each joint, and of the limb with the same number at 0.6 of it."""


def render_pose(labelled: Labelled, rng: np.random.Generator) -> Rendering:
    """The skeletons of all people on black; `ValueError` where no joint is seen."""
    people = [item.keypoints for item in labelled.instances or () if item.keypoints is not None]
    people = [points for points in people if (points[:, 2] > 0).sum() >= 3]
    if not people:
        raise ValueError("nobody in the picture shows three joints")
    return Rendering(labelled.image, draw_people(people, *labelled.image.shape[:2]), params={"people": len(people)})


def draw_people(people: list[Float32[np.ndarray, "17 3"]], height: int, width: int) -> Image:
    """Limbs as ellipses at 0.6 of their colour, joints as discs on them; what is not known is left out."""
    canvas = np.zeros((height, width, 3), np.float32)
    skeletons = [_openpose(points) for points in people]
    thick = max(1.0, min(height, width) / 128)
    for joints in skeletons:
        for (a, b), colour in zip(LIMBS, COLOURS, strict=False):
            if joints[a, 2] and joints[b, 2]:
                _limb(canvas, joints[a, :2], joints[b, :2], colour, thick)
    canvas *= 0.6
    for joints in skeletons:
        for (x, y, known), colour in zip(joints, COLOURS, strict=True):
            if known:
                cv2.circle(canvas, (round(float(x)), round(float(y))), round(thick), colour, -1)
    return canvas.round().astype(np.uint8)


def _openpose(points: Float32[np.ndarray, "17 3"]) -> Float[np.ndarray, "18 3"]:
    """The 18 joints as x, y and whether they are known; the neck lies between the shoulders."""
    shoulders = points[[5, 6]]
    known = float((shoulders[:, 2] > 0).all())
    joints = np.vstack([points, [*shoulders[:, :2].mean(axis=0), known]])
    return joints[list(OPENPOSE)]


def _limb(
    canvas: Float32[np.ndarray, "y x 3"], start: np.ndarray, end: np.ndarray, colour: tuple[int, int, int], thick: float
) -> None:
    middle, reach = (start + end) / 2, end - start
    angle = int(np.degrees(np.arctan2(reach[1], reach[0])))
    axes = (max(1, int(np.linalg.norm(reach) / 2)), max(1, round(thick)))
    outline = cv2.ellipse2Poly((int(middle[0]), int(middle[1])), axes, angle, 0, 360, 1)
    cv2.fillConvexPoly(canvas, outline, colour)


POSE = Task(
    "pose", "People's keypoints", render_pose, "pck", higher_is_better=True, needs=("keypoints",),
    instruction="Draw the people's skeletons in colours on black.",
)  # fmt: skip
