"""People: a skeleton posed by the directions of its limbs, its 17 COCO joints, and the body around it."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from viral.scenes.solids import Number, Part, Vec, ball, tube

JOINTS = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle",
)  # fmt: skip
"""Keypoints in COCO's order."""

REACH = (0.06,) * 5 + (0.14, 0.14, 0.10, 0.10, 0.09, 0.09, 0.17, 0.17, 0.13, 0.13, 0.12, 0.12)
"""How deep, in metres at scale 1, each joint may lie under the skin and still count as seen."""

Angles = tuple[Number, Number]
"""Degrees: how far the limb swings forward from hanging, and how far outwards."""


class Pose(NamedTuple):
    """Directions of the limbs, left and right; `lean` bends the trunk forward."""

    upper_arms: tuple[Angles, Angles] = ((6, 9), (6, 9))
    forearms: tuple[Angles, Angles] = ((16, 4), (16, 4))
    thighs: tuple[Angles, Angles] = ((0, 4), (0, 4))
    shins: tuple[Angles, Angles] = ((0, 2), (0, 2))
    lean: Number = 0.0


POSE_ANGLES = {
    "standing": Pose(),
    "walking": Pose(((-28, 5), (28, 5)), ((-10, 3), (50, 3)), ((26, 2), (-20, 2)), ((12, 2), (-38, 2)), 3),
    "running": Pose(((-55, 10), (40, 10)), ((25, 5), (110, 0)), ((62, 2), (-28, 2)), ((-8, 2), (-95, 2)), 14),
    "arms raised": Pose(((8, 152), (8, 152)), ((8, 168), (8, 168))),
    "arms spread": Pose(((0, 88), (0, 88)), ((0, 90), (0, 90))),
    "waving": Pose(((6, 9), (8, 105)), ((16, 4), (15, 172))),
    "pointing": Pose(((6, 9), (88, 4)), ((16, 4), (90, 2))),
    "kicking": Pose(((-25, 30), (25, 35)), ((0, 30), (45, 20)), ((-10, 3), (72, 4)), ((-18, 2), (58, 2)), -8),
    "bowing": Pose(((30, 6), (30, 6)), ((35, 4), (35, 4)), lean=62),
    "kneeling": Pose(((6, 10), (6, 10)), ((40, 2), (40, 2)), ((8, 6), (8, 6)), ((-84, 4), (-84, 4))),
    "sitting": Pose(((25, 10), (25, 10)), ((60, -6), (60, -6)), ((88, 9), (88, 9)), ((12, 3), (12, 3)), -4),
    "hands on hips": Pose(((-14, 42), (-14, 42)), ((28, -48), (28, -48))),
}
HEAD, NECK, TRUNK, UPPER_ARM, FOREARM, THIGH, SHIN = 0.15, 0.12, 0.50, 0.29, 0.26, 0.41, 0.40


def _along(start: Vec, angles: Angles, side: int, length: float) -> Vec:
    """The end of a limb of `length`; `side` is +1 on the left, where x is positive."""
    forward, out = math.radians(angles[0]), math.radians(angles[1])
    down = math.cos(out) * length
    x = start[0] + side * math.sin(out) * length
    return x, start[1] - down * math.cos(forward), start[2] + down * math.sin(forward)


def _limbs(starts: tuple[Vec, Vec], angles: tuple[Angles, Angles], length: float) -> tuple[Vec, Vec]:
    return _along(starts[0], angles[0], 1, length), _along(starts[1], angles[1], -1, length)


class Skeleton(NamedTuple):
    """Joints in the person's frame: the feet's lowest point at y = 0, facing +z; pairs are left and right."""

    head: Vec
    neck: Vec
    shoulders: tuple[Vec, Vec]
    elbows: tuple[Vec, Vec]
    wrists: tuple[Vec, Vec]
    pelvis: Vec
    hips: tuple[Vec, Vec]
    knees: tuple[Vec, Vec]
    ankles: tuple[Vec, Vec]
    lean: Number

    def on_head(self, x: Number, y: Number, z: Number) -> Vec:
        """A point given relative to the head's centre, nodding with the trunk."""
        sin, cos = math.sin(self.lean * 0.6), math.cos(self.lean * 0.6)
        return self.head[0] + x, self.head[1] + y * cos - z * sin, self.head[2] + y * sin + z * cos


