"""The loop on plain torch: what learns, what stays, and that it can be stopped anywhere."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytest import approx
from torch.utils._python_dispatch import TorchDispatchMode

from viral.config import RunConfig, TrainConfig
from viral.data.latents import LatentTable
from viral.model.adapter import add_adapter, load_adapter_state
from viral.sampling.diptych import RELEASED_PROMPT
from viral.storage import Storage
from viral.train.checkpoint import Checkpoint, Checkpoints
from viral.train.loop import Hooks, NonFiniteLoss, learning_rate, train
from viral.train.loss import GENTLEST, Objective, Transformer, Weighting, edit_weight, flow_loss
from viral.train.meter import Record
from viral.train.recompute import ATTENTION
from viral.train.run import check_method, check_training
from viral.train.sampler import Chances, Feed, Sampler
from viral.train.state import TrainingTensors, grouped
from viral.train.torch_engine import TorchEngine
from viral.train.worker import card_of, make_sampler, open_transformer


def transformer(config: RunConfig) -> Transformer:
    model = open_transformer(config)
    add_adapter(model, config.adapter, config.seed)
    return model


def run(
    config: RunConfig, table: LatentTable, resume: Checkpoint | None = None
) -> tuple[dict[int, TrainingTensors], list[Record]]:
    """States by step and records of a run on `table` in this process."""
    model, states, records = transformer(config), {}, []
    if resume is not None:
        load_adapter_state(model, resume.tensors.adapter)
    objective = Objective(model, Weighting.of(config), config.train.context)
    engine = TorchEngine(objective, config.train)
    if resume is not None:
        engine.restore(resume.tensors, resume.step)
    feed = Feed(make_sampler(config), config.train.batch_size, config.train.micro_batch)
    hooks = Hooks(records.append, lambda step: states.update({step: engine.state()}))
    train(engine, feed, config, hooks, resume.step if resume else 0)
    return states, records


def equal(a: TrainingTensors, b: TrainingTensors) -> bool:
    one, other = a.flat(), b.flat()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_only_adapter_and_router_receive_gradients(config: RunConfig, table: LatentTable) -> None:
    model = transformer(config)
    # At the start the second factors are zero, and with them every other gradient.
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(0))
    batch = next(Feed(Sampler(table, 0), 4, 4)(0))
    Objective(model, Weighting(0.01))(batch)[0].backward()
    touched = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    assert touched == {name for name, _ in model.named_parameters() if "lora_" in name}


def test_the_bases_bytes_are_unchanged_by_training(config: RunConfig, table: LatentTable) -> None:
    model = transformer(config)
    before = {name: p.clone() for name, p in model.state_dict().items() if "lora_" not in name}
    engine = TorchEngine(Objective(model, Weighting(0.01)), config.train)
    feed = Feed(Sampler(table, 0), 4, 2)
    train(engine, feed, config, Hooks(lambda record: None, lambda step: None))
    assert all(torch.equal(p, before[name]) for name, p in model.state_dict().items() if "lora_" not in name)


def test_a_resumed_run_equals_an_uninterrupted_run_bit_for_bit(
    config: RunConfig, table: LatentTable, tmp_path: Path
) -> None:
    whole, records = run(config, table)
    checkpoints = Checkpoints(Storage(str(tmp_path / "kept")), "this run")
    checkpoints.save(3, whole[3])
    resumed, again = run(config, table, checkpoints.load(3))
    assert equal(whole[6], resumed[6]) and not equal(whole[3], whole[6])
    assert again[-1].metrics["loss"] == records[-1].metrics["loss"]


def test_accumulated_micro_batches_equal_one_batch(config: RunConfig, table: LatentTable) -> None:
    # The balance loss is taken over a forward pass, so it is left out here.
    plain = config.model_copy(update={"adapter": config.adapter.model_copy(update={"balance_weight": 0.0})})
    many, _ = run(plain, table)
    single = plain.model_copy(update={"train": plain.train.model_copy(update={"micro_batch": 4})})
    one, _ = run(single, table)
    # One step, before Adam makes mountains of gradients that are zero up to rounding.
    for name, value in one[3].moments["exp_avg"].items():
        torch.testing.assert_close(value, many[3].moments["exp_avg"][name], rtol=1e-2, atol=1e-4)


def test_the_loss_falls(config: RunConfig, table: LatentTable) -> None:
    longer = config.model_copy(update={"train": config.train.model_copy(update={"steps": 60, "log_every": 20})})
    _, records = run(longer, table)
    assert records[-1].metrics["loss"] < records[0].metrics["loss"]


def test_an_adapter_trains_in_the_stationary_context_and_its_card_says_so(
    config: RunConfig, table: LatentTable
) -> None:
    changes = {"steps": 40, "log_every": 10, "context": "stationary", "targets": 2, "role_numbering": "shared"}
    own = config.model_copy(update={"train": config.train.model_copy(update=changes)})
    states, records = run(own, table)
    assert records[-1].metrics["loss"] < records[0].metrics["loss"]
    full, _ = run(config, table)
    assert not equal(states[3], full[3])
    card = card_of(own, "ab" * 32)
    assert (card.context, card.role_numbering, card.text, card.base_revision) == ("stationary", "shared", "none", None)


def trained(config: RunConfig, **changes: object) -> RunConfig:
    """The run with other settings of its training."""
    return config.model_copy(update={"train": TrainConfig(**(config.train.model_dump() | changes))})


def randomise(model: Transformer) -> Transformer:
    """Second factors that are not zero, so that every part of the adapter does something."""
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(0))
    return model


PRODIGY = {"optimizer": "prodigy", "learning_rate": 1.0, "zero_stage": 0}


@pytest.mark.parametrize("changes", [{"ema": 0.9}, {"time_law": "uniform", "time_weighting": "bell"}, PRODIGY])
def test_every_part_of_the_state_is_in_the_checkpoint(
    config: RunConfig, table: LatentTable, tmp_path: Path, changes: dict
) -> None:
    own = trained(config, **changes)
    whole, _ = run(own, table)
    checkpoints = Checkpoints(Storage(str(tmp_path / "kept")), "this run")
    checkpoints.save(3, whole[3])
    resumed, _ = run(own, table, checkpoints.load(3))
    assert equal(whole[6], resumed[6]) and not equal(whole[3], whole[6])
    for lost in whole[3].flat().keys() - {f"adapter/{name}" for name in whole[3].adapter}:
        kept = {name: tensor * 1.5 if name == lost else tensor for name, tensor in whole[3].flat().items()}
        if lost.endswith("/k") or "attn.to_q.lora_A" in lost and "blocks.0" in lost:
            again, _ = run(own, table, Checkpoint(3, grouped(kept)))
            assert not equal(whole[6], again[6]), lost


def test_the_average_is_of_all_steps_and_is_what_is_kept(config: RunConfig, table: LatentTable) -> None:
    own = trained(config, ema=0.5, save_every=1)
    states, _ = run(own, table)
    name = next(name for name in states[1].adapter if "lora_B" in name)
    expected = torch.zeros_like(states[1].adapter[name])  # as it began
    for step in range(1, 7):
        expected = expected.lerp(states[step].adapter[name], 1 - min(0.5, (1 + step) / (10 + step)))
    torch.testing.assert_close(states[6].average[name], expected)
    assert states[6].result is states[6].average

    engine = TorchEngine(Objective(transformer(own), Weighting.of(own)), own.train)
    engine.restore(states[6], 6)
    before = engine.state()
    with engine.result() as model:
        assert torch.equal(dict(model.named_parameters())[name], states[6].average[name])
    assert equal(engine.state(), before)


def test_blocks_computed_again_give_the_same_gradients_bit_for_bit(config: RunConfig, table: LatentTable) -> None:
    batch = next(Feed(Sampler(table, 0), 4, 4)(0))
    found = []
    for changes in ({}, {"gradient_checkpointing": True}, {"gradient_checkpointing": True, "keep_attention": True}):
        model = randomise(transformer(trained(config, **changes)))
        Objective(model, Weighting(0.01))(batch)[0].backward()
        found.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert all(torch.equal(found[0][name], other[name]) for other in found[1:] for name in found[0])


class Attentions(TorchDispatchMode):
    """Counts the runs of attention's kernels."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func in ATTENTION
        return func(*args, **(kwargs or {}))


