"""Masks by Segment Anything, prompted with the boxes that are known."""

from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np

from viral.data.annotators.annotator import Labeller, Network
from viral.tasks import Instance, Labelled, Mask


class Sam(Network):
    """A mask for every box that has none."""

    gives: ClassVar[tuple[str, ...]] = ("masks",)
    kind: Literal["sam"]
    model: str = "facebook/sam-vit-huge"

    def labeller(self, device: str) -> Labeller:
        """The network with its own processor."""
        from transformers import SamModel, SamProcessor

        folder = self.weights().folder
        network = SamModel.from_pretrained(folder).to(device).eval()
        processor = SamProcessor.from_pretrained(folder)

        def label(labelled: Labelled) -> Labelled:
            if labelled.instances is None:
                raise ValueError("the picture has no boxes to prompt SAM with; let another annotator find them first")
            bare = [item for item in labelled.instances if item.mask is None]
            masks = iter(_masks(network, processor, labelled, bare) if bare else ())
            done = (item if item.mask is not None else replace(item, mask=next(masks)) for item in labelled.instances)
            return replace(labelled, instances=tuple(done))

        return label


def _masks(network: Any, processor: Any, labelled: Labelled, items: list[Instance]) -> list[Mask]:
    """SAM's one mask for each box."""
    import torch

    boxes = [[list(item.box) for item in items]]
    inputs = processor(labelled.image, input_boxes=boxes, return_tensors="pt").to(network.device)
    with torch.inference_mode():
        found = network(**inputs, multimask_output=False)
    sizes = (inputs["original_sizes"].cpu(), inputs["reshaped_input_sizes"].cpu())
    masks = processor.image_processor.post_process_masks(found.pred_masks.cpu(), *sizes)[0]
    return [np.ascontiguousarray(mask[0].numpy().astype(bool)) for mask in masks]