def skeleton(pose: str, a: float = 0.5, b: float = 0.5) -> Skeleton:
    """The posed skeleton; `a` varies the build, `b` the swing of the limbs."""
    p = POSE_ANGLES[pose]
    broad, swing = 0.16 + 0.05 * a, 0.85 + 0.3 * b
    hips = ((0.09, 0.0, 0.0), (-0.09, 0.0, 0.0))
    knees = _limbs(hips, p.thighs, THIGH)
    ankles = _limbs(knees, p.shins, SHIN)
    lean = math.radians(p.lean)
    up = (math.sin(lean), math.cos(lean))
    chest = lambda r, x=0.0: (x, r * up[1], r * up[0])
    shoulders = (chest(TRUNK, broad), chest(TRUNK, -broad))
    upper: tuple[Angles, Angles] = tuple((f * swing, o) for f, o in p.upper_arms)  # pyright: ignore
    elbows = _limbs(shoulders, upper, UPPER_ARM)
    wrists = _limbs(elbows, p.forearms, FOREARM)
    floor = min([y for _, y, _ in (*ankles, *knees, hips[0])]) - 0.07
    head = chest(TRUNK + NECK + HEAD)
    joints = (head, chest(TRUNK + 0.03), shoulders, elbows, wrists, (0.0, 0.0, 0.0), hips, knees, ankles)
    return Skeleton(*(_raised(joint, -floor) for joint in joints), lean)


def _raised(joint, by: float):
    if isinstance(joint[0], tuple):
        return tuple(_raised(one, by) for one in joint)
    return joint[0], joint[1] + by, joint[2]


def keypoints(bones: Skeleton) -> Float[np.ndarray, "17 3"]:
    """The joints in COCO's order, in the person's frame."""
    face = [(0, -0.01, 0.155), (0.05, 0.035, 0.135), (-0.05, 0.035, 0.135), (0.115, 0.0, 0.0), (-0.115, 0.0, 0.0)]
    pairs = (bones.shoulders, bones.elbows, bones.wrists, bones.hips, bones.knees, bones.ankles)
    return np.array([bones.on_head(*p) for p in face] + [joint for pair in pairs for joint in pair])


def _legs(bones: Skeleton, paint: str) -> list[Part]:
    parts = []
    for hip, knee, ankle in zip(bones.hips, bones.knees, bones.ankles, strict=True):
        toe = (ankle[0], ankle[1], ankle[2] + 0.06)
        if knee[1] - ankle[1] < 0.2:  # the shin lies on the ground: the foot points backwards
            toe = (ankle[0], ankle[1], ankle[2] - 0.05)
        parts += [
            tube(hip, knee, 0.105, 0.075, paint),
            ball(knee, 0.077, paint),
            tube(knee, ankle, 0.073, 0.05, paint),
            ball((toe[0], toe[1] - 0.02, toe[2]), (0.06, 0.05, 0.12), "rubber"),
        ]
    return parts


def _arms(bones: Skeleton, sleeve: str) -> list[Part]:
    parts = []
    for shoulder, elbow, wrist in zip(bones.shoulders, bones.elbows, bones.wrists, strict=True):
        parts += [
            ball(shoulder, 0.085),
            tube(shoulder, elbow, 0.075, 0.055),
            ball(elbow, 0.054, sleeve),
            tube(elbow, wrist, 0.052, 0.038, sleeve),
            ball(wrist, 0.06, "skin"),
        ]
    return parts


def person(pose: str, a: float, b: float, c: float) -> list[Part]:
    """The body around the skeleton; c chooses trousers or a skirt, long or short sleeves."""
    bones = skeleton(pose, a, b)
    pelvis, neck = bones.pelvis, bones.neck
    middle: Vec = tuple((p + n) / 2 for p, n in zip(pelvis, neck, strict=True))  # pyright: ignore
    skirt = c > 0.65 and pose not in ("running", "kicking", "sitting")
    parts = [
        tube(pelvis, neck, 0.13, 0.16 + 0.02 * a),
        ball(neck, (0.17 + 0.03 * a, 0.07, 0.11), "main", (math.degrees(bones.lean), 0, 0)),
        ball(middle, (0.15, 0.18, 0.125), "main", (math.degrees(bones.lean), 0, 0)),
        ball(pelvis, (0.16, 0.11, 0.125), "second"),
        tube(neck, bones.head, 0.06, 0.055, "skin"),
        ball(bones.head, (0.12, 0.15, 0.13), "skin"),
        ball(bones.on_head(0, 0.035, -0.035), (0.132, 0.14, 0.125), "hair"),
        ball(bones.on_head(0.048, 0.035, 0.118), 0.02, "ink"),
        ball(bones.on_head(-0.048, 0.035, 0.118), 0.02, "ink"),
        ball(bones.on_head(0, -0.01, 0.135), 0.024, "skin"),
        *_legs(bones, "skin" if skirt else "second"),
        *_arms(bones, "main" if c < 0.4 else "skin"),
    ]
    if skirt:
        parts.append(tube((pelvis[0], pelvis[1] + 0.1, pelvis[2]), (pelvis[0], pelvis[1] - 0.36, pelvis[2]), 0.14, 0.3))
    if c < 0.2:
        parts.append(tube(bones.on_head(0, 0.09, 0.02), bones.on_head(0, 0.17, 0.0), 0.145, 0.12, "third"))
        parts.append(ball(bones.on_head(0, 0.09, 0.12), (0.11, 0.02, 0.12), "third"))
    if pose == "sitting":
        parts.append(tube((0, 0, -0.04), (0, pelvis[1] - 0.09, -0.04), 0.16, 0.22, "wood"))
    return parts
