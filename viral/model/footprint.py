"""What a run will take: memory by part and time, for a configuration and a card, before anything is loaded.

Sizes come from the networks themselves at full shape, activations from running them without memory
(`viral.model.trace`). GB are 1e9 bytes. Times are products of matrices alone, at the share of a card's peak that
frameworks like ours reach; loading, data and communication are taken as hidden behind them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from viral.config import Card, RunConfig
from viral.model.architecture import Architecture, read_architecture
from viral.model.empty import count_parameters
from viral.model.trace import Cost, Pass, decoding_bytes, trace

GB = 1e9
RESERVE = 2 * GB
"""CUDA's context, workspaces of kernels and gaps between allocations."""
GATHERED = 1e9
"""Parameters that ZeRO-3 holds whole at a time (DeepSpeed's stage3_max_live_parameters)."""
QWEN_TEXT, FLUX_TEXT = 32, 512
"""Tokens of text: a sentence without images for Qwen, T5's full length for FLUX.1."""
STEPS = 40
"""Denoising steps of an image whose time is told (VIRAL's)."""
MOMENTS = {"adamw": 2, "prodigy": 4}
"""Numbers that an optimizer keeps of each parameter."""
STORED = {None: 2.0, "float8": 1.0, "int8": 1.0, "nf4": 0.5 + 4 / 64}
"""Bytes of a weight in a matrix: nf4 has a float32 scale for each 64."""


@dataclass(frozen=True)
class CardFacts:
    """What a card offers."""

    memory: float
    """Bytes."""
    peak: float
    """Dense bfloat16 operations a second, from its data sheet."""
    share: float
    """Part of them that eager torch reaches on these models: an estimate."""

    def seconds(self, flops: float) -> float:
        """Time of so many operations."""
        return flops / (self.peak * self.share)


CARDS: dict[Card, CardFacts] = {
    "RTX4090-24G": CardFacts(24 * GB, 165e12, 0.50),
    "L40S-48G": CardFacts(48 * GB, 362e12, 0.35),
    "A100-80G": CardFacts(80 * GB, 312e12, 0.50),
    "A800-80G": CardFacts(80 * GB, 312e12, 0.50),
    "H200-141G": CardFacts(141 * GB, 989e12, 0.40),
}

Change = dict[str, Any]
"""Settings by dotted name."""
AS_IS: Change = {}
CHECKPOINT: Change = {"train.gradient_checkpointing": True}
TABLE: Change = {"model.modulation": "table"}
LEAST: Change = CHECKPOINT | {"train.keep_attention": False}
TRAINING_CHANGES: tuple[Change, ...] = (
    AS_IS,
    CHECKPOINT,
    LEAST,
    LEAST | TABLE,
    LEAST | {"model.quantise": "float8"},
    LEAST | {"model.quantise": "nf4"},
    LEAST | TABLE | {"model.quantise": "nf4"},
    LEAST | {"train.zero_stage": 3},
)
PAINTING_CHANGES: tuple[Change, ...] = (
    AS_IS,
    TABLE,
    {"model.offload": "model"},
    TABLE | {"model.offload": "model"},
    {"model.offload": "model", "model.quantise": "float8"},
    {"model.offload": "model", "model.quantise": "nf4"},
    {"model.offload": "group"},
)
"""What makes a run smaller, from what costs least to what costs most."""


