"""Answers that cost nothing: what a model must beat before its score means anything."""

from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image as Pillow

from viral.model.backbone import Backbone
from viral.model.flux import FluxBackbone
from viral.sampling.editor import to_images, to_tensor

Image = UInt8[np.ndarray, "y x 3"]


def free_answers(query: Image, example_target: Image | None, mean: Image) -> dict[str, Image]:
    """The query, the example's target, if there is one, and the task's mean target, each offered as the answer."""
    example = {} if example_target is None else {"copy_example": example_target}
    return {"copy_query": query, **example, "mean": mean}


def mean_images(images: Iterable[tuple[str, Image]]) -> dict[str, Image]:
    """The mean image of each task, rounded; `ValueError` where a task's images differ in size."""
    totals: dict[str, np.ndarray] = {}
    counts: dict[str, int] = {}
    for task, image in images:
        total = totals.setdefault(task, np.zeros(image.shape, np.int64))
        if total.shape != image.shape:
            raise ValueError(
                f"pairs of task {task} have sizes {total.shape[:2]} and {image.shape[:2]}; bring them to one size"
            )
        total += image
        counts[task] = counts.get(task, 0) + 1
    return {task: (total / counts[task]).round().astype(np.uint8) for task, total in totals.items()}


def through_vae(backbone: Backbone | FluxBackbone, images: list[Image], device: str = "cpu") -> list[Image]:
    """The images as the VAE gives them back: what a perfect answer becomes that is painted through it."""
    tensor = torch.cat([to_tensor(Pillow.fromarray(image)) for image in images])
    return [np.array(image) for image in to_images(backbone.decode_latents(backbone.encode_images(tensor.to(device))))]
