"""Running the arms of a finding: each a training by the ordinary job, scored on the proof set; resumable by trials."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count, takewhile
from typing import Any

import numpy as np

from viral.config import RunConfig, assign, fingerprint
from viral.data.dataset import make_pairs
from viral.data.encode import encode_pairs
from viral.evaluation.findings import FINDINGS, Arm, Changes, Finding
from viral.evaluation.findings_asked import ASKED
from viral.evaluation.findings_router import router_turn
from viral.evaluation.findings_trial import TRIAL, Trial, find_trial
from viral.evaluation.peers.adapters import OURS, adapter_sha256
from viral.evaluation.protocols.proof import PHOTOGRAPHS, SCENES
from viral.evaluation.protocols.proof_error import CEILING, FREE, CaseError, case_errors
from viral.evaluation.protocols.protocol import Protocol, Score
from viral.evaluation.protocols.run import run_protocol
from viral.model.adapter_files import EXPERTS, PEFT, ROUTER, read_tensors
from viral.storage import Storage, local_folder
from viral.train.journal import read_journal
from viral.train.run import describe_run, recipe
from viral.train.trainer import train_adapter

RECIPE = 1
"""Raised when the same trial shall give other figures."""
LATENTS = ("base", "train.text", "train.prompt")
"""Keys on which latents depend besides the pairs."""
REFERENCES = (*(name for name in FREE if name != "base"), CEILING)
"""Rows that no training changes, scored once for all trials; the frozen base is the same for all and left out."""


def run_finding(config: RunConfig, finding: Finding) -> Iterator[Trial]:
    """Every trial of a finding as it is done, those that are there already first read; needs Ray.

    `ValueError` where the data cannot be made or a training fails.
    """
    arms = [arm for arm in finding.arms(config) if arm.missing is None]
    for seed in range(config.findings.seeds):
        if finding.trained:
            yield from (_train(config, finding, arm, seed) for arm in arms)
        else:
            yield from _ask(config, finding, arms, seed)


def found_trials(config: RunConfig, finding: Finding) -> Iterator[Trial]:
    """The finished trials of a finding in this setting; those of others lie beside them."""
    if not Storage(config.storage).join("findings", finding.name).is_folder:
        return
    for arm in finding.arms(config):
        places = (_place(config, finding, arm, seed) for seed in count())
        for place in takewhile(lambda place: place.exists(TRIAL), places):
            yield Trial.model_validate_json(place.read(TRIAL))


def setting(config: RunConfig, finding: Finding) -> str:
    """What all trials of a finding are made from but for data and what an arm changes."""
    own = recipe(config) if finding.trained else adapter_sha256(OURS, config)
    return fingerprint(RECIPE, own, config.protocol, config.evaluate, config.seed)


def equal_trial(config: RunConfig, key: str) -> Trial | None:
    """A finished trial of any finding that was made from the same: many have an arm in which nothing is changed."""
    trials = (trial for finding in FINDINGS if finding.trained for trial in found_trials(config, finding))
    return next((trial for trial in trials if trial.key == key), None)


def changed(config: RunConfig, changes: Changes) -> RunConfig:
    """The configuration with other values; `ValueError` where one makes no sense."""
    raw = config.model_dump()
    for key, value in changes.items():
        assign(raw, key.split("."), value)
    return RunConfig.model_validate(raw)


def _train(config: RunConfig, finding: Finding, arm: Arm, seed: int) -> Trial:
    """Make the arm's data where they are its own, train, score."""
    place = _place(config, finding, arm, seed)
    data = _data(config, arm)
    latents = os.path.relpath(Storage(data.storage).join(data.latents).folder(), place.folder())
    own = {"storage": str(place), "latents": latents, "pairs": "pairs", "seed": config.seed + seed, "adapters": {}}
    trained = changed(changed(config, arm.changes), own)
    key = setting(config, finding) + fingerprint(describe_run(trained).inputs)
    if (found := find_trial(place, key)) is not None:
        return found
    if (equal := equal_trial(config, key)) is not None:
        return equal.model_copy(update={"arm": arm.name}).keep(place)
    result = train_adapter(trained)
    errors = _measured(changed(trained, {"seed": config.seed}), Storage(config.storage).join("findings", "references"))
    figures = {"loss": result.loss, **_figures(trained)}
    return Trial(arm=arm.name, seed=seed, key=key, errors=errors, figures=figures).keep(place)


