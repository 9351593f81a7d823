"""The evaluation of an adapter: on photographs kept apart, against answers that cost nothing and its untrained self."""

import json
import time
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from viral.config import RunConfig, fingerprint
from viral.data.images import pixels_of
from viral.data.latents import LatentTable
from viral.data.pair_table import PairTable
from viral.data.pairs import load_pairs
from viral.data.shards import Pool, ShardWork, make_shards
from viral.evaluation.answers import mean_images
from viral.evaluation.crops import Crop, PictureTable, choose_crops
from viral.evaluation.gallery import PANELS, TOLD, compose, pick
from viral.evaluation.scorer import KINDS, Chunk, Models, Scorer, local_folder, parquet
from viral.evaluation.summary import ADAPTER, BEFORE, EvaluationSummary, Picture, TaskSummary, score_table, summarise
from viral.model.adapter import adapter_sha256, read_card
from viral.model.architecture import is_fill
from viral.model.backbone import base_hash
from viral.schema import SCORES
from viral.storage import Manifest, Storage
from viral.tasks import Task, describe_task

RECIPE = 2
"""Raised when the same adapter and tables shall give other figures."""
SUMMARY, TABLE, TRAINED = "summary.json", "scores.parquet", "done.json"
CONSOLE_WIDTH = 140


def evaluate_adapter(config: RunConfig) -> EvaluationSummary:
    """Score the adapter of `config` under `storage`/evaluation, once; needs Ray unless it is there already.

    Every method answers the same crops with the same examples, before and after training also from the same noise.
    `ValueError` without latents or an adapter, if they stand on another base, or if no task has pairs on both sides
    of the split. A task with fewer than 40 crops is scored, and its summary says how many there were.
    """
    storage = Storage(config.storage)
    place, adapter = storage.join("evaluation"), storage.join("adapter")
    latents, pairs = LatentTable(storage.join(config.latents)), load_pairs(config)
    with local_folder(adapter) as folder:
        card, sha256 = read_card(folder), adapter_sha256(folder)
    key = _fingerprint(config, sha256, latents.manifest, pairs.manifest)
    if (found := _finished(place, key)) is not None:
        print(f"evaluation: {place} is up to date, {len(found.tasks)} tasks")
        return found
    _check_base(config, card.base_sha256)
    device = "cuda" if config.train.gpus else "cpu"
    models = Models(_absolute(config.base_folder()), adapter, config.evaluate.steps, device, config.model)
    rows = _score(config, key, pairs, latents, models)
    return _conclude(config, key, rows, PictureTable(pairs, latents))


def _score(config: RunConfig, key: str, pairs: PairTable, latents: LatentTable, models: Models) -> list[dict]:
    """Rows of all chunks, those that are there already kept."""
    crops, shards = _crops(config, latents), Storage(config.storage).join("evaluation", "shards")
    means, masked = _survey(pairs)
    metrics = {name: _metric(describe_task(name, config.tasks), name in masked) for name in crops}
    manifest = make_shards(
        "painting and scoring",
        shards,
        Manifest(fingerprint=key, counts_in={"crops": sum(map(len, crops.values()))}),
        _plan(config, crops, metrics),
        partial(Scorer, pairs, latents.storage, models, means),
        Pool(config.data.actors, float(config.train.gpus), config.nodes.data),
    )
    tables = [pq.read_table(shards.local(shard.name, shard.sha256)) for shard in manifest.shards]
    return pa.concat_tables(tables).to_pylist()


def _conclude(config: RunConfig, key: str, rows: list[dict], table: PictureTable) -> EvaluationSummary:
    """Write scores, gallery and, as the last thing, the summary."""
    place = Storage(config.storage).join("evaluation")
    scores = _scores(rows)
    place.write(TABLE, parquet(scores))
    summaries = summarise(scores, config.evaluate.samples, config.seed)
    shown = []
    for task in summaries:
        said = describe_task(task.task, config.tasks).instruction
        pictures = _gallery(place.join("gallery"), task, rows, table, said)
        shown.append(task.model_copy(update={"pictures": pictures}))
    summary = EvaluationSummary(fingerprint=key, steps=config.evaluate.steps, tasks=tuple(shown))
    _track(config, summary)
    place.write(SUMMARY, (summary.model_dump_json(indent=1) + "\n").encode())
    console = Console()
    Console(width=max(console.width, CONSOLE_WIDTH)).print(score_table(shown))
    return summary


def _track(config: RunConfig, summary: EvaluationSummary) -> None:
    """Log scores and gallery to a run of their own, and the adapter's scores beside the curves of the run that trained
    it, if one is known; an outage of the tracker is only told.
    """
    train = Storage(config.storage).join("train")
    if not train.exists(TRAINED):
        return
    from viral.tracking import Tracker, TrackerAway, tracked, tracking_server  # takes seconds, needed only here

    trained = json.loads(train.read(TRAINED))
    line = {"step": trained["steps"], "time": time.time()}
    try:
        with tracking_server(config) as uri:
            tracker = Tracker.open(uri, config, trained["run_id"], "evaluation")
            tracker.log_lines([line | summary.headline()])
            tracker.finish()
            with tracked(uri, config, "evaluate") as own:
                place, latents = (Storage(config.storage).join(name) for name in ("evaluation", config.latents))
                own.log_lines([line | summary.figures()])
                own.log_dataset("latents", latents, LatentTable(latents).manifest, "evaluation")
                own.log_file(TABLE, place.read(TABLE), "scores")
                for name in place.join("gallery").list():
                    own.log_file(name, place.join("gallery").read(name), "gallery")
    except TrackerAway as error:
        print(f"the scores are in {config.storage}/evaluation but not in MLflow: {error}")


