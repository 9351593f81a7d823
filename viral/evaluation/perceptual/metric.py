"""Which perceptual metrics there are: the network of each, what it compares an output with, which way is better."""

from dataclasses import dataclass
from typing import Literal

Network = Literal["lpips", "fid", "clip", "dino", "dinov2", "vlm"]
"""Fields of `viral.config.PerceptualConfig`."""
Against = Literal["truth", "query", "caption", "request"]

STAND_IN = "embedded embedder"
"""What a figure is named by where the metric's own weights are absent."""


@dataclass(frozen=True)
class PerceptualMetric:
    """One metric, without its network."""

    title: str
    network: Network
    against: Against
    stand_in: str
    """What the embedded embedder measures where the network is absent."""
    higher_is_better: bool = True

    @property
    def of_sets(self) -> bool:
        """Whether it is a distance between two sets of images, which one image does not have."""
        return self.network == "fid"


_COSINE = "cosine of its vectors of the images"
_STEP = "cosine of its step from query to output and its step between their captions"

PERCEPTUAL: dict[str, PerceptualMetric] = {
    "lpips": PerceptualMetric("LPIPS", "lpips", "truth", "1 - " + _COSINE, higher_is_better=False),
    "fid": PerceptualMetric("FID", "fid", "truth", "Fréchet distance of its vectors", higher_is_better=False),
    "clip_i": PerceptualMetric("CLIP-I", "clip", "truth", _COSINE),
    "clip_i_source": PerceptualMetric("CLIP-I to the source", "clip", "query", _COSINE),
    "clip_out": PerceptualMetric("CLIP-Out", "clip", "caption", "cosine of its vectors of output and caption"),
    "dino": PerceptualMetric("DINO", "dino", "truth", _COSINE),
    "dino_source": PerceptualMetric("DINO to the source", "dino", "query", _COSINE),
    "dinov2": PerceptualMetric("DINOv2", "dinov2", "truth", _COSINE),
    "dinov2_source": PerceptualMetric("DINOv2 to the source", "dinov2", "query", _COSINE),
    "verdict": PerceptualMetric("VLM verdict", "vlm", "request", _STEP),
    "vie_sc": PerceptualMetric("VIE SC", "vlm", "request", _STEP),
    "vie_pq": PerceptualMetric("VIE PQ", "vlm", "request", _STEP),
    "vie_overall": PerceptualMetric("VIE overall", "vlm", "request", _STEP),
}
"""By name. DINO is VIRAL's DINOv2 (Oquab et al.) as `dinov2`; ICEdit cites both papers and prints one DINO, which is
`dino` (Caron et al., as MagicBrush's own evaluation has it), with `dinov2` beside it."""
