"""Answering and scoring some crops of one task in one way: the unit of work of an evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from viral.config import ModelConfig
from viral.data.images import encode_png
from viral.data.latents import LatentTable
from viral.data.pair_table import PairTable
from viral.data.shards import MadeShard
from viral.evaluation.answers import Image, free_answers, through_vae
from viral.evaluation.crops import Crop, Pictures, PictureTable
from viral.evaluation.metrics import METRICS
from viral.evaluation.painter import Painter, load_base, painter_of
from viral.evaluation.summary import ADAPTER, BEFORE, CEILING
from viral.model.adapter import load_adapter
from viral.model.backbone import Backbone
from viral.model.flux import FluxBackbone
from viral.model.roles import roles_of
from viral.storage import Storage, local_folder

FREE = "free"
KINDS = (BEFORE, ADAPTER, FREE)

CROPS = pa.schema(
    [
        ("row", pa.int64()),  # of the crop in the table of latents
        ("example", pa.int64()),  # row of its example
        ("pair_id", pa.string()),
        ("source_id", pa.string()),
        ("task", pa.string()),
        ("metric", pa.string()),
        ("values", pa.map_(pa.string(), pa.float64())),  # score by method
        ("output", pa.binary()),  # PNG of what the model painted; null for the free answers
    ]
)


@dataclass(frozen=True)
class Chunk:
    """Crops of one task to be answered in one way, one of `KINDS`."""

    kind: str
    task: str
    metric: str
    crops: tuple[Crop, ...]


@dataclass(frozen=True)
class Models:
    """What answers: a base, the place of an adapter, and how it paints."""

    base: str
    adapter: Storage
    steps: int
    device: str
    config: ModelConfig


class Scorer:
    """Makes the shard of a `Chunk`; keeps the model it used last. `means` are the mean targets by task."""

    def __init__(self, pairs: PairTable, latents: Storage, models: Models, means: dict[str, Image]) -> None:
        self._latents, self._models, self._means = LatentTable(latents), models, means
        self._pictures = PictureTable(pairs, self._latents)
        self._painter: Painter | None = None
        self._trained = False

    def __call__(self, work: Chunk) -> MadeShard:
        crops, painter = [self._pictures[crop.row] for crop in work.crops], self._load(work.kind == ADAPTER)
        if work.kind == FREE:
            answers = self._free(painter.backbone, work, crops)
        else:
            answers = {work.kind: self._paint(painter, work)}
        rows = [self._row(work, i, pictures, answers) for i, pictures in enumerate(crops)]
        return MadeShard(parquet(pa.Table.from_pylist(rows, schema=CROPS)), len(rows), {})

    def _row(self, work: Chunk, i: int, pictures: Pictures, answers: dict[str, list[Image]]) -> dict:
        crop, pair = work.crops[i], self._latents[work.crops[i].row]
        score = METRICS[work.metric]
        return {
            "row": crop.row,
            "example": crop.example,
            "pair_id": pair.pair_id,
            "source_id": pair.source_id,
            "task": work.task,
            "metric": work.metric,
            "values": [(name, score(images[i], pictures.target, pictures.mask)) for name, images in answers.items()],
            "output": None if work.kind == FREE else encode_png(answers[work.kind][i]),
        }

    def _free(
        self, backbone: Backbone | FluxBackbone, work: Chunk, crops: Sequence[Pictures]
    ) -> dict[str, list[Image]]:
        examples = [None if crop.alone else self._pictures[crop.example].target for crop in work.crops]
        mean = self._means[work.task]
        each = [free_answers(p.source, target, mean) for p, target in zip(crops, examples, strict=True)]
        raw = {name: [answers[name] for answers in each] for name in each[0]}
        seen = {f"{name}_vae": through_vae(backbone, images, self._models.device) for name, images in raw.items()}
        return {**raw, **seen, CEILING: through_vae(backbone, [p.target for p in crops], self._models.device)}

    def _paint(self, painter: Painter, work: Chunk) -> list[Image]:
        rows = [(self._latents[crop.example], self._latents[crop.row]) for crop in work.crops]
        return painter(rows, [crop.seed for crop in work.crops], self._models.steps)

    def _load(self, trained: bool) -> Painter:
        """The base with the adapter, or bare: an adapter starts as the identity, so bare is before training."""
        if self._painter is None or self._trained != trained:
            self._painter = None  # two large models would not fit beside each other
            backbone = load_base(self._models.base, self._models.device, self._models.config)
            self._painter, self._trained = self._adapted(backbone) if trained else self._bare(backbone), trained
        return self._painter

    def _bare(self, backbone: Backbone | FluxBackbone) -> Painter:
        return painter_of(backbone, self._latents.text)

    def _adapted(self, backbone: Backbone | FluxBackbone) -> Painter:
        assert backbone.transformer is not None
        with local_folder(self._models.adapter) as folder:
            card = load_adapter(backbone.transformer, folder)
        return painter_of(backbone, self._latents.text, card.context, roles_of(1, card.role_numbering, card.roles))


def parquet(table: pa.Table) -> bytes:
    """The table as Parquet bytes, the same for the same rows."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()