def _data(config: RunConfig, arm: Arm) -> RunConfig:
    """The configuration of the arm's pairs and latents, which are there afterwards."""
    changes = dict(arm.changes)
    pairs = {key: value for key, value in changes.items() if key.startswith("dataset.")}
    if pairs:
        changes["storage"] = str(Storage(config.storage).join("findings", "data", fingerprint(_plain(pairs))))
    said = {key: value for key, value in changes.items() if key in LATENTS}
    if said:
        changes["latents"] = f"latents_{fingerprint(_plain(said))}"
    data = changed(config, changes)
    make_pairs(data)
    encode_pairs(data)
    return data


def _measured(config: RunConfig, shared: Storage) -> dict[str, CaseError]:
    """The relative errors of the adapter under `storage` on unseen scenes, and on photographs where there are some."""
    same = fingerprint(config.base, config.model, config.protocol, config.evaluate, config.seed)
    references = changed(config, {"storage": str(shared.join(same))})
    protocols = [SCENES, *([PHOTOGRAPHS] if config.protocol.layout else [])]
    errors = {}
    for protocol in protocols:
        scores = scores_of(references, replace(protocol, methods=REFERENCES))
        scores += scores_of(config, replace(protocol, methods=(OURS,)))
        errors |= {f"{protocol.name}/{case}": error for case, error in case_errors(scores).items()}
    return errors


def scores_of(config: RunConfig, protocol: Protocol) -> list[Score]:
    """What a protocol gave every answer of every row; `ValueError` where one cannot be run."""
    kept: list[Score] = []

    def keep(scores: Sequence[Score]) -> list[str]:
        kept.extend(scores)
        return []

    table = run_protocol(config, replace(protocol, conclude=keep))
    if missing := [f"{row.title}: {row.missing}" for row in table.rows if row.missing]:
        raise ValueError(f"{protocol.name} compares what was not run: {'; '.join(missing)}")
    return kept


def _ask(config: RunConfig, finding: Finding, arms: Sequence[Arm], seed: int) -> Iterator[Trial]:
    """All arms at once, of the adapter that is there."""
    asked = ASKED[finding.name](arms, seed)
    told = [[arm.name, dict(arm.changes)] for arm in arms]
    key = setting(config, finding) + fingerprint(told, dict(asked.changes))
    places = {arm.name: _place(config, finding, arm, seed) for arm in arms}
    known = {arm.name: find_trial(places[arm.name], key) for arm in arms}
    if all(known.values()):
        yield from (trial for trial in known.values() if trial is not None)
        return
    scores = scores_of(changed(config, asked.changes), asked.protocol)
    for arm in arms:
        yield Trial(arm=arm.name, seed=seed, key=key, errors=asked.errors(scores, arm)).keep(places[arm.name])


def _figures(config: RunConfig) -> dict[str, float]:
    """Speed and size of a training, and what its routers learned."""
    storage = Storage(config.storage)
    speeds = [line["samples_per_s"] for line in read_journal(storage.join("train")) if "samples_per_s" in line]
    with local_folder(storage.join("adapter")) as folder:
        files = [folder / name for name in (PEFT, EXPERTS, ROUTER) if (folder / name).is_file()]
        numbers = sum(tensor.numel() for file in files for tensor in read_tensors(file)[0].values())
        turn = router_turn(config, folder)
    figures = {"samples/s": float(np.median(speeds)), "parameters": float(numbers)}
    return figures if turn is None else {**figures, "router turned, degrees": turn}


def _place(config: RunConfig, finding: Finding, arm: Arm, seed: int) -> Storage:
    own = setting(config, finding)
    return Storage(config.storage).join("findings", finding.name, own, arm.slug, f"seed-{seed}")


def _plain(changes: dict[str, Any]) -> dict[str, Any]:
    return dict(sorted(changes.items()))
