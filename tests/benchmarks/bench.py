"""What the platform exists for against what people would use instead, in one process: a table, and bench.json.

Both arms run in turn on one thread; processor time, minimum of seven, median of five such repeats. A row whose arms
disagree has no ratio.
"""

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import AutoencoderKLQwenImage
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from viral.config import AdapterConfig
from viral.model.frame_conv import use_frame_convs
from viral.model.moe_lora import MoELoRALinear

TOLERANCE = 1e-4


def best_of(arms: tuple[Callable[[], object], ...], runs: int = 7) -> list[float]:
    """Least processor seconds of each arm, the arms taken in turn."""
    times: list[list[float]] = [[] for _ in arms]
    for _ in range(runs):
        for taken, arm in zip(times, arms, strict=True):
            start = time.process_time()
            arm()
            taken.append(time.process_time() - start)
    return [min(taken) for taken in times]


def row(
    name: str, workload: str, peer: str, ours: Callable[[], Tensor], theirs: Callable[[], Tensor], bar: float
) -> dict:
    error = ((ours() - theirs()).norm() / theirs().norm()).item()
    repeats = [best_of((ours, theirs)) for _ in range(5)]
    ratio = statistics.median(b / a for a, b in repeats)
    gate = error < TOLERANCE
    return {
        "id": name, "workload": workload, "peer": peer, "ours": min(a for a, _ in repeats),
        "theirs": min(b for _, b in repeats), "ratio": ratio if gate else None, "bar": bar,
        "gate": f"error {error:.1e}",
        "passed": gate and ratio >= bar,
    }  # fmt: skip


def loop_over_experts(layer: MoELoRALinear, x: Tensor) -> Tensor:
    """ICEdit's way: every expert on every token, weighted and summed."""
    rank, logits = layer.lora_A.shape[0] // layer.num_experts, x @ layer.lora_router.T
    kept = logits.topk(layer.top_k, dim=-1)
    gates = torch.zeros_like(logits).scatter(-1, kept.indices, kept.values.softmax(-1))
    out = layer.base(x)
    for e in range(layer.num_experts):
        a, b = layer.lora_A[e * rank : (e + 1) * rank], layer.lora_B[:, e * rank : (e + 1) * rank]
        out = out + gates[..., e : e + 1] * (layer.scale * (x @ a.T @ b.T))
    return out


def moe_row() -> dict:
    generator = torch.Generator().manual_seed(0)
    layer = MoELoRALinear(nn.Linear(1024, 256), AdapterConfig(expert_rank=16, expert_alpha=16), generator)
    nn.init.normal_(layer.lora_B, generator=generator)
    x = torch.randn(2048, 1024, generator=generator, requires_grad=True)

    def step(forward: Callable[[Tensor], Tensor]) -> Tensor:
        layer.zero_grad()
        x.grad = None
        y = forward(x)
        y.square().mean().backward()
        return y.detach()

    return row(
        "C1", "MoE-LoRA forward and backward, 1024 to 256, N=4, r=16, top-2, 2048 tokens", "loop over experts",
        lambda: step(layer), lambda: step(lambda x: loop_over_experts(layer, x)), 1.25,
    )  # fmt: skip


@torch.no_grad()
def frame_row() -> dict:
    torch.manual_seed(0)
    stock = AutoencoderKLQwenImage(
        base_dim=16, dim_mult=[1, 2, 4], num_res_blocks=1, temperal_downsample=[False, False]
    )
    ours = AutoencoderKLQwenImage.from_config(stock.config)
    ours.load_state_dict(stock.state_dict())
    use_frame_convs(ours)
    x = torch.randn(4, 3, 1, 64, 64)
    return row(
        "V1", "Qwen VAE encode of four single frames of 64x64", "diffusers' AutoencoderKLQwenImage",
        lambda: ours.encode(x).latent_dist.mode(), lambda: stock.encode(x).latent_dist.mode(), 1.5,
    )  # fmt: skip


def main() -> None:
    torch.set_num_threads(1)
    rows = [moe_row(), frame_row()]
    Path("bench.json").write_text(json.dumps(rows, indent=1))
    table = Table("id", "workload", "peer", "ours ms", "theirs ms", "ratio", "bar", "passed")
    for r in rows:
        ratio = "none" if r["ratio"] is None else f"{r['ratio']:.2f}"
        cells = (f"{1000 * r['ours']:.1f}", f"{1000 * r['theirs']:.1f}", ratio, str(r["bar"]), str(r["passed"]))
        table.add_row(r["id"], r["workload"], r["peer"], *cells)
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
