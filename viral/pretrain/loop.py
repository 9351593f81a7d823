"""The loop of pretraining: resumable at every minute, bounded by processor time, shared by processes, averaged."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from viral.pretrain.team import share_gradients, team, total

BATCH, LEARNING_RATE = 32, 1e-3


@dataclass(frozen=True)
class Turn:
    """One step of one process: its number, the share of the work that is done, its samples and its chances."""

    step: int
    share: float
    count: int
    rng: np.random.Generator
    generator: torch.Generator


Loss = Callable[[Turn], tuple[str, Tensor]]
"""The loss of a turn, and the name under which it is told."""


def pretrain(model: nn.ModuleDict, loss_of: Loss, seconds: float, state_file: Path, seed: int = 0) -> dict[str, float]:
    """Train until `seconds` of processor time are spent in all, resuming from `state_file`.

    Processes of one `torch.distributed` group share each batch. Leaves the averaged weights in place and returns what
    it took.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.01)
    average = {name: p.detach().clone() for name, p in model.named_parameters()}
    step, spent = 0, 0.0
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        average, step, spent = state["average"], state["step"], state["spent"]
    rank, processes = team()
    saved, losses = spent, dict[str, list[float]]()
    while spent < seconds:
        start = time.process_time()
        rng = np.random.default_rng([seed, step, rank])
        generator = torch.Generator().manual_seed((seed * 2**32 + step) * processes + rank)
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1, (step + 1) / 200, max(0.02, (1 - spent / seconds) / 0.4))
        with torch.autocast("cpu", torch.bfloat16, enabled=torch.ops.mkldnn._is_mkldnn_bf16_supported()):
            name, loss = loss_of(Turn(step, spent / seconds, BATCH // processes, rng, generator))
        model.zero_grad()
        loss.backward()
        share_gradients(model)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.setdefault(name, []).append(loss.item())
        step, spent = step + 1, spent + total(time.process_time() - start)
        with torch.no_grad():
            for name, p in model.named_parameters():
                average[name].lerp_(p, 1 - min(0.999, (1 + step) / (10 + step)))
        if rank == 0 and (spent - saved > 60 or spent >= seconds):
            saved = spent
            _save(state_file, model, optimizer, average, step, spent)
            told = ", ".join(f"{name} {np.mean(values[-50:]):.4f}" for name, values in sorted(losses.items()))
            print(f"{state_file.stem} {spent:6.0f} s {step} steps {step * BATCH} samples loss {told}", flush=True)
    model.load_state_dict({**model.state_dict(), **average})
    return {"samples": float(step * BATCH), "seconds": spent}


def _save(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, average: dict[str, Tensor], step: int, spent: float
) -> None:
    temporary = path.with_suffix(".tmp")
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "average": average}
    torch.save({**state, "step": step, "spent": spent}, temporary)
    temporary.replace(path)
