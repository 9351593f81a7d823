"""controlnet_aux's networks: soft edges, line drawings, normals, depth and poses, from its own checkpoint files."""

from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float32

from viral.data.annotators.annotator import Labeller, Network, on_multiples
from viral.tasks import Image, Instance, Labelled
from viral.tasks.geometry import read_normals
from viral.tasks.lines import controlnet_module
from viral.tasks.pose import NECK, OPENPOSE

STEP = 64
"""controlnet_aux's networks want sides that are multiples of this."""


class SoftEdges(Network):
    """HED: soft edges as the target of the task edge, white on black."""

    gives: ClassVar[tuple[str, ...]] = ()
    files: ClassVar[tuple[str, ...]] = ("ControlNetHED.pth",)
    kind: Literal["hed"]
    model: str = "lllyasviel/Annotators"

    def labeller(self, device: str) -> Labeller:
        """Apache-2.0 weights of controlnet_aux."""
        detector = controlnet_module("hed").HEDdetector.from_pretrained(str(self.weights().folder)).to(device)

        def label(labelled: Labelled) -> Labelled:
            edges = on_multiples(labelled.image, STEP, lambda image, side: _paint(detector, image, side))
            return replace(labelled, maps={**labelled.maps, "edge": edges})

        return label


class LineDrawing(Network):
    """Lineart (informative drawings): the target of the task lineart, turned to black on white."""

    gives: ClassVar[tuple[str, ...]] = ()
    files: ClassVar[tuple[str, ...]] = ("sk_model.pth", "sk_model2.pth")
    kind: Literal["lineart"]
    model: str = "lllyasviel/Annotators"
    coarse: bool = False
    """Whether to take the network that draws less detail."""

    def labeller(self, device: str) -> Labeller:
        """MIT weights of informative drawings."""
        detector = controlnet_module("lineart").LineartDetector.from_pretrained(str(self.weights().folder)).to(device)

        def label(labelled: Labelled) -> Labelled:
            lines = on_multiples(
                labelled.image, STEP, lambda image, side: 255 - _paint(detector, image, side, coarse=self.coarse)
            )
            return replace(labelled, maps={**labelled.maps, "lineart": lines})

        return label


class NormalBae(Network):
    """Surface normals by Bae et al.; its red points left and is turned to our convention."""

    gives: ClassVar[tuple[str, ...]] = ("normals",)
    files: ClassVar[tuple[str, ...]] = ("scannet.pt",)
    kind: Literal["normal_bae"]
    model: str = "lllyasviel/Annotators"

    def labeller(self, device: str) -> Labeller:
        """Weights trained on ScanNet."""
        module = controlnet_module("normalbae")
        detector = module.NormalBaeDetector.from_pretrained(str(self.weights().folder)).to(device)

        def label(labelled: Labelled) -> Labelled:
            painted = on_multiples(labelled.image, STEP, lambda image, side: _paint(detector, image, side))
            normals = read_normals(np.maximum(painted, 1)) * np.float32([-1, 1, 1])  # it knows every pixel
            return replace(labelled, normals=normals)

        return label


class Midas(Network):
    """Relative inverse depth by MiDaS (DPT hybrid)."""

    gives: ClassVar[tuple[str, ...]] = ("depth",)
    files: ClassVar[tuple[str, ...]] = ("dpt_hybrid-midas-501f0c75.pt",)
    kind: Literal["midas"]
    model: str = "lllyasviel/Annotators"

    def labeller(self, device: str) -> Labeller:
        """MIT weights of MiDaS."""
        detector = controlnet_module("midas").MidasDetector.from_pretrained(str(self.weights().folder)).to(device)

        def label(labelled: Labelled) -> Labelled:
            painted = on_multiples(
                labelled.image, STEP, lambda image, side: detector(image, detect_resolution=side, image_resolution=side)
            )
            return replace(labelled, depth=np.maximum(painted[..., 0], 1).astype(np.float32))

        return label


class OpenPose(Network):
    """People's joints by OpenPose, whose weights are for non-commercial use."""

    gives: ClassVar[tuple[str, ...]] = ("keypoints",)
    files: ClassVar[tuple[str, ...]] = ("body_pose_model.pth",)
    kind: Literal["openpose"]
    model: str = "lllyasviel/Annotators"

    def labeller(self, device: str) -> Labeller:
        """The body network alone."""
        weights = self.weights()
        body = controlnet_module("open_pose.body").Body(str(weights.folder / self.files[0])).to(device)

        def label(labelled: Labelled) -> Labelled:
            candidates, people = body(labelled.image[..., ::-1])
            found = [_joints(person.keypoints) for person in body.format_body_result(candidates, people)]
            seen = tuple(_person(points) for points in found if points[:, 2].any())
            return replace(labelled, instances=(*(labelled.instances or ()), *seen))

        return label


def _paint(detector: Any, image: Image, side: int, **options: Any) -> Image:
    return detector(image, detect_resolution=side, image_resolution=side, output_type="np", **options)


def _joints(found: list[Any]) -> Float32[np.ndarray, "17 3"]:
    """OpenPose's 18 joints in pixels as COCO's 17; the neck goes."""
    points = np.zeros((18, 3), np.float32)
    for row, joint in zip(OPENPOSE, found, strict=True):
        if joint is not None:
            points[row] = (joint.x, joint.y, 2)
    return np.delete(points, NECK, axis=0)


def _person(points: Float32[np.ndarray, "17 3"]) -> Instance:
    seen = points[points[:, 2] > 0, :2]
    left, top = seen.min(axis=0)
    right, bottom = seen.max(axis=0)
    return Instance("person", (float(left), float(top), float(right) + 1, float(bottom) + 1), None, points)