def test_attention_is_not_computed_again_where_it_is_kept(config: RunConfig, table: LatentTable) -> None:
    batch, counts = next(Feed(Sampler(table, 0), 2, 2)(0)), []
    for keep in (False, True):
        model = transformer(trained(config, gradient_checkpointing=True, keep_attention=keep))
        loss = Objective(model, Weighting(0.01))(batch)[0]
        with Attentions() as attentions:
            loss.backward()
        counts.append(attentions.count)
    assert counts == [2, 0]  # of two blocks


def test_a_diptych_learns_by_the_same_loop(fill_config: RunConfig, diptychs: LatentTable) -> None:
    longer = trained(fill_config, steps=40, log_every=10)
    states, records = run(longer, diptychs)
    assert records[-1].metrics["loss"] < records[0].metrics["loss"]
    assert {"loss_task/edge", "loss_task/negative"} <= set().union(*(record.metrics for record in records))
    card = card_of(longer, "ab" * 32)
    assert card.text == "instruction" and card.prompt == RELEASED_PROMPT
    assert all(tensor.isfinite().all() for tensor in states[40].adapter.values())


def test_the_loss_on_the_right_half_leaves_out_the_left(fill_config: RunConfig) -> None:
    batch = next(Feed(make_sampler(fill_config), 4, 4)(0))
    model = transformer(fill_config)
    whole, right = (flow_loss(model, batch, Weighting(0.0, right=right)).per_sample for right in (False, True))
    left = batch.target.clone()
    left[..., : left.shape[-1] // 2] += 1  # the model's input moves with it, so only noise and truth are compared
    assert whole.shape == right.shape and not torch.allclose(whole, right)
    half = replace(batch, t=torch.ones_like(batch.t))  # at t = 1 the input is the noise alone
    moved = replace(half, target=left)
    before, after = (flow_loss(model, each, Weighting(0.0, right=True)).per_sample for each in (half, moved))
    assert torch.equal(before, after)


def test_settings_of_the_other_method_are_refused(config: RunConfig, fill_config: RunConfig) -> None:
    with pytest.raises(ValueError, match="loss_on is for diptychs"):
        check_method(trained(config, loss_on="right"))
    for changes in ({"text": "none", "prompt_dropout": 0}, {"context": "stationary"}):
        with pytest.raises(ValueError, match="paints diptychs"):
            check_method(trained(fill_config, **changes))


def test_a_task_that_the_data_will_not_have_is_refused_before_they_are_made(config: RunConfig) -> None:
    for changes in ({"tasks": ("sky",)}, {"weights": {"sky": 1.0}}):
        with pytest.raises(ValueError, match="the data to be made has no sky among edge, negative"):
            check_training(trained(config, **changes), {"edge", "negative"})
        check_training(trained(config, **changes), None)
    with pytest.raises(ValueError, match="nowhere"):
        check_training(config.model_copy(update={"base": "nowhere"}), {"edge"})


@pytest.mark.parametrize("weigh", [False, True])
def test_targets_that_share_a_context_lose_the_mean_of_what_each_loses_alone(
    config: RunConfig, table: LatentTable, weigh: bool
) -> None:
    model, count = transformer(config), 3
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(0))
    # The balance loss counts a context's tokens once for all its targets, so it is left out here.
    objective = Objective(model, Weighting(0.0, weigh), "stationary")
    shared = next(Feed(Sampler(table, 0, chances=Chances(targets=count)), 4, 4)(0))
    alone = [replace(shared, noise=shared.noise[k::count], t=shared.t[k::count]) for k in range(count)]
    together, each = objective(shared), [objective(batch) for batch in alone]
    torch.testing.assert_close(together[0], torch.stack([losses[0] for losses in each]).mean())
    torch.testing.assert_close(together[3], torch.stack([losses[3] for losses in each]).mean(0))


