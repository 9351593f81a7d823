"""What a training run is: the part of the configuration and the data that decide what is learnt."""

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from viral.config import RunConfig, fingerprint
from viral.model.adapter import adapter_sha256
from viral.model.adapter_files import check_base, read_card
from viral.model.architecture import is_fill
from viral.model.backbone import base_hash
from viral.storage import Manifest, Storage, local_folder, read_manifest

NAME = "run.json"
LEARNT = (
    "steps", "batch_size", "learning_rate", "warmup", "cooldown", "weight_decay", "clip", "weigh_edits",
    "time_shift", "context", "role_numbering", "targets", "optimizer", "time_law", "time_weighting", "text", "prompt",
    "prompt_dropout", "loss_on", "ema", "roles", "tasks", "weights",
)  # fmt: skip
"""Fields of `train` that decide what the adapter is; workers, ZeRO stage and the rest may change during a run."""
SHAPE = (
    "rank", "num_experts", "expert_rank", "placement", "text_stream", "targets", "expert_targets", "ranks", "alpha",
    "expert_alpha",
)  # fmt: skip
"""Fields of `adapter` in which one adapter has to equal another to take over its weights."""


@dataclass(frozen=True)
class Run:
    """The inputs of a run, flat, as people compare them."""

    inputs: dict[str, Any]
    base_sha256: str
    data: Manifest

    @property
    def fingerprint(self) -> str:
        """Equal for runs that learn the same."""
        return fingerprint(self.inputs)


def describe_run(config: RunConfig) -> Run:
    """What `config` would train; `ValueError` where its latents or its base are missing."""
    check_method(config)
    latents = Storage(config.storage).join(config.latents)
    manifest = read_manifest(latents)
    if manifest is None or not manifest.complete:
        raise ValueError(f"latents at {latents} are not all there; run jobs/encode_dataset.py first")
    shards = hashlib.sha256("".join(shard.sha256 for shard in manifest.shards).encode()).hexdigest()[:16]
    base = base_hash(config.base_folder(), config.model)
    return Run({**recipe(config), "latents": shards, **_start(config, base)}, base, manifest)


def recipe(config: RunConfig) -> dict[str, Any]:
    """The inputs of a run but for its data and the adapter it goes on from."""
    train = config.train.model_dump(mode="json")
    return {
        **{f"train.{name}": train[name] for name in LEARNT},
        **{f"adapter.{name}": value for name, value in config.adapter.model_dump(mode="json").items()},
        "seed": config.seed,
        "base": base_hash(config.base_folder(), config.model)[:16],
    }


def _start(config: RunConfig, base_sha256: str) -> dict[str, str]:
    """The adapter that training goes on from; `ValueError` for one that cannot be this run's."""
    if (place := config.start_place()) is None:
        return {}
    with local_folder(Storage(place)) as folder:
        card, weights = read_card(folder), adapter_sha256(folder)
    afresh = "or start afresh with train.start_from=null"
    try:
        check_base(card, card.base_class, base_sha256)
    except ValueError as error:
        raise ValueError(f"train.start_from: {error}, {afresh}") from None
    theirs, ours = card.adapter.model_dump(), config.adapter.model_dump()
    if odd := [f"adapter.{name} {theirs[name]} -> {ours[name]}" for name in SHAPE if theirs[name] != ours[name]]:
        raise ValueError(
            f"train.start_from: the adapter at {config.train.start_from} has another shape ({', '.join(odd)}); give "
            f"this run the values before the arrows, {afresh}"
        )
    return {"start": weights[:16]}


def check_training(config: RunConfig, tasks: set[str] | None) -> None:
    """`ValueError` for what no data mend, before any are made: settings, the base, tasks the data will not have."""
    check_method(config)
    if tasks is not None:
        check_tasks(config, tasks, "the data to be made")


def check_tasks(config: RunConfig, tasks: Collection[str], where: str) -> None:
    """`ValueError` for tasks that training is told to draw and that `where`, which has `tasks`, has not."""
    for key, named in (("tasks", config.train.tasks), ("weights", config.train.weights)):
        if unknown := sorted(set(named) - set(tasks)):
            raise ValueError(f"train.{key}: {where} has no {', '.join(unknown)} among {', '.join(sorted(tasks))}")


def check_method(config: RunConfig) -> None:
    """`ValueError` for settings that belong to the other of the two methods."""
    train, fill = config.train, is_fill(config.base_folder(), config.model)
    if fill and (train.context != "full" or train.text == "none"):
        raise ValueError(
            f"base {config.base} paints diptychs, which have no context of their own and follow an instruction; set "
            "train.context=full and train.text=instruction"
        )
    if not fill and train.loss_on != "all":
        raise ValueError(f"train.loss_on is for diptychs, and base {config.base} paints analogies; leave it out")


def claim(storage: Storage, run: Run) -> dict[str, Any]:
    """Make `storage` this run's folder and return its notes; `ValueError` when another run lies there."""
    notes = json.loads(storage.read(NAME)) if storage.exists(NAME) else {}
    before = notes.get("inputs")
    if before is not None and before != run.inputs:
        names = sorted(name for name in before.keys() | run.inputs.keys() if before.get(name) != run.inputs.get(name))
        changes = ", ".join(f"{name} {before.get(name)} -> {run.inputs.get(name)}" for name in names)
        raise ValueError(
            f"{storage} holds a run of another configuration ({changes}); put the old values back, give this one "
            f"a place of its own with storage=..., or delete {storage} to train anew"
        )
    if before is None:
        notes = note(storage, inputs=run.inputs, fingerprint=run.fingerprint)
    return notes


def note(storage: Storage, **facts: Any) -> dict[str, Any]:
    """Add facts to the run's notes."""
    notes = (json.loads(storage.read(NAME)) if storage.exists(NAME) else {}) | facts
    storage.write(NAME, json.dumps(notes, indent=1).encode())
    return notes
