"""A table made shard by shard with Ray Data: killed at any moment and run again, it ends with the same bytes."""

import logging
import pickle
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from viral.progress import progress
from viral.storage import Manifest, Shard, Storage, describe_shard, is_intact, read_manifest, write_manifest


@dataclass(frozen=True)
class ShardWork:
    """What one shard is made of: everything its bytes depend on."""

    name: str
    rows: int
    work: Any
    """Handed to the maker; pickled, so small."""


@dataclass(frozen=True)
class MadeShard:
    """The bytes of a shard, its rows, and how many of them have no result, by reason."""

    data: bytes
    rows: int
    rejected: dict[str, int]


Maker = Callable[[Any], MadeShard]
"""Turns `ShardWork.work` into a shard, alike on every node and at every time."""


@dataclass(frozen=True)
class Pool:
    """The Ray Data actors of a stage."""

    actors: int
    gpus: float = 0.0
    """GPUs of one actor."""
    nodes: Mapping[str, str] = field(default_factory=dict)
    """Labels of the nodes that actors run on."""


def make_shards(
    what: str, storage: Storage, wanted: Manifest, plan: Sequence[ShardWork], maker: Callable[[], Maker], pool: Pool
) -> Manifest:
    """Bring the table at `storage` to `plan`: intact shards of the same fingerprint stay, the rest is made anew.

    `wanted` carries the fingerprint and what is known before the work; `maker` builds an actor's Maker. The table has
    one writer at a time. Shards are committed as they come, in any order, each with its entry in the manifest.
    """
    storage.sweep()
    done = _kept(storage, wanted.fingerprint, plan)
    missing = [item for item in plan if item.name not in done]
    with progress(what, sum(item.rows for item in plan), sum(shard.rows for shard in done.values())) as advance:
        if missing:
            for name, made in _made(missing, maker, pool):
                storage.write(name, made.data)
                done[name] = describe_shard(name, made.rows, made.data, made.rejected)
                write_manifest(storage, wanted.model_copy(update={"shards": _ordered(done)}))
                advance(made.rows)
    return _finish(storage, wanted, plan, done)


def is_finished(storage: Storage, fingerprint: str) -> Manifest | None:
    """The table's manifest if it is whole and was made from the same inputs, else none."""
    manifest = read_manifest(storage)
    if manifest is None or not manifest.complete or manifest.fingerprint != fingerprint:
        return None
    return manifest if all(is_intact(storage, shard) for shard in manifest.shards) else None


def _kept(storage: Storage, fingerprint: str, plan: Sequence[ShardWork]) -> dict[str, Shard]:
    """Shards that stay; whatever else a former run left in the table goes, its manifest first."""
    manifest = read_manifest(storage)
    known = manifest.shards if manifest is not None and manifest.fingerprint == fingerprint else ()
    planned = {item.name for item in plan}
    kept = {shard.name: shard for shard in known if shard.name in planned and is_intact(storage, shard)}
    if manifest is not None and len(kept) < len(manifest.shards):
        write_manifest(storage, Manifest(fingerprint=fingerprint, shards=_ordered(kept)))
    for name in storage.list():
        if name.startswith("shard-") and name not in kept:
            storage.delete(name)
    return kept


def _finish(storage: Storage, wanted: Manifest, plan: Sequence[ShardWork], done: dict[str, Shard]) -> Manifest:
    absent = [item.name for item in plan if item.name not in done]
    assert not absent, f"shards {absent} never came back from Ray Data"
    rejected = Counter(wanted.rejected)
    for shard in done.values():
        rejected.update(shard.rejected)
    good = sum(shard.rows - sum(shard.rejected.values()) for shard in done.values())
    update = {
        "complete": True,
        "shards": _ordered(done),
        "counts_out": {**wanted.counts_out, "rows": sum(shard.rows for shard in done.values()), "good": good},
        "rejected": dict(sorted(rejected.items())),
    }
    manifest = wanted.model_copy(update=update)
    if read_manifest(storage) != manifest:
        write_manifest(storage, manifest)
    return manifest


def _ordered(done: dict[str, Shard]) -> tuple[Shard, ...]:
    return tuple(done[name] for name in sorted(done))


def _made(missing: list[ShardWork], maker: Callable[[], Maker], pool: Pool) -> Iterator[tuple[str, MadeShard]]:
    """Names and shards in the order of arrival; `ValueError` where a maker met bad input."""
    import ray
    import ray.data

    logging.getLogger("ray.data").setLevel(logging.ERROR)  # our own bar tells how far it is
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    actors = min(pool.actors, len(missing))
    items = [{"item": pickle.dumps(item)} for item in missing]
    made = ray.data.from_items(items, override_num_blocks=len(missing)).map_batches(
        _Actor,
        fn_constructor_args=(maker,),
        batch_size=1,
        batch_format="numpy",
        compute=ray.data.ActorPoolStrategy(size=actors),
        num_cpus=_processors(actors, pool.nodes),
        num_gpus=pool.gpus,
        label_selector=dict(pool.nodes) or None,
    )
    for batch in made.iter_batches(batch_size=1, batch_format="pyarrow"):
        row = batch.to_pylist()[0]
        if row["failure"] is not None:
            raise ValueError(row["failure"])
        yield row["name"], MadeShard(row["data"], row["rows"], dict(zip(row["reasons"], row["counts"], strict=True)))


def _processors(actors: int, nodes: Mapping[str, str]) -> float:
    """CPUs of one actor: one, or its share of the nodes' where they have fewer."""
    import ray

    there = sum(
        node["Resources"].get("CPU", 0)
        for node in ray.nodes()
        if node["Alive"] and nodes.items() <= node["Labels"].items()
    )
    # With whole CPUs for its actors a stage starves its own read task on two cores, and waits for ever. Where there is
    # no CPU yet, the autoscaler is asked for whole ones.
    return max(0.1, min(1.0, (there - 1) / actors)) if there else 1.0


class _Actor:
    """One Ray Data actor: builds its Maker once; one thread, as bytes must not depend on how many there are."""

    def __init__(self, maker: Callable[[], Maker]) -> None:
        import cv2

        cv2.setNumThreads(1)
        self._make = maker()
        if "torch" in sys.modules:  # a maker without torch need not wait for its import
            sys.modules["torch"].set_num_threads(1)

    def __call__(self, batch: dict[str, Any]) -> pa.Table:
        item = pickle.loads(batch["item"][0])
        try:
            return _reply(item.name, self._make(item.work), None)
        except ValueError as error:  # bad input: its message reaches the user without a stack of Ray's
            return _reply(item.name, MadeShard(b"", 0, {}), str(error))


def _reply(name: str, made: MadeShard, failure: str | None) -> pa.Table:
    columns = {
        "name": pa.array([name]),
        "data": pa.array([made.data], pa.large_binary()),
        "rows": pa.array([made.rows]),
        "reasons": pa.array([list(made.rejected)], pa.list_(pa.string())),
        "counts": pa.array([list(made.rejected.values())], pa.list_(pa.int64())),
        "failure": pa.array([failure], pa.string()),
    }
    return pa.table(columns)
