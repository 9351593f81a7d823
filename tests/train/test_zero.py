"""DeepSpeed at every ZeRO stage, on two processes: whole tensors out, the same run on the way back in."""

import os
import socket
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from viral.config import RunConfig
from viral.train.state import TrainingTensors, grouped

STAGES = (0, 1, 2, 3)
WORLD = 2


def take_turns(rank: int, port: int, config: RunConfig, folder: str) -> None:
    """One of two processes: for every stage run six steps, and three of them again after a checkpoint."""
    from viral.train.checkpoint import Checkpoint
    from viral.train.loop import Hooks, train
    from viral.train.worker import make_engine, make_feed

    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "WORLD_SIZE": str(WORLD)}
    os.environ |= {"LOCAL_RANK": str(rank)}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=WORLD)
    feed, checkpoint = make_feed(config, rank, WORLD), None
    for stage in STAGES:
        staged = config.model_copy(update={"train": config.train.model_copy(update={"zero_stage": stage})})
        checkpoint = None
        for turn in ("whole", "resumed"):
            engine, states = make_engine(staged, checkpoint), {}
            keep = Hooks(lambda record: None, lambda step: states.update({step: engine.state()}))  # noqa: B023
            train(engine, feed, staged, keep, checkpoint.step if checkpoint else 0)
            with engine.result() as transformer:
                shapes = {name: tuple(p.shape) for name, p in transformer.named_parameters() if p.requires_grad}
            if rank == 0:
                flat = {step: state.flat() for step, state in states.items()}
                torch.save({"states": flat, "shapes": shapes}, f"{folder}/{stage}-{turn}.pt")
            checkpoint = checkpoint or Checkpoint(3, grouped(states[3].flat()))
    dist.destroy_process_group()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_every_stage_saves_whole_tensors_and_resumes_bit_for_bit(config: RunConfig, tmp_path: Path) -> None:
    train = config.train.model_copy(update={"workers": WORLD, "micro_batch": 1, "ema": 0.5})
    mp.spawn(
        take_turns, (free_port(), config.model_copy(update={"train": train}), str(tmp_path)), nprocs=WORLD, join=True
    )
    found = {
        (stage, turn): torch.load(tmp_path / f"{stage}-{turn}.pt") for stage in STAGES for turn in ("whole", "resumed")
    }
    plain = grouped(found[0, "whole"]["states"][6])
    for stage in STAGES:
        whole, resumed = (found[stage, turn]["states"] for turn in ("whole", "resumed"))
        assert all(torch.equal(whole[6][name], resumed[6][name]) for name in whole[6]), stage
        state = grouped(whole[6])
        check_whole(state, found[stage, "whole"]["shapes"])
        for name, tensor in plain.adapter.items():
            # Adam makes mountains of gradients that are zero up to rounding, so elements are not compared alone.
            assert (state.adapter[name] - tensor).norm() <= 0.05 * tensor.norm() + 1e-3, (stage, name)


def check_whole(state: TrainingTensors, shapes: dict[str, tuple[int, ...]]) -> None:
    """Every tensor has its parameter's shape and something in it."""
    for named in (state.adapter, state.average, *state.moments.values()):
        assert {name: tuple(tensor.shape) for name, tensor in named.items()} == shapes
        assert all(tensor.norm() > 0 for name, tensor in named.items() if "router" not in name)
