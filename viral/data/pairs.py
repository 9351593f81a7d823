"""The table of pairs: every task rendered on every crop of every photograph."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import UInt8

from viral.config import RunConfig, fingerprint
from viral.data.crops import Box, crop_boxes, cut
from viral.data.images import decode
from viral.data.own_pairs import import_pairs, own_folder
from viral.data.pair_table import PairTable, count_errors, failed_row, good_row, open_pairs, pairs_parquet
from viral.data.photographs import PhotoFile, Photograph, Survey, count_reasons, photo_files, photographs
from viral.data.shards import MadeShard, Pool, ShardWork, is_finished, make_shards
from viral.data_config import TaskConfig
from viral.storage import Manifest, Storage
from viral.tasks import Labelled, all_tasks, find_tasks, own_key

RECIPE = 2
"""Raised when the same photograph and configuration shall give another pair."""


@dataclass(frozen=True)
class PairPlan:
    """One row to render: its bytes depend on nothing else."""

    task: str
    photo: Photograph
    box: Box
    size: int
    seed: int

    @property
    def pair_id(self) -> str:
        box = [self.box.left, self.box.top, self.box.side]
        what = [RECIPE, self.photo.pixels_sha256, box, self.size, self.task, self.seed]
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]


def generate_pairs(config: RunConfig) -> Manifest:
    """Render the pairs of `config` into `storage`/`pairs`, once; needs Ray unless they are there already.

    A row that cannot be rendered stays, with its `error`; a file that is no photograph is in the manifest with its
    reason. Pairs of your own are brought into the same form instead. `ValueError` for an unknown task, too few
    photographs or a place that cannot be written.
    """
    if own_folder(config) is not None:
        return load_pairs(config).manifest
    storage = Storage(config.storage).join(config.pairs)
    tasks, listing = find_tasks(config.data.tasks, config.tasks), photo_files(config)
    key = _fingerprint(config, listing.files)
    if (manifest := is_finished(storage, key)) is not None:
        print(f"pairs: {storage} is up to date, {manifest.counts_out['good']} pairs")
        return manifest
    survey = photographs(config, listing)
    crops = _crops(config, survey)
    rows = [PairPlan(task.name, photo, box, config.data.size, config.seed) for photo, box in crops for task in tasks]
    step = config.data.rows_per_shard
    plan = [
        ShardWork(f"shard-{i // step:05d}.parquet", len(rows[i : i + step]), rows[i : i + step])
        for i in range(0, len(rows), step)
    ]
    wanted = _wanted(config, key, survey, crops)
    maker, pool = partial(PairMaker, config.tasks), Pool(config.data.actors, nodes=config.nodes.data)
    return make_shards("rendering pairs", storage, wanted, plan, maker, pool)


def load_pairs(config: RunConfig) -> PairTable:
    """The table of pairs that `config.pairs` names: under `storage`, or a folder of your own brought into our form.

    Needs Ray the first time it meets a folder of your own. `ValueError` says what is missing or not understood.
    """
    folder = own_folder(config)
    return open_pairs(Storage(config.storage).join(config.pairs)) if folder is None else import_pairs(config, folder)


class PairMaker:
    """Renders the rows of a shard into Parquet; keeps the photographs it was last asked for.

    `own` are the configuration's own tasks.
    """

    def __init__(self, own: Mapping[str, TaskConfig] = MappingProxyType({})) -> None:
        self._tasks = all_tasks(own)
        self._pixels = lru_cache(maxsize=2)(_pixels)

    def __call__(self, work: list[PairPlan]) -> MadeShard:
        rows = [self._row(plan) for plan in work]
        return MadeShard(pairs_parquet(rows), len(rows), count_errors(rows))

    def _row(self, plan: PairPlan) -> dict[str, Any]:
        about = {
            "pair_id": plan.pair_id,
            "task": plan.task,
            "split": plan.photo.split,
            "source_id": plan.photo.source_id,
            "licence": plan.photo.licence,
        }
        pixels = self._pixels(plan.photo.file)  # a file that is gone ends the job: run again, it may be back
        box = [plan.box.left, plan.box.top, plan.box.side]
        try:
            rng = np.random.default_rng(int(plan.pair_id, 16))
            rendering = self._tasks[plan.task].pair(Labelled(cut(pixels, plan.box, plan.size)), rng)
        except Exception as error:  # noqa: BLE001 - the wrapper that turns a row's failure into its error
            params = {"photograph": plan.photo.file.name, "box": box}
            return failed_row(about, params, f"{plan.task} failed: {type(error).__name__}: {error}")
        return good_row(about, {"photograph": plan.photo.file.name, "box": box, **rendering.params}, rendering)


def _crops(config: RunConfig, survey: Survey) -> list[tuple[Photograph, Box]]:
    """All crops, those to train on first; one photograph's stand together, so that a shard needs few of them."""
    data = config.data
    apart = tuple(photo for photo in survey.photographs if photo.split == "test")
    others = tuple(photo for photo in survey.photographs if photo.split == "train")
    return crop_boxes(others, data.train_crops, data.size) + crop_boxes(apart, data.test_crops, data.size)


def _wanted(config: RunConfig, key: str, survey: Survey, crops: list[tuple[Photograph, Box]]) -> Manifest:
    """What the manifest says before the work is done."""
    data = config.data
    sources = {photo.source_id: photo.split for photo in survey.photographs}
    files = len(survey.photographs) + len(survey.rejected)
    notes = {f"rejected {name}": reason for name, reason in survey.rejected.items()}
    notes["sources held apart"] = ", ".join(sorted(source for source, split in sources.items() if split == "test"))
    if len(crops) < data.train_crops + data.test_crops:
        notes["crops"] = (
            f"{data.train_crops} + {data.test_crops} were asked for, the photographs have room for {len(crops)} "
            f"disjoint squares of at least {data.size} pixels"
        )
    return Manifest(
        fingerprint=key,
        counts_in={"files": files, "crops": len(crops), "rows": len(crops) * len(data.tasks)},
        counts_out={"photographs": len(survey.photographs), "sources": len(sources)},
        rejected=count_reasons(survey.rejected),
        notes=notes,
    )


def _fingerprint(config: RunConfig, files: tuple[PhotoFile, ...]) -> str:
    data = config.data.model_dump(mode="json", exclude={"actors"})
    own = [own_key(config.tasks)] if config.tasks else []
    found = [[file.name, file.sha256, file.source_id] for file in files]
    return fingerprint("pairs", RECIPE, data, config.seed, found, *own)


def _pixels(file: PhotoFile) -> UInt8[np.ndarray, "y x 3"]:
    return np.asarray(decode(file.read(), file.name))
