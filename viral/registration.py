"""A trained adapter becomes a version that can be served: registered once, and champion if its scores allow."""

import json
from dataclasses import asdict, dataclass, replace

from viral.config import RunConfig
from viral.evaluation.summary import EvaluationSummary
from viral.model.adapter import adapter_sha256
from viral.storage import Storage
from viral.tracking import alias_version, register_version, set_alias

NAME, CHAMPION = "registration.json", "champion"


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

    The alias `champion` moves to it when the evaluation says that training made more tasks better than worse.
    `ValueError` where there is no adapter or no training run to take it from.
    """
    storage = Storage(config.storage)
    sha256 = adapter_sha256(storage.join("adapter").folder())
    if not storage.join("train").exists("done.json"):
        raise ValueError(
            f"{storage} holds no finished training run; run jobs/train_adapter.py with the same configuration"
        )
    run_id = json.loads(storage.join("train").read("done.json"))["run_id"]
    model = config.tracking.model_name
    version = register_version(uri, model, run_id, sha256)
    champion, reason = judge(_summary(storage))
    if champion and alias_version(uri, model, CHAMPION) != version:
        set_alias(uri, model, CHAMPION, version)
    result = Registration(model, version, sha256, champion, reason)
    data = json.dumps(asdict(result), indent=1).encode()
    if storage.exists(NAME) and storage.read(NAME) == data:
        return replace(result, reason=f"{reason} (as it was; nothing changed)")
    storage.write(NAME, data)
    return result


def judge(summary: EvaluationSummary | None) -> tuple[bool, str]:
    """Whether these scores make a champion, and why."""
    if summary is None:
        return False, "it has not been evaluated; run jobs/evaluate_adapter.py, then this again"
    worse = [task.task for task in summary.tasks if task.against("before").high < 0]
    better = [task.task for task in summary.tasks if task.improved]
    if len(better) <= len(worse):
        return False, f"training made {_names(better)} better and {_names(worse)} worse, by paired intervals"
    return True, f"training made {_names(better)} better and {_names(worse)} worse"


def _names(tasks: list[str]) -> str:
    return ", ".join(tasks) or "nothing"


def _summary(storage: Storage) -> EvaluationSummary | None:
    place = storage.join("evaluation")
    return EvaluationSummary.model_validate_json(place.read("summary.json")) if place.exists("summary.json") else None
