"""Depth by transformers: Depth Anything, and whatever else its depth classes load."""

from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np

from viral.data.annotators.annotator import Labeller, Network
from viral.tasks import Labelled


class DepthAnything(Network):
    """Inverse depth; what a metric model gives is turned into it."""

    gives: ClassVar[tuple[str, ...]] = ("depth",)
    kind: Literal["depth_anything"]
    model: str = "depth-anything/Depth-Anything-V2-Small-hf"
    """The small one is Apache-2.0; base and large are CC BY-NC 4.0."""

    def labeller(self, device: str) -> Labeller:
        """The network with its own processor."""
        import torch
        from transformers import AutoImageProcessor, AutoModelForDepthEstimation

        folder = self.weights().folder
        network = AutoModelForDepthEstimation.from_pretrained(folder).to(device).eval()
        processor = AutoImageProcessor.from_pretrained(folder)
        metric = getattr(network.config, "depth_estimation_type", "relative") == "metric"

        @torch.inference_mode()
        def label(labelled: Labelled) -> Labelled:
            inputs = processor(images=labelled.image, return_tensors="pt").to(device)
            predicted = network(**inputs).predicted_depth[:, None]
            size = labelled.image.shape[:2]
            depth = torch.nn.functional.interpolate(predicted.float(), size, mode="bicubic")[0, 0].cpu().numpy()
            if not np.isfinite(depth).all():
                raise ValueError("the depth network gave numbers that are not finite; its weights are damaged")
            inverse = 1 / np.maximum(depth, 1e-3) if metric else depth
            return replace(labelled, depth=np.maximum(inverse, 1e-6).astype(np.float32))

        return label
