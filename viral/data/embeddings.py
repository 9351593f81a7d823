"""The table of embeddings: what a CLIP sees in both pictures of every pair, and reads in its instruction."""

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from viral.config import RunConfig, fingerprint
from viral.data.annotators.weights import find_weights
from viral.data.images import pixels_of
from viral.data.mining import Vectors
from viral.data.pair_table import PairTable
from viral.data.shards import MadeShard, Pool, ShardWork, is_finished, make_shards
from viral.sampling.embedder import ClipEmbedder
from viral.schema import EMBEDDINGS
from viral.storage import Manifest, Shard, Storage
from viral.tasks import all_tasks

RECIPE = 1
BATCH = 64
"""Pictures of one pass."""
WORDS_KEPT = 65536
"""Instructions whose vectors an actor remembers."""


@dataclass(frozen=True)
class EmbeddingWork:
    """One shard of pairs, and its number."""

    shard: Shard
    number: int


def embed_pairs(config: RunConfig, pairs: PairTable) -> Manifest:
    """Embed every pair that has an instruction and whose task asks for mining into `storage`/embeddings, once; needs
    Ray. Others are counted."""
    storage, model = embeddings_place(config), config.mining.model()
    record = weights_record(model)
    key = fingerprint("embeddings", RECIPE, record["sha256"], [shard.sha256 for shard in pairs.manifest.shards])
    if (manifest := is_finished(storage, key)) is not None:
        return manifest
    plan = [
        ShardWork(shard.name.replace(".parquet", ".arrow"), shard.rows, EmbeddingWork(shard, number))
        for number, shard in enumerate(pairs.manifest.shards)
    ]
    notes = {"embedder": config.mining.embedder, "embedder sha256": str(record["sha256"])}
    wanted = Manifest(fingerprint=key, counts_in={"pairs": pairs.manifest.counts_out["rows"]}, notes=notes)
    tasks = frozenset(name for name, task in all_tasks(config.tasks).items() if task.meets == "mined")
    maker = partial(EmbeddingMaker, pairs, tasks, model, "cuda" if config.dataset.gpus else "cpu")
    pool = Pool(config.data.actors, config.dataset.gpus, config.nodes.data)
    return make_shards("embedding pairs", storage, wanted, plan, maker, pool)


class EmbeddingMaker:
    """Embeds the good pairs of a shard; equal instructions are read once."""

    def __init__(self, pairs: PairTable, tasks: frozenset[str], model: str, device: str) -> None:
        self._pairs, self._tasks, self._embedder = pairs, tasks, ClipEmbedder.load(model, device)
        self._words = lru_cache(WORDS_KEPT)(lambda text: self._embedder.words([text])[0])

    def __call__(self, work: EmbeddingWork) -> MadeShard:
        rows = self._pairs.read(work.shard).to_pylist()
        reasons = [self._reason(row) for row in rows]
        good = [number for number, reason in enumerate(reasons) if reason is None]
        vectors = [self._images([rows[number][side] for number in good]) for side in ("source", "target")]
        made = [
            self._row(rows[number], number, work.number, source, target)
            for number, source, target in zip(good, *vectors, strict=True)
        ]
        rejected = Counter(reason for reason in reasons if reason is not None)
        return MadeShard(_arrow(made), len(rows), dict(sorted(rejected.items())))

    def _reason(self, row: dict[str, Any]) -> str | None:
        """Why a pair is not embedded."""
        if row["error"] is not None:
            return "the pair has an error"
        if row["task"] not in self._tasks:
            return "pairs of the task meet without mining"
        return None if row["instruction"] else "the pair has no instruction"

    def _images(self, cells: list[dict[str, Any]]) -> list[Tensor]:
        pictures = [Image.fromarray(pixels_of(cell["bytes"])) for cell in cells]
        batches = [pictures[start : start + BATCH] for start in range(0, len(pictures), BATCH)]
        return [vector for batch in batches for vector in self._embedder(batch)]

    def _row(self, pair: dict[str, Any], row: int, shard: int, source: Tensor, target: Tensor) -> dict[str, Any]:
        plain = {name: pair[name] for name in ("pair_id", "split", "group", "instruction")}
        vectors = {"source": source, "target": target, "words": self._words(pair["instruction"])}
        return {**plain, **{name: _half(vector) for name, vector in vectors.items()}, "shard": shard, "row": row}


@dataclass(frozen=True)
class Embeddings:
    """All of the table: what names a pair, and its vectors in float16 beside one another."""

    rows: pa.Table
    vectors: Vectors

    def __len__(self) -> int:
        return self.rows.num_rows

    def take(self, numbers: np.ndarray) -> "Embeddings":
        """Those of the rows with these numbers."""
        at = torch.from_numpy(numbers)
        chosen = Vectors(*(getattr(self.vectors, name)[at] for name in ("sources", "targets", "words")))
        return Embeddings(self.rows.take(pa.array(numbers)), chosen)


def read_embeddings(storage: Storage, manifest: Manifest) -> Embeddings:
    """The finished table at `storage`; every shard is verified by its sha256."""
    columns = ("source", "target", "words")
    tables, blocks = [], {name: [] for name in columns}
    for shard in manifest.shards:
        with pa.memory_map(str(storage.local(shard.name, shard.sha256))) as file:
            table = pa.ipc.open_file(file).read_all()
            for name in columns:
                blocks[name].append(np.frombuffer(b"".join(table[name].to_pylist()), np.float16))
            tables.append(pa.Table.from_pylist(table.drop_columns(list(columns)).to_pylist(), _PLAIN))
    rows = pa.concat_tables(tables)
    return Embeddings(rows, Vectors(*(_matrix(blocks[name], rows.num_rows) for name in columns)))


def embeddings_place(config: RunConfig) -> Storage:
    """Where the embeddings of a run lie."""
    return Storage(config.storage).join("embeddings")


def weights_record(model: str) -> dict[str, str | None]:
    """Model, commit and sha256 of an embedder."""
    return find_weights(model).record


_PLAIN = pa.schema([field for field in EMBEDDINGS if field.name not in ("source", "target", "words")])


def _matrix(blocks: list[np.ndarray], rows: int) -> Float[Tensor, "n d"]:
    """The blocks as one matrix, freed as they are copied."""
    values = np.concatenate(blocks) if blocks else np.empty(0, np.float16)
    blocks.clear()
    return torch.from_numpy(values.reshape(rows, -1) if rows else values.reshape(0, 1))


def _half(vector: Tensor) -> bytes:
    return vector.to(torch.float16).cpu().numpy().tobytes()


def _arrow(rows: list[dict[str, Any]]) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, EMBEDDINGS) as writer:
        writer.write_table(pa.Table.from_pylist(rows, schema=EMBEDDINGS))
    return sink.getvalue().to_pybytes()