class Footprint:
    """Memory and time of training and painting with a configuration."""

    def __init__(self, config: RunConfig) -> None:
        self.config, self.card = config, CARDS[config.model.card]
        self.architecture = read_architecture(config.base_folder(), config.model)
        self.work = work_of(self.architecture, config)

    @cached_property
    def cost(self) -> Cost:
        """The transformer's, with the batch of one worker."""
        return trace(self.architecture["transformer"], self.config.adapter, self.work, torch.bfloat16)

    def training(self, change: Change = AS_IS) -> dict[str, float]:
        """Bytes by part on one card of a training run; text and latents are cached, so no other network is there."""
        config = changed(self.config, change)
        workers, stage, adapter = config.train.workers, config.train.zero_stage, float(self.cost.adapter)
        base = self._transformer(config)
        return {
            "transformer": base if stage < 3 else base / workers + min(2 * GATHERED, base),
            # Trained in float32; ZeRO keeps a flat copy of what each worker updates.
            "adapter": 4 * adapter / (workers if stage == 3 else 1) + (4 * adapter / workers if stage else 0),
            "gradients": 4 * adapter / (workers if stage >= 2 else 1),
            "optimizer's state": 4 * MOMENTS[config.train.optimizer] * adapter / (workers if stage else 1),
            "average": 4 * adapter / (workers if stage == 3 else 1) if config.train.ema else 0.0,
            "activations": self._activations(config),
            "reserve": RESERVE,
        }

    def _activations(self, config: RunConfig) -> float:
        if not config.train.gradient_checkpointing:
            return float(self.cost.training)
        kept = 2.0 * self.tokens * self.work.batch * self._shape.width * self._shape.depth
        return self.cost.checkpointed + (kept if config.train.keep_attention else 0.0)

    @property
    def tokens(self) -> int:
        """Of one sample, all its images and its text."""
        return self.work.target_tokens * (self.work.targets + self.work.context) + self.work.text

    def checkpoint_bytes(self) -> float:
        """One checkpoint: the adapter, the optimizer's state and the average, in float32."""
        train = self.config.train
        return 4.0 * self.cost.adapter * (1 + MOMENTS[train.optimizer] + (1 if train.ema else 0))

    def painting(self, change: Change = AS_IS) -> dict[str, float]:
        """Bytes by part on one card that paints one image."""
        config = changed(self.config, change)
        adapter = 4.0 * self.cost.adapter
        networks = {part: 2.0 * count_parameters(facts)[0] for part, facts in self.architecture.items()}
        networks["transformer"] = self._transformer(config) + adapter
        working = {
            "transformer": self.cost.painting / self.work.batch,
            "vae": float(decoding_bytes(self.architecture["vae"], self.work.grid, torch.bfloat16)),
        }
        if config.model.offload is None:
            return {**networks, "activations": max(working.values()), "reserve": RESERVE}
        if config.model.offload == "group":
            return {"activations": max(working.values()), "reserve": RESERVE}
        largest = max(networks, key=lambda part: networks[part] + working.get(part, 0))
        return {largest: networks[largest], "activations": working.get(largest, 0.0), "reserve": RESERVE}

    def step_seconds(self) -> float:
        """Time of one optimizer step: the micro batches of one worker, one after the other."""
        return self.card.seconds(self.step_flops())

    def step_flops(self) -> float:
        """Operations of one worker in one optimizer step."""
        train = self.config.train
        micro_batches = train.batch_size // (train.workers * train.micro_batch)
        return micro_batches * training_flops(
            self.cost, self._shape, train.gradient_checkpointing, train.keep_attention
        )

    def samples_per_hour(self) -> float:
        """Of all workers together."""
        return 3600 * self.config.train.batch_size / self.step_seconds()

    def image_seconds(self, stationary: bool = False) -> float:
        """Time of one image in `STEPS` steps without guidance; `stationary` computes the context once."""
        shape = self._shape
        target, context = self.work.target_tokens, self.work.target_tokens * self.work.context
        if not stationary:
            return STEPS * self.card.seconds(
                forward_flops(self.cost, shape, target + context, target + context, target)
            )
        prefill = forward_flops(self.cost, shape, context, context, 0)
        step = forward_flops(self.cost, shape, target, target + context, target, text=False)
        return self.card.seconds(prefill + STEPS * step)

    def fitting(
        self, memory: float, of: Callable[[Change], dict[str, float]], changes: tuple[Change, ...]
    ) -> Change | None:
        """The first of `changes` that the base can take and under which `of` stays within `memory` bytes; or None."""
        able = (change for change in changes if self._modulations or not change.keys() & TABLE.keys())
        return next((change for change in able if sum(of(change).values()) <= memory), None)

    def context_bytes(self) -> float:
        """Keys and values of a stationary context."""
        return 2 * 2.0 * self.work.target_tokens * self.work.context * self._shape.width * self._shape.depth

    def settings(self, change: Change) -> list[str]:
        """What of a change differs from the configuration, as overrides."""
        words = []
        for name, value in change.items():
            section, key = name.split(".")
            if getattr(getattr(self.config, section), key) != value:
                words.append(f"{name}={str(value).lower()}")
        return words

    @property
    def _shape(self) -> "Shape":
        facts = self.architecture["transformer"]
        depth = facts["num_layers"] + facts.get("num_single_layers", 0)
        return Shape(facts["num_attention_heads"] * facts["attention_head_dim"], depth, self.work)

    @property
    def _modulations(self) -> int:
        """Weights that a table can stand for: of Qwen's layers, whose modulations follow from the time alone."""
        facts, width = self.architecture["transformer"], self._shape.width
        return 0 if "num_single_layers" in facts else width * width * (12 * facts["num_layers"] + 2)

    def _transformer(self, config: RunConfig) -> float:
        total, matrices = count_parameters(self.architecture["transformer"])
        if config.model.modulation == "table":
            total, matrices = total - self._modulations, matrices - self._modulations
        wide = 4.0 if config.model.dtype == "float32" else 2.0
        stored = wide if config.model.quantise is None else STORED[config.model.quantise]
        return stored * matrices + wide * (total - matrices)


