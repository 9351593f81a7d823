import pytest
import torch

from viral.config import ModelConfig, RunConfig, TrainConfig
from viral.model.out_of_memory import naming_remedies, painting_remedies, training_remedies

CUDA = "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 23.5 GiB"


def test_error_names_the_work_the_need_and_the_setting_to_change_first() -> None:
    with (
        pytest.raises(ValueError, match=r"in training: 2.50 GiB more.* Set train.gradient_checkpointing=true; .*8"),
        naming_remedies("training", training_remedies(RunConfig())),
    ):
        raise torch.OutOfMemoryError(CUDA)


def test_settings_already_made_are_not_named_again() -> None:
    train = TrainConfig(gradient_checkpointing=True, zero_stage=3, micro_batch=1)
    config = RunConfig(train=train, model=ModelConfig(quantise="nf4"))
    assert training_remedies(config) == ["data.size=32"]
    assert painting_remedies(ModelConfig(offload="group", quantise="nf4")) == ["a smaller size of the image"]
    assert painting_remedies(ModelConfig())[0] == "model.offload=model"


def test_other_errors_pass_unchanged() -> None:
    with pytest.raises(RuntimeError, match="shapes"), naming_remedies("painting", ["x"]):
        raise RuntimeError("shapes differ")
