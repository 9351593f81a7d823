"""The dataset's three stages, each a table of shards: pictures of the sources, labels of the annotators, pairs.

Every stage can be stopped and run again, and none depends on how many actors there were.
"""

import json
from collections import Counter
from dataclasses import dataclass
from functools import partial
from math import ceil

from viral.config import RunConfig, fingerprint
from viral.data.annotators import Annotator
from viral.data.annotators.registry import build_annotators
from viral.data.dataset_stages import ImageMaker, ImageWork, LabelMaker, PairWork, PartPairMaker, Placed
from viral.data.duplicates import Link, count_links, find_links, moved_sources, read_looks, write_links
from viral.data.pair_table import CONFIGURATION
from viral.data.pairs import generate_pairs
from viral.data.shards import Pool, ShardWork, is_finished, make_shards
from viral.data.sources import Item, Source, build_sources, split_of
from viral.data.sources.registry import read_described
from viral.data_config import PartConfig
from viral.storage import Manifest, Storage
from viral.tasks import Task, find_tasks, own_key

RECIPE = 2
"""Raised when the same configuration shall give other rows."""
LEAST = 4
"""Pictures of a part, however small the scale: an analogy takes two, on either side of the split."""


@dataclass(frozen=True)
class Part:
    """One part of the mixture, its names looked up."""

    name: str
    config: PartConfig
    source: Source
    annotators: dict[str, Annotator]
    tasks: tuple[Task, ...]

    def count(self, scale: float) -> int:
        """Pictures at a scale."""
        return max(LEAST, ceil(self.config.images * scale))

    @property
    def needs(self) -> frozenset[str]:
        """The labels that its tasks read."""
        return frozenset(label for task in self.tasks for label in task.needs)


def make_dataset(config: RunConfig) -> Manifest:
    """Make the pairs of `config.dataset` in `storage`/`pairs`, once; needs Ray.

    A picture that cannot be read, labelled or rendered for a task stays as a row with its `error`; one that looks like
    a picture kept apart is kept apart as well. `ValueError` for a description that makes no sense, before anything is
    made.
    """
    parts = find_parts(config)
    Storage(config.storage).sweep()
    items = {part.name: _items(config, part) for part in parts}
    images = {part.name: _make_images(config, part, items[part.name]) for part in parts}
    labels = {part.name: _make_labels(config, part, images[part.name]) for part in parts if part.annotators}
    links = find_links([look for part in parts for look in read_looks(_images(config, part), images[part.name])])
    write_links(Storage(config.storage).join("images"), links)
    return _make_pairs(config, parts, images, labels, links)


def make_pairs(config: RunConfig) -> Manifest:
    """The pairs that `config` trains on, made unless they are there: of `dataset.parts` where it has any, else of
    photographs or a folder of your own.
    """
    return make_dataset(config) if config.dataset.parts else generate_pairs(config)


def task_names(config: RunConfig) -> set[str] | None:
    """The tasks of the pairs that `make_pairs` would give; none where the table that is named says them itself."""
    if config.dataset.parts:
        return {task for part in config.dataset.parts.values() for task in part.tasks}
    return set(config.data.tasks) if config.pairs == "pairs" else None


def find_parts(config: RunConfig) -> list[Part]:
    """The parts with their sources, annotators and tasks; `ValueError` names what is not there."""
    dataset = config.dataset
    if not dataset.parts:
        raise ValueError("dataset.parts is empty; describe at least one, see jobs/configs/dataset_viral.yaml")
    sources, annotators = build_sources(dataset.sources), build_annotators(dataset.annotators)
    twice = Counter((part.source, task) for part in dataset.parts.values() for task in part.tasks)
    if repeated := [f"{task} of {source}" for (source, task), count in twice.items() if count > 1]:
        raise ValueError(f"dataset.parts: {', '.join(repeated)} is asked for twice; the pairs would be the same")
    return [_find_part(config, name, sources, annotators) for name in dataset.parts]


def _find_part(config: RunConfig, name: str, sources: dict[str, Source], annotators: dict[str, Annotator]) -> Part:
    """One part, with those of its annotators whose labels its source does not give already."""
    described, key = config.dataset.parts[name], f"dataset.parts.{name}"
    if described.source not in sources:
        raise ValueError(f"{key}.source: there is no source {described.source!r} among {', '.join(sources)}")
    if unknown := sorted(set(described.annotators) - set(annotators)):
        raise ValueError(f"{key}.annotators: there is no {', '.join(unknown)} among {', '.join(annotators)}")
    source = sources[described.source]
    chain = {one: annotators[one] for one in described.annotators}
    chain = {one: found for one, found in chain.items() if not found.gives or not source.gives.issuperset(found.gives)}
    part = Part(name, described, source, chain, find_tasks(described.tasks, config.tasks))
    added = {label for annotator in chain.values() for label in annotator.gives}
    if missing := sorted(part.needs - source.gives - added - ({"entities"} if "masks" in added else set())):
        raise ValueError(
            f"{key}: its tasks need {', '.join(missing)}, which neither the source {described.source} nor an annotator "
            "of the part gives; take another source, or add annotators"
        )
    return part


def _items(config: RunConfig, part: Part) -> list[Item]:
    """What the source shall yield: pictures that have what tasks read, as far as it lies with the source."""
    added = {label for annotator in part.annotators.values() for label in annotator.gives}
    return part.source.items(part.count(config.dataset.scale), config.seed, (part.needs & part.source.gives) - added)