def test_gentle_edits_count_more_when_edits_are_weighed(config: RunConfig, table: LatentTable) -> None:
    batch = next(Feed(Sampler(table, 0), 4, 4)(0))
    gentle = replace(batch, target=batch.query + 0.01 * (batch.target - batch.query))
    weights = edit_weight(batch.query, batch.target), edit_weight(gentle.query, gentle.target)
    assert (weights[0] < weights[1]).all() and weights[1].max() <= GENTLEST**-0.5
    plain, weighed = (Objective(transformer(config), Weighting(0.0, weigh))(gentle) for weigh in (False, True))
    assert weighed[0].item() == pytest.approx((weights[1] * plain[3]).mean().item())
    assert weighed[1] == plain[1]  # what is reported as the flow's error stays comparable


def test_a_record_tells_losses_by_task_norm_speed_and_expert_use(config: RunConfig, table: LatentTable) -> None:
    _, records = run(config, table)
    assert [record.step for record in records] == [2, 4, 6]
    metrics = records[0].metrics
    assert metrics["loss"] == pytest.approx(metrics["loss_flow"] + 0.01 * metrics["loss_balance"])
    assert sum(metrics[f"expert_use/{i}"] for i in range(3)) == pytest.approx(1)
    use = records[0].expert_use
    assert use.shape == (2, 3) and np.allclose(use.sum(1), 1) and metrics["expert_use/0"] == approx(use[:, 0].mean())
    assert {"loss_task/edge", "loss_task/negative", "grad_norm", "samples_per_s"} <= metrics.keys()


def test_a_loss_that_is_not_finite_names_step_and_task(config: RunConfig, table: LatentTable) -> None:
    engine = TorchEngine(Objective(transformer(config), Weighting(0.01)), config.train)
    feed = Feed(Sampler(table, 0), 4, 2)

    class Broken(Feed):
        def __call__(self, step: int):
            for batch in super().__call__(step):
                target = batch.target.clone()
                target[[task == "edge" and step == 4 for task in batch.tasks]] = float("nan")
                yield replace(batch, target=target)

    with pytest.raises(NonFiniteLoss, match=r"step 5, task edge;"):
        train(engine, Broken(**vars(feed)), config, Hooks(lambda record: None, lambda step: None))


def test_warm_up_reaches_the_rate_and_stays() -> None:
    config = TrainConfig(learning_rate=1.0, warmup=4)
    assert [learning_rate(config, step) for step in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]
    assert learning_rate(TrainConfig(learning_rate=1.0), 0) == 1
