"""Journal, run notes and configuration files of a training run."""

import json
from pathlib import Path

import pytest
import torch

from viral.config import RunConfig, TrainConfig
from viral.model.adapter import adapter_parameters, adapter_state, save_adapter
from viral.storage import Storage
from viral.train.engine import deepspeed_config
from viral.train.journal import Journal, read_journal
from viral.train.run import claim, describe_run
from viral.train.worker import adapted_transformer, card_of

PLATFORM = Path(__file__).parents[2] / "platform" / "deepspeed"


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_the_configurations_for_people_are_those_of_the_code(stage: int) -> None:
    written = json.loads((PLATFORM / f"zero{stage}.json").read_text())
    assert written == deepspeed_config(TrainConfig(zero_stage=stage))


def test_a_step_taken_again_keeps_its_first_line(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    for values in ([1, 2, 3], [2, 3, 4]):
        journal = Journal(storage)
        for value in values:
            journal.add(value, {"loss": 1 / value, "attempt": float(values[0])})
        journal.close()
    assert [(line["step"], line["attempt"]) for line in read_journal(storage)] == [(1, 1), (2, 1), (3, 1), (4, 2)]


def test_what_decides_the_result_decides_the_fingerprint(config: RunConfig) -> None:
    def changed(**train: object) -> str:
        return describe_run(config.model_copy(update={"train": config.train.model_copy(update=train)})).fingerprint

    same = describe_run(config).fingerprint
    assert changed(workers=2, zero_stage=3, log_every=1, max_failures=9) == same
    assert changed(steps=7) != same and changed(learning_rate=1.0) != same
    assert len({same, changed(context="stationary"), changed(targets=2), changed(role_numbering="step")}) == 4
    assert len({same, changed(roles="none"), changed(tasks=("negative",)), changed(tasks=("edge",))}) == 4
    assert len({same, changed(ema=0.9), changed(optimizer="prodigy"), changed(time_law="uniform")}) == 4
    assert describe_run(config.model_copy(update={"seed": 1})).fingerprint != same


def test_a_run_goes_on_from_the_weights_of_another_of_its_shape(config: RunConfig, tmp_path: Path) -> None:
    def started(start: str, **adapter: object) -> RunConfig:
        train = config.train.model_copy(update={"start_from": start})
        return config.model_copy(update={"train": train, "adapter": config.adapter.model_copy(update=adapter)})

    transformer = adapted_transformer(config.model_copy(update={"seed": 5}))
    fresh = describe_run(config)
    for name, noise in (("first", 0.1), ("second", 0.2)):
        for parameter in adapter_parameters(transformer).values():
            torch.nn.init.normal_(parameter, std=noise)
        save_adapter(transformer, tmp_path / name, card_of(config, fresh.base_sha256))
    goes_on = started(str(tmp_path / "second"))
    weights, expected = adapter_state(adapted_transformer(goes_on)), adapter_state(transformer)
    assert all(torch.equal(weights[name], tensor) for name, tensor in expected.items())
    others = {fresh.fingerprint, describe_run(started(str(tmp_path / "first"))).fingerprint}
    assert len(others | {describe_run(goes_on).fingerprint}) == 3
    with pytest.raises(ValueError, match=r"adapter\.rank 2 -> 4.*before the arrows"):
        describe_run(started(str(tmp_path / "first"), rank=4))
    save_adapter(transformer, tmp_path / "alien", card_of(config, "ab" * 32))
    with pytest.raises(ValueError, match="was trained on base"):
        describe_run(started(str(tmp_path / "alien")))


def test_another_configuration_under_the_same_storage_is_refused_by_name(config: RunConfig) -> None:
    storage = Storage(config.storage).join("train")
    claim(storage, describe_run(config))
    claim(storage, describe_run(config))
    other = config.model_copy(update={"train": config.train.model_copy(update={"steps": 7})})
    with pytest.raises(ValueError, match=r"train\.steps 6 -> 7.*storage="):
        claim(storage, describe_run(other))


def test_latents_that_are_missing_name_the_job_that_makes_them(config: RunConfig) -> None:
    with pytest.raises(ValueError, match="encode_dataset"):
        describe_run(config.model_copy(update={"latents": "nowhere"}))
