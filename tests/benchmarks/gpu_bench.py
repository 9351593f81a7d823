"""The model and the clock of the GPU's rows: a random transformer of full width, medians by the device's own events."""

import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, QwenImageTransformer2DModel
from rows_moe import Size
from stock import Edit
from timing import Gate, Result, Row, largest_error
from torch.nn.attention import SDPBackend, sdpa_kernel

from viral.model import loading
from viral.model.roles import use_role_rope
from viral.shipped import SHIPPED_BASE

NEAR = 2e-2


@dataclass(frozen=True)
class Sizes:
    """What is measured on."""

    layers: int
    few: int
    """Layers of the rows that take a part of the model."""
    heads: int
    head: int
    side: int
    """Tokens a side of an image."""
    gate_side: int
    words: int
    moe: Size
    points: int
    centres: int


FULL = Sizes(60, 8, 24, 128, 64, 16, 30, Size(4, 12288, 3072, 32, 16384, "cuda", torch.bfloat16), 1_500_000, 1500)
TINY = Sizes(3, 2, 2, 128, 4, 4, 6, Size(4, 512, 256, 8, 256, "cpu", torch.float32), 2000, 20)


class Bench:
    """The model, made on the device at the first use, and a clock."""

    def __init__(self, sizes: Sizes, device: str) -> None:
        self.sizes, self.device = sizes, device
        self.dtype = torch.bfloat16 if device == "cuda" else torch.float32

    @cached_property
    def transformer(self) -> QwenImageTransformer2DModel:
        """All layers, random: 40.8 GB at full size."""
        sizes, folder = self.sizes, Path(loading.__file__).parent / "architectures"
        config = json.loads((folder / "Qwen-Image-Edit-2511.json").read_text())["transformer"]
        own = {"num_layers": sizes.layers, "num_attention_heads": sizes.heads, "attention_head_dim": sizes.head}
        with torch.device("meta"):
            transformer = QwenImageTransformer2DModel.from_config({**config, **own}).to(self.dtype)
        transformer.to_empty(device=self.device)
        use_role_rope(transformer)
        torch.manual_seed(0)
        for name, weights in transformer.named_parameters():
            norm = "norm" in name and weights.ndim == 1
            torch.nn.init.ones_(weights) if norm else torch.nn.init.normal_(
                weights, std=0.5 * weights.shape[-1] ** -0.5
            )
        return transformer.eval().requires_grad_(False)

    @cached_property
    def shallow(self) -> QwenImageTransformer2DModel:
        """The first few layers of the same model; rounding of random layers grows with their number."""
        few = copy(self.transformer)
        few._modules = dict(few._modules)
        few.transformer_blocks = self.transformer.transformer_blocks[: self.sizes.few]
        return few

    @cached_property
    def scheduler(self) -> FlowMatchEulerDiscreteScheduler:
        return FlowMatchEulerDiscreteScheduler.from_pretrained(SHIPPED_BASE / "scheduler")

    def edit(self, transformer: QwenImageTransformer2DModel, side: int | None = None) -> Edit:
        return Edit(transformer, side or self.sizes.side, self.sizes.words)

    def seconds(self, arm: Callable[[], object], warm: int = 10, runs: int = 20) -> float:
        """Median time of the arm."""
        for _ in range(warm):
            arm()
        return statistics.median(self.once(arm) for _ in range(runs))

    def both(self, ours: Callable[[], object], theirs: Callable[[], object], runs: int = 20) -> tuple[float, float]:
        """Medians of both arms, taken in turn."""
        for _ in range(10):
            ours()
            theirs()
        times = [(self.once(ours), self.once(theirs)) for _ in range(runs)]
        return statistics.median(t for t, _ in times), statistics.median(t for _, t in times)

    def once(self, arm: Callable[[], object]) -> float:
        if self.device == "cpu":
            start = time.perf_counter()
            arm()
            return time.perf_counter() - start
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        arm()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1000

    @property
    def named(self) -> str:
        """The model in words."""
        sizes = self.sizes
        return f"{sizes.heads} x {sizes.head}, {sizes.side**2} tokens an image, {sizes.words} words"


@contextmanager
def fastest_attention() -> Iterator[None]:
    """cuDNN's attention where there is one; torch prefers another by itself."""
    order = [SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    with sdpa_kernel(order, set_priority=True):
        yield


def row(name: str, workload: str, peer: str, times: tuple[float, float], bar: float, ceiling: float, gate: Gate) -> Row:
    """A claim; without a ratio where the gate fails."""
    ours, theirs = times
    ratio = theirs / ours if gate.passed else None
    return Row(name, workload, peer, ours, theirs, ratio, bar, ceiling, gate.told, ratio is not None and ratio >= bar)


def near(ours: Result, theirs: Result, tolerance: float = NEAR) -> Gate:
    error = largest_error(ours, theirs)
    return Gate(f"relative error {error:.1e} of at most {tolerance:.0e}", error <= tolerance)


def long_arms(
    bench: Bench, ours: Callable[[], object], theirs: Callable[[], object], runs: int = 2
) -> tuple[float, float]:
    """Medians of arms that are many steps long and need no more warming than the gate has done."""
    times = [(bench.once(ours), bench.once(theirs)) for _ in range(runs)]
    return statistics.median(t for t, _ in times), statistics.median(t for _, t in times)


def peak_memory(bench: Bench, arm: Callable[[], object]) -> float:
    """Largest memory while the arm runs, in units of 10^12 bytes, so that a table of milliseconds shows gigabytes."""
    if bench.device == "cpu":
        return 1.0
    torch.cuda.reset_peak_memory_stats()
    arm()
    return torch.cuda.max_memory_allocated() / 1e12