def _make_images(config: RunConfig, part: Part, items: list[Item]) -> Manifest:
    """Pictures of a part with the labels that the source knows, fitted to `data.size`."""
    storage, data = _images(config, part), config.data
    described = part.source.model_dump(mode="json")
    listed = [[item.id, item.source_id] for item in items]
    key = fingerprint("images", RECIPE, described, data.size, data.rows_per_shard, config.seed, listed)
    if (manifest := is_finished(storage, key)) is not None:
        return manifest
    placed = [_place(config, part, described, item) for item in items]
    plan = [
        ShardWork(f"shard-{i // data.rows_per_shard:05d}.parquet", len(rows), ImageWork(rows, data.size))
        for i in range(0, len(placed), data.rows_per_shard)
        if (rows := placed[i : i + data.rows_per_shard])
    ]
    notes = {"source": part.config.source}
    if len(items) < part.count(config.dataset.scale):
        notes["pictures"] = f"{part.count(config.dataset.scale)} were asked for, the source has {len(items)}"
    wanted = Manifest(fingerprint=key, counts_in={"pictures": len(items)}, notes=notes)
    maker = partial(ImageMaker, part.source, _device(config))
    return make_shards(f"{part.name}: pictures", storage, wanted, plan, maker, _pool(config))


def _make_labels(config: RunConfig, part: Part, images: Manifest) -> Manifest:
    """Labels of a part's annotators, row by row beside its pictures."""
    storage = _labels(config, part)
    records = {name: annotator.record() for name, annotator in part.annotators.items()}
    described = {name: annotator.model_dump(mode="json") for name, annotator in part.annotators.items()}
    key = fingerprint("labels", RECIPE, records, described, [shard.sha256 for shard in images.shards])
    if (manifest := is_finished(storage, key)) is not None:
        return manifest
    plan = [ShardWork(shard.name, shard.rows, shard) for shard in images.shards]
    wanted = Manifest(fingerprint=key, counts_in={"pictures": images.counts_out["rows"]})
    maker = partial(LabelMaker, _images(config, part), part.annotators, records, _device(config))
    return make_shards(f"{part.name}: labels", storage, wanted, plan, maker, _pool(config))


def _make_pairs(
    config: RunConfig, parts: list[Part], images: dict[str, Manifest], labels: dict[str, Manifest], links: list[Link]
) -> Manifest:
    """Every task of a part on every picture of it, all parts in one table."""
    storage = Storage(config.storage).join(config.pairs)
    beside = {name: {shard.name: shard for shard in manifest.shards} for name, manifest in labels.items()}
    work = [
        PairWork(part.config.tasks, _images(config, part), shard, _labels(config, part), found.get(shard.name))
        for part in parts
        for found in [beside.get(part.name, {})]
        for shard in images[part.name].shards
    ]
    listed = [[list(one.tasks), one.shard.sha256, one.labels and one.labels.sha256] for one in work]
    own, marks, moved = own_key(config.tasks), _listing(config.dataset.watermarks), moved_sources(links)
    key = fingerprint("dataset pairs", RECIPE, listed, own, marks, sorted(moved), config.seed)
    if (manifest := is_finished(storage, key)) is not None:
        print(f"pairs: {storage} is up to date, {manifest.counts_out['good']} pairs")
        return manifest
    plan = [ShardWork(f"shard-{i:05d}.parquet", one.shard.rows * len(one.tasks), one) for i, one in enumerate(work)]
    wanted = Manifest(
        fingerprint=key,
        counts_in={"pictures": sum(one.shard.rows for one in work), "rows": sum(item.rows for item in plan)},
        notes={f"{name}: {key}": value for name, made in images.items() for key, value in made.notes.items()}
        | {f"alike pictures, {kind}": str(count) for kind, count in count_links(links).items()}
        | {"sources moved to the test side": str(len(moved)), CONFIGURATION: _description(config)},
    )
    maker = partial(PartPairMaker, config.seed, config.tasks, config.dataset.watermarks, moved)
    pool = Pool(config.data.actors, nodes=config.nodes.data)
    return make_shards("rendering pairs", storage, wanted, plan, maker, pool)


def _description(config: RunConfig) -> str:
    """The part of the configuration that says what the pairs are, as JSON."""
    said = config.model_dump(mode="json", include={"dataset": True, "data": {"size"}, "tasks": True, "seed": True})
    used = {part.source for part in config.dataset.parts.values()}
    sources = read_described("dataset.sources", config.dataset.sources)
    said["dataset"]["sources"] = {name: described for name, described in sources.items() if name in used}
    return json.dumps(said)


def _place(config: RunConfig, part: Part, described: dict, item: Item) -> Placed:
    split = split_of(item.source_id, config.seed, config.dataset.test_share)
    image_id = fingerprint("image", RECIPE, described, item.id, config.data.size)
    return Placed(part.config.source, item, image_id, split, item.licence or part.source.licence)


def _images(config: RunConfig, part: Part) -> Storage:
    return Storage(config.storage).join("images", part.name)


def _labels(config: RunConfig, part: Part) -> Storage:
    return Storage(config.storage).join("labels", part.name)


def _pool(config: RunConfig) -> Pool:
    return Pool(config.data.actors, config.dataset.gpus, config.nodes.data)


def _device(config: RunConfig) -> str:
    return "cuda" if config.dataset.gpus else "cpu"


def _listing(folder: str | None) -> list[str] | None:
    return None if folder is None else Storage(folder).walk()
