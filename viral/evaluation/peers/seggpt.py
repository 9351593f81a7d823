"""SegGPT (arXiv 2304.03284) by transformers: segments B as A' segments A."""

from collections.abc import Sequence
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from transformers import SegGptForImageSegmentation, SegGptImageProcessor

from viral.config import RunConfig
from viral.data_config import Place
from viral.evaluation.peers.pictures import pillow, sized_as
from viral.evaluation.peers.weighted import Weighted
from viral.evaluation.protocols.case import Case, Image
from viral.evaluation.protocols.method import Method
from viral.model.loading import compute_dtype


class SegGpt(Weighted):
    """Shown A' in its own colours, as it was trained; 448 x 448 pixels a picture."""

    kind: Literal["seggpt"]
    model: Place = "BAAI/seggpt-vit-large"

    def load(self, name: str, config: RunConfig, device: str) -> "SegGptMethod":
        """The network with its own processor."""
        self.licences(config)
        folder, dtype = self.weights().folder, compute_dtype(config.model, device)
        network = SegGptForImageSegmentation.from_pretrained(folder, dtype=dtype).to(device).eval()
        return SegGptMethod(name, network, SegGptImageProcessor.from_pretrained(folder))


class SegGptMethod(Method):
    """Answers every case that has an example; several are one ensemble of features."""

    def __init__(self, name: str, network: SegGptForImageSegmentation, processor: SegGptImageProcessor) -> None:
        super().__init__(name)
        self._network, self._processor = network, processor

    def answer(self, cases: Sequence[Case]) -> list[Image | None]:
        """One by one."""
        return [self._answer(case) if case.examples else None for case in cases]

    @torch.inference_mode()
    def _answer(self, case: Case) -> Image:
        sources, targets = zip(*case.examples, strict=True)
        inputs = self._processor(
            images=[case.query] * len(sources), prompt_images=list(sources), prompt_masks=list(targets),
            do_convert_rgb=False, return_tensors="pt",
        ).to(self._network.device, self._network.dtype)  # fmt: skip
        painted = self._network(**inputs, feature_ensemble=len(sources) > 1).pred_masks
        return sized_as(pillow(self._pixels(painted)), case.query)

    def _pixels(self, painted: Float[Tensor, "k 3 y2 x"]) -> Image:
        """The lower half, which is the query's, as the processor's normalisation is undone."""
        half = rearrange(painted[0].float(), "c (half y) x -> half y x c", half=2)[1].cpu()
        mean, std = (torch.tensor(values) for values in (self._processor.image_mean, self._processor.image_std))
        return ((half * std + mean) * 255).clamp(0, 255).round().byte().numpy()