@dataclass(frozen=True)
class Shape:
    """Width and depth of a transformer, and what goes through it."""

    width: int
    depth: int
    work: Pass


def forward_flops(cost: Cost, shape: Shape, queries: int, keys: int, targets: int, text: bool = True) -> float:
    """Operations of one forward pass of a sample: 2 a weight and token, and 4 T_q T_k d a block of attention.

    `queries` image tokens, `targets` of them painted, go through the transformer and attend to `keys` of them and to
    the text, which goes with them unless a stationary context has kept its keys and values.
    """
    words = shape.work.text if text else 0
    products = _products(cost.matrices, queries, words, targets)
    return products + _attention(cost, shape, queries + words, keys + shape.work.text, targets + words)


def training_flops(cost: Cost, shape: Shape, checkpointing: bool, keep_attention: bool = False) -> float:
    """Operations of a forward and backward pass of a batch.

    Backward passes gradients through every matrix, computes those of the adapter's alone, and takes 2.5 times the
    attention's; checkpointing runs forward a second time, but for attention that is kept. A stationary context sees
    itself alone, once for all targets. All tokens go through the last block too: its experts are balanced over them.
    """
    work = shape.work
    targets, context, words = work.targets * work.target_tokens, work.context * work.target_tokens, work.text
    images = targets + context
    products, trained = (_products(sizes, images, words, images) for sizes in (cost.matrices, cost.trained))
    if work.mode == "full":
        attention = _attention(cost, shape, images + words, images + words, images + words)
    else:
        own = _attention(cost, shape, context + words, context + words, context + words)
        attention = own + _attention(cost, shape, targets, context + words + work.target_tokens, targets)
    backward = products + trained + 2.5 * attention
    again = (products + (0 if keep_attention else attention)) if checkpointing else 0
    return work.batch * (products + attention + again + backward)


def _products(matrices: dict[str, int], image: int, text: int, target: int) -> float:
    rows = {"image": image, "text": text, "target": target, "joint": image + text, "once": 1}
    return sum(2.0 * rows[stream] * size for stream, size in matrices.items())


def _attention(cost: Cost, shape: Shape, queries: int, keys: int, last: int) -> float:
    """Of all blocks; in the last one only `last` tokens ask, where the model leaves the context's out there."""
    last = last if "target" in cost.matrices else queries
    return 4.0 * ((shape.depth - 1) * queries + last) * keys * shape.width


def work_of(architecture: Architecture, config: RunConfig) -> Pass:
    """What goes through the transformer at once: an analogy's four images, or a diptych of two."""
    vae, transformer = architecture["vae"], architecture["transformer"]
    if transformer["_class_name"] == "FluxTransformer2DModel":
        side = config.data.size // 2 ** (len(vae["block_out_channels"]) - 1)
        return Pass(config.train.micro_batch, (side, 2 * side), 0, FLUX_TEXT)
    side = config.data.size // 2 ** len(vae["temperal_downsample"])
    train = config.train
    return Pass(train.micro_batch, (side, side), 3, QWEN_TEXT, train.context, train.targets)


def changed(config: RunConfig, change: Change) -> RunConfig:
    """The configuration with some settings changed."""
    sections = config.model_dump()
    for name, value in change.items():
        section, key = name.split(".")
        sections[section][key] = value
    return RunConfig.model_validate(sections)
