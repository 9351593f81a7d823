"""A trained adapter becomes a version that can be served: registered once, and champion if its scores beat the last."""

import json
from dataclasses import asdict, dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float

from viral.config import RunConfig
from viral.evaluation.intervals import paired_interval
from viral.evaluation.metrics import HIGHER_IS_BETTER
from viral.evaluation.summary import ADAPTER, EvaluationSummary
from viral.model.adapter import adapter_sha256
from viral.storage import Storage, local_folder
from viral.tracking import Tracker, alias_version, register_version, run_of_version, set_alias
from viral.train.model_card import card_words

NAME, CHAMPION = "registration.json", "champion"
TABLE, SCORES = "scores.parquet", "evaluation"
"""The table of scores, and where a run keeps it."""
UNSCORED = "it has not been evaluated; run jobs/evaluate_adapter.py, then this again"

Key = tuple[str, str, str]
Values = dict[Key, float]
"""Scores by task, metric and pair."""


@dataclass(frozen=True)
class Registration:
    """A version of the registered model, and why it is or is not the champion."""

    model: str
    version: str
    adapter_sha256: str
    champion: bool
    reason: str

    def __str__(self) -> str:
        title = "is @champion" if self.champion else "is not @champion"
        return f"{self.model} version {self.version} {title}: {self.reason}"


def register_adapter(config: RunConfig, uri: str) -> Registration:
    """Register `storage`/adapter at the MLflow server `uri`; the same adapter again registers no new version.

    The first champion is an adapter whose training made more tasks better than worse; after it the alias moves to one
    that beats the champion by `tracking.score` on the same rows. `ValueError` where there is no adapter, no training
    run to take it from, or no such score.
    """
    storage = Storage(config.storage)
    with local_folder(storage.join("adapter")) as folder:
        sha256, description = adapter_sha256(folder), card_words(folder)
    if not storage.join("train").exists("done.json"):
        raise ValueError(
            f"{storage} holds no finished training run; run jobs/train_adapter.py with the same configuration"
        )
    run_id = json.loads(storage.join("train").read("done.json"))["run_id"]
    model, scores = config.tracking.model_name, _scores(storage)
    if scores is not None:
        Tracker(uri, run_id).log_file(TABLE, scores, SCORES)
    version = register_version(uri, model, run_id, sha256, description)
    reigning = alias_version(uri, model, CHAMPION)
    if reigning in (None, version):
        champion, reason = judge(_summary(storage))
        if reigning == version and not champion:
            champion, reason = True, f"promoted by hand; the rule is against it: {reason}"
    else:
        champion, reason = challenge(config, scores, _champions_scores(uri, model, reigning), f"version {reigning}")
    if champion and reigning != version:
        set_alias(uri, model, CHAMPION, version)
    result = Registration(model, version, sha256, champion, reason)
    data = json.dumps(asdict(result), indent=1).encode()
    if storage.exists(NAME) and storage.read(NAME) == data:
        return replace(result, reason=f"{reason} (as it was; nothing changed)")
    storage.write(NAME, data)
    return result


def judge(summary: EvaluationSummary | None) -> tuple[bool, str]:
    """Whether these scores make a first champion, and why."""
    if summary is None:
        return False, UNSCORED
    worse = [task.task for task in summary.tasks if task.against("before").high < 0]
    better = [task.task for task in summary.tasks if task.improved]
    if len(better) <= len(worse):
        return False, f"training made {_names(better)} better and {_names(worse)} worse, by paired intervals"
    return True, f"training made {_names(better)} better and {_names(worse)} worse"


def challenge(config: RunConfig, new: bytes | None, old: bytes | None, champion: str) -> tuple[bool, str]:
    """Whether one table of scores (`schema.SCORES`) beats the champion's by `tracking.score`, and why or why not.

    Both must hold the same rows, and the 95 % interval of the paired differences must lie above zero.
    """
    if new is None:
        return False, UNSCORED
    if old is None:
        return False, f"the champion, {champion}, keeps no scores to compare with; move the alias by hand, or score it"
    score, ours, theirs = config.tracking.score, _values(new), _values(old)
    known = sorted({task for task, _, _ in ours})
    if score != "all" and score not in known:
        raise ValueError(f"tracking.score is {score!r}, and the evaluation scored {_names(known)}; name one, or all")
    wanted = {key for key in ours | theirs if score in ("all", key[0])}
    if strange := sum((key in ours) != (key in theirs) for key in wanted):
        return False, (
            f"{champion} was scored on other rows ({strange} of {len(wanted)} are in one table alone); evaluate both "
            "on the same pairs"
        )
    differences = paired_differences(ours, theirs, wanted)
    interval = paired_interval(differences, config.evaluate.samples, config.seed)
    figures = f"{interval.mean:+.3g} [{interval.low:+.3g}, {interval.high:+.3g}] on {len(differences)} rows"
    what = "all tasks, in units of their spread" if score == "all" else f"{score}"
    return interval.low > 0, f"against {champion} by {what}: {figures}"


def paired_differences(ours: Values, theirs: Values, rows: set[Key]) -> Float[np.ndarray, " n"]:
    """By how much ours are better on each row; where the rows are of several tasks, over each task's spread."""
    tasks = sorted({key[0] for key in rows})
    parts = []
    for task in tasks:
        keys = sorted(key for key in rows if key[0] == task)
        sign = 1 if keys[0][1] in HIGHER_IS_BETTER else -1
        difference = sign * np.array([ours[key] - theirs[key] for key in keys])
        spread = np.std([theirs[key] for key in keys]) if len(tasks) > 1 else 1.0
        parts.append(difference / (spread or 1.0))
    return np.concatenate(parts)


def _values(table: bytes) -> Values:
    """The adapter's own scores by task, metric and row."""
    rows = pq.read_table(pa.BufferReader(table)).to_pylist()
    return {(row["task"], row["metric"], row["pair_id"]): row["value"] for row in rows if row["method"] == ADAPTER}


def _champions_scores(uri: str, model: str, version: str) -> bytes | None:
    return Tracker(uri, run_of_version(uri, model, version)).read_file(TABLE, SCORES)


def _names(tasks: list[str]) -> str:
    return ", ".join(tasks) or "nothing"


def _scores(storage: Storage) -> bytes | None:
    place = storage.join("evaluation")
    return place.read(TABLE) if place.exists(TABLE) else None


def _summary(storage: Storage) -> EvaluationSummary | None:
    place = storage.join("evaluation")
    return EvaluationSummary.model_validate_json(place.read("summary.json")) if place.exists("summary.json") else None
