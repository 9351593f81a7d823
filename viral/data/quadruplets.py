"""The table of quadruplets A : A' :: B : B', row by row, and the stage that mines it from a table of pairs."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from viral.config import RunConfig, fingerprint
from viral.data.embeddings import Embeddings, embed_pairs, embeddings_place, read_embeddings
from viral.data.mining import Candidates, mine
from viral.data.pair_table import PairTable
from viral.data.pairs import load_pairs
from viral.data.shards import MadeShard, Pool, ShardWork, is_finished, make_shards
from viral.schema import QUADRUPLETS
from viral.storage import Manifest, Storage, read_manifest

RECIPE = 1
IMAGES = ("a", "a_prime", "b", "b_prime")
_FEW_VALUES = ["method", "split", "licence"]


@dataclass(frozen=True)
class MinedQuadruplet:
    """Where the two pairs of a quadruplet lie, shard and row of each, and how they compare."""

    a: tuple[int, int]
    b: tuple[int, int]
    scores: dict[str, float]


@dataclass(frozen=True)
class QuadrupletTable:
    """The quadruplets at `storage`, in `schema.QUADRUPLETS`."""

    storage: Storage
    manifest: Manifest

    def rows(self) -> Iterator[dict[str, Any]]:
        """All rows, shard by shard, each verified by its sha256."""
        for shard in self.manifest.shards:
            yield from pq.read_table(self.storage.local(shard.name, shard.sha256), schema=QUADRUPLETS).to_pylist()


def open_quadruplets(storage: Storage) -> QuadrupletTable:
    """The table at `storage`; `ValueError` if there is none, or it is not whole."""
    manifest = read_manifest(storage)
    if manifest is None or not manifest.complete:
        raise ValueError(
            f"quadruplets at {storage} are not there, or not all; run jobs/mine_quadruplets.py or "
            "jobs/synthesize_quadruplets.py with the same configuration"
        )
    return QuadrupletTable(storage, manifest)


def mine_quadruplets(config: RunConfig) -> Manifest:
    """Mine `storage`/quadruplets/mined from the pairs of `config`, once; needs Ray.

    Both pairs of a quadruplet are on one side of the split. `ValueError` if there are no pairs with instructions.
    """
    pairs = load_pairs(config)
    embedded = embed_pairs(config, pairs)
    storage = quadruplets_place(config, "mined")
    key = fingerprint("mined", RECIPE, embedded.fingerprint, config.mining, config.seed, config.data.rows_per_shard)
    if (manifest := is_finished(storage, key)) is not None:
        print(f"quadruplets: {storage} is up to date, {manifest.counts_out['good']} quadruplets")
        return manifest
    embeddings = read_embeddings(embeddings_place(config), embedded)
    found = [one for numbers in by_split(embeddings) for one in _mined(config, embeddings.take(numbers))]
    if not found:
        raise ValueError(
            f"no two of {len(embeddings)} pairs pass the filters; raise mining.most_alike, lower mining.least_words or "
            "mining.least_crossed, or make more pairs"
        )
    wanted = Manifest(fingerprint=key, counts_in={"pairs": len(embeddings)}, notes=embedded.notes)
    record = {"embedder": config.mining.embedder, "sha256": embedded.notes["embedder sha256"]}
    maker = partial(MinedMaker, pairs, record)
    return make_shards("writing quadruplets", storage, wanted, shard_plan(config, found), maker, _pool(config))


def by_split(embeddings: Embeddings) -> list[np.ndarray]:
    """Numbers of the rows of either side of the split that has two."""
    splits = np.array(embeddings.rows["split"].to_pylist())
    sides = [np.flatnonzero(splits == split) for split in sorted(set(splits))]
    return [side for side in sides if len(side) >= 2]


def _mined(config: RunConfig, embeddings: Embeddings) -> list[MinedQuadruplet]:
    found = mine(embeddings.vectors, config.mining, config.seed)
    places = list(zip(embeddings.rows["shard"].to_pylist(), embeddings.rows["row"].to_pylist(), strict=True))
    return [
        MinedQuadruplet(places[a], places[b], scores)
        for a, b, scores in zip(found.a.tolist(), found.b.tolist(), scores_of(found), strict=True)
    ]


def scores_of(found: Candidates) -> list[dict[str, float]]:
    """The cosines of every candidate, rounded so that they are the same wherever they are computed."""
    names = ("step", "alike", "words", "crossed")
    columns = [getattr(found, name).double().numpy().round(3).tolist() for name in names]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def shard_plan(config: RunConfig, rows: list) -> list[ShardWork]:
    """The rows in shards of `data.rows_per_shard`."""
    step = config.data.rows_per_shard
    return [
        ShardWork(f"shard-{start // step:05d}.parquet", len(rows[start : start + step]), rows[start : start + step])
        for start in range(0, len(rows), step)
    ]


class MinedMaker:
    """Copies the pictures of both pairs of every quadruplet from the table of pairs."""

    def __init__(self, pairs: PairTable, embedder: dict[str, str]) -> None:
        self._pairs, self._embedder = pairs, embedder
        self._shard = lru_cache(maxsize=16)(self._read)

    def __call__(self, work: list[MinedQuadruplet]) -> MadeShard:
        rows = [self._row(one) for one in work]
        return MadeShard(quadruplets_parquet(rows), len(rows), {})

    def _read(self, number: int) -> pa.Table:
        return self._pairs.read(self._pairs.manifest.shards[number])

    def _pair(self, place: tuple[int, int]) -> dict[str, Any]:
        return self._shard(place[0]).slice(place[1], 1).to_pylist()[0]

    def _row(self, one: MinedQuadruplet) -> dict[str, Any]:
        a, b = self._pair(one.a), self._pair(one.b)
        assert a["split"] == b["split"], "mining crossed the split"
        pictures = {"a": a["source"], "a_prime": a["target"], "b": b["source"], "b_prime": b["target"]}
        told = {name: [json.loads(pair[name] or "null") for pair in (a, b)] for name in ("params", "provenance")}
        about = {"pairs": [a["pair_id"], b["pair_id"]], **told, "embedder": self._embedder}
        return {
            "quadruplet_id": fingerprint("quadruplet", a["pair_id"], b["pair_id"]),
            "method": "mined",
            "split": a["split"],
            **sides(a, b),
            **pictures,
            "scores": json.dumps(one.scores, sort_keys=True),
            "provenance": json.dumps(about, sort_keys=True),
            "error": None,
        }


def sides(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    """The columns that a quadruplet has of either pair, and the licences of both."""
    named = {f"{side}_{key}": pair[key] for side, pair in (("a", a), ("b", b)) for key in ("source_id", "instruction")}
    return {**named, "licence": "; ".join(dict.fromkeys((a["licence"], b["licence"])))}


def quadruplets_parquet(rows: list[dict[str, Any]]) -> bytes:
    """Parquet bytes of rows of `schema.QUADRUPLETS`, in small row groups."""
    sink = pa.BufferOutputStream()
    table = pa.Table.from_pylist(rows, schema=QUADRUPLETS)
    # PNGs are compressed already
    pq.write_table(table, sink, row_group_size=50, compression="none", use_dictionary=_FEW_VALUES)
    return sink.getvalue().to_pybytes()


def quadruplets_place(config: RunConfig, method: str) -> Storage:
    """Where the quadruplets of a method lie: `mined` or `synthesised`."""
    return Storage(config.storage).join("quadruplets", method)


def _pool(config: RunConfig) -> Pool:
    return Pool(config.data.actors, nodes=config.nodes.data)