def _gallery(
    place: Storage, task: TaskSummary, rows: list[dict], table: PictureTable, instruction: str | None
) -> tuple[Picture, ...]:
    """Strips of the best, the median and the worst crop of a task."""
    after = [row for row in rows if row["task"] == task.task and ADAPTER in dict(row["values"])]
    before = {row["row"]: row["output"] for row in rows if BEFORE in dict(row["values"])}
    values = [dict(row["values"])[ADAPTER] for row in after]
    pictures = []
    for rank, i in pick(values, task.higher_is_better).items():
        row, name = after[i], f"{task.task}-{rank}.png"
        crop, told = table[row["row"]], row["example"] == row["row"]
        example = () if told else (table[row["example"]].source, table[row["example"]].target)
        outputs = (pixels_of(before[row["row"]]), pixels_of(row["output"]))
        place.write(name, compose(np.stack([*example, crop.source, *outputs, crop.target])))
        about = {"panels": TOLD, "instruction": crop.instruction or instruction} if told else {"panels": PANELS}
        pictures.append(
            Picture(rank=rank, pair_id=row["pair_id"], source_id=row["source_id"], score=values[i], file=name, **about)
        )
    return tuple(pictures)


def _scores(rows: list[dict]) -> pa.Table:
    """The rows of all chunks as `schema.SCORES`, by task, crop and method."""
    flat = [
        {**{name: row[name] for name in ("pair_id", "source_id", "task", "metric")}, "method": method, "value": value}
        for row in sorted(rows, key=lambda row: (row["task"], row["row"]))
        for method, value in row["values"]
    ]
    return pa.Table.from_pylist(flat, schema=SCORES)


def _plan(config: RunConfig, crops: dict[str, tuple[Crop, ...]], metrics: dict[str, str]) -> list[ShardWork]:
    """Chunks of `evaluate.batch_size` crops, always cut alike; those of one model together, so it is loaded once."""
    step = config.evaluate.batch_size
    return [
        ShardWork(
            f"shard-{kind}-{task}-{start // step:05d}.parquet",
            len(chosen[start : start + step]),
            Chunk(kind, task, metrics[task], chosen[start : start + step]),
        )
        for kind in KINDS
        for task, chosen in crops.items()
        for start in range(0, len(chosen), step)
    ]


def _crops(config: RunConfig, latents: LatentTable) -> dict[str, tuple[Crop, ...]]:
    alone = is_fill(config.base_folder(), config.model)
    crops = {task: choose_crops(latents, task, config.seed, alone) for task in latents.tasks}
    scored = {task: chosen for task, chosen in crops.items() if chosen}
    if not scored:
        raise ValueError(
            f"no task of {latents.storage} has pairs on both sides of the split, so nothing can be scored; "
            "give pairs of more photographs, or mark some rows with split=test"
        )
    return scored


def _survey(pairs: PairTable) -> tuple[dict[str, np.ndarray], set[str]]:
    """The mean target of each task over the pairs trained on, and the tasks whose scored pairs all have a mask."""
    means = mean_images((row["task"], pixels_of(row["target"]["bytes"])) for row in pairs.rows("train"))
    tasks, without = set(), set()
    for row in pairs.rows("test"):
        tasks.add(row["task"])
        if row["mask"] is None:
            without.add(row["task"])
    return means, tasks - without


def _metric(task: Task, masked: bool) -> str:
    """The task's own metric; PSNR for pairs of one's own that lack the masks it needs."""
    return task.metric if masked or task.metric != "masked_error" else "psnr"


def _finished(place: Storage, key: str) -> EvaluationSummary | None:
    if not place.exists(SUMMARY):
        return None
    found = EvaluationSummary.model_validate_json(place.read(SUMMARY))
    files = {picture.file for task in found.tasks for picture in task.pictures}
    whole = found.fingerprint == key and place.exists(TABLE) and files <= set(place.join("gallery").list())
    return found.model_copy(update={"skipped": True}) if whole else None


def _absolute(base: str) -> str:
    """A base folder with its whole path, as workers start in a folder of their own; a hub id as it is."""
    return str(Path(base).resolve()) if Path(base).is_dir() else base


def _check_base(config: RunConfig, expected: str) -> None:
    found = base_hash(config.base_folder(), config.model)
    if found != expected:
        raise ValueError(
            f"the adapter under {config.storage} was trained on a base with hash {expected[:12]}, base={config.base} "
            f"has {found[:12]}; evaluate it with its own base or train it anew"
        )


def _fingerprint(config: RunConfig, adapter: str, *tables: Manifest) -> str:
    hashes = [shard.sha256 for table in tables for shard in table.shards]
    base = base_hash(config.base_folder(), config.model)
    return fingerprint("evaluation", RECIPE, config.evaluate, config.seed, adapter, hashes, base)
