"""From names of metrics to measures: each network loaded once, the embedded embedder where one is absent."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from viral.config import PerceptualConfig
from viral.data.annotators.talker import Talker
from viral.data.annotators.weights import find_weights
from viral.data_config import EMBEDDED_CLIP
from viral.evaluation.perceptual.cosine import CaptionCosine, ImageCosine, StepCosine
from viral.evaluation.perceptual.dino import DinoEmbedder
from viral.evaluation.perceptual.frechet import Frechet
from viral.evaluation.perceptual.inception import InceptionEmbedder
from viral.evaluation.perceptual.lpips import Lpips
from viral.evaluation.perceptual.measure import Measure
from viral.evaluation.perceptual.metric import PERCEPTUAL, STAND_IN, Network, PerceptualMetric
from viral.evaluation.perceptual.vlm import Rater, Verdict, VIERating
from viral.model.hub import local_folder
from viral.model.licences import licence_of
from viral.sampling.embedder import ClipEmbedder


@dataclass(frozen=True)
class Loaded:
    """A metric ready to measure; where its own weights are absent, by the embedded embedder."""

    metric: PerceptualMetric
    measure: Measure
    record: dict[str, Any]
    """What measured: model, revision, sha256 and licence of its weights."""
    absent: str | None = None
    """Why the metric's own weights are not there."""


LOADERS: dict[str, Callable[[Path, str], Any]] = {
    "lpips": Lpips.load,
    "fid": InceptionEmbedder.load,
    "clip": lambda folder, device: ClipEmbedder.load(str(folder), device),
    "dino": DinoEmbedder.load,
    "dinov2": DinoEmbedder.load,
}


def load_measures(names: Iterable[str], config: PerceptualConfig, device: str = "cpu") -> dict[str, Loaded]:
    """Measures by the names of their metrics, each network loaded once.

    Weights that are not configured, or are on the hub and out of reach, are absent. `ValueError` for an unknown name,
    a path that is no folder, and a folder that holds something else.
    """
    metrics = {name: _known(name) for name in names}
    networks = {network: _Network.load(network, config, device) for network in {m.network for m in metrics.values()}}
    embedded = _Network.embedded(device) if any(network.absent for network in networks.values()) else None
    loaded = {}
    for name, metric in metrics.items():
        own = networks[metric.network]
        if own.absent is None:
            loaded[name] = Loaded(metric, _measure(name, metric, own.model), own.record)
        else:
            assert embedded is not None
            loaded[name] = Loaded(metric, _stand_in(metric, embedded.model), embedded.record, own.absent)
    return loaded


@dataclass(frozen=True)
class _Network:
    """A loaded network, or why there is none."""

    model: Any = None
    record: dict[str, Any] = field(default_factory=dict)
    absent: str | None = None

    @classmethod
    def load(cls, network: Network, config: PerceptualConfig, device: str) -> "_Network":
        wanted = getattr(config, network)
        if not wanted:
            return cls(absent=f"perceptual.{network} names no weights")
        if network == "vlm":
            return cls._talker(Talker.model_validate(wanted), device)
        local_folder(wanted)  # what is neither a folder nor a hub id is a mistake rather than absent
        try:
            found = find_weights(wanted)
        except ValueError as error:
            return cls(absent=str(error))
        return cls(LOADERS[network](found.folder, device), {**found.record, "licence": str(licence_of(found.folder))})

    @classmethod
    def _talker(cls, talker: Talker, device: str) -> "_Network":
        try:
            record = talker.record()
        except ValueError as error:
            return cls(absent=str(error))
        return cls(Rater(talker.load(device).answer), record)

    @classmethod
    def embedded(cls, device: str) -> "_Network":
        found = find_weights(str(EMBEDDED_CLIP))
        return cls(ClipEmbedder.load(str(found.folder), device), {**found.record, "model": STAND_IN})


def _known(name: str) -> PerceptualMetric:
    if name not in PERCEPTUAL:
        raise ValueError(f"perceptual metrics are {', '.join(PERCEPTUAL)}; got {name!r}")
    return PERCEPTUAL[name]


def _measure(name: str, metric: PerceptualMetric, model: Any) -> Measure:
    """The metric by its own network."""
    if metric.network == "lpips":
        return model
    if metric.network == "fid":
        return Frechet(model)
    if metric.network == "vlm":
        return Verdict(model.answer) if name == "verdict" else VIERating(model, name.removeprefix("vie_"))
    return CaptionCosine(model) if metric.against == "caption" else ImageCosine(model, metric.against)


def _stand_in(metric: PerceptualMetric, embedder: ClipEmbedder) -> Measure:
    """What the embedded embedder measures in its place, as `PerceptualMetric.stand_in` says."""
    if metric.network == "fid":
        return Frechet(embedder)
    if metric.network == "vlm":
        return StepCosine(embedder)
    if metric.against == "caption":
        return CaptionCosine(embedder)
    return ImageCosine(embedder, metric.against, distance=metric.network == "lpips")
