"""Annotators by the configuration that names their kind."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from viral.data.annotators.annotator import Annotator
from viral.data.annotators.controlnet import LineDrawing, Midas, NormalBae, OpenPose, SoftEdges
from viral.data.annotators.depth_anything import DepthAnything
from viral.data.annotators.entities import Entities
from viral.data.annotators.instructions import Instructions
from viral.data.annotators.sam import Sam
from viral.data.sources.registry import build

Kinds = SoftEdges | LineDrawing | NormalBae | Midas | OpenPose | DepthAnything | Sam | Entities | Instructions
_ANNOTATOR: TypeAdapter = TypeAdapter(Annotated[Kinds, Field(discriminator="kind")])


def build_annotators(described: Mapping[str, dict[str, Any]] | str) -> dict[str, Annotator]:
    """The annotators of `dataset.annotators`; `ValueError` names a key or value that is wrong."""
    return build("dataset.annotators", described, _ANNOTATOR)
