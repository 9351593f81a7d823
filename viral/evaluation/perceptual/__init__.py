"""Metrics that look through a network: LPIPS, FID, CLIP, DINO and a vision-language model's verdict.

Their weights lie in folders or on the hub (`perceptual` of the configuration). Where they are absent the figure is
unavailable and says so, and beside it stands what the embedded embedder measures in its place, named as such.
"""

from viral.evaluation.perceptual.load import Loaded, load_measures
from viral.evaluation.perceptual.measure import Measure
from viral.evaluation.perceptual.metric import PERCEPTUAL, STAND_IN, PerceptualMetric

__all__ = ["PERCEPTUAL", "STAND_IN", "Loaded", "Measure", "PerceptualMetric", "load_measures"]
