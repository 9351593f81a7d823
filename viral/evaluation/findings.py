"""What is asked of the method, each question with its arms: changes of one configuration.

The first arm is what the others are compared with: the paper's choice, where it made one.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from viral.config import RunConfig

Changes = Mapping[str, Any]
"""Values by the dotted key of the configuration."""
EXPERT_LAYERS = "transformer_blocks.*.img_mlp.net.2"
"""Where VIRAL's paper puts experts in Qwen."""
SINGLE = ("depth", "edge", "colorization")
"""Tasks that are also trained alone."""


@dataclass(frozen=True)
class Arm:
    """One way of doing it."""

    name: str
    changes: Changes = field(default_factory=dict)
    tasks: tuple[str, ...] = ()
    """Tasks on which it is compared (all)."""
    missing: str | None = None
    """Why it cannot be run."""

    @property
    def slug(self) -> str:
        """Its name for files."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")


@dataclass(frozen=True)
class Finding:
    """One question and what the paper says of it."""

    name: str
    title: str
    paper: str
    arms: Callable[[RunConfig], tuple[Arm, ...]]
    trained: bool = True
    """Whether each arm is a training of its own; else all are ways of asking the adapter that is there."""
    note: str = ""
    """What the figures do not say by themselves."""


def _contexts(config: RunConfig) -> tuple[Arm, ...]:
    # A full context serves one noise, so both learn from one.
    return tuple(Arm(mode, {"train.context": mode, "train.targets": 1}) for mode in ("full", "stationary"))


def _experts(config: RunConfig) -> tuple[Arm, ...]:
    adapter = config.adapter
    parameters, active = adapter.num_experts * adapter.expert_rank, adapter.top_k * adapter.expert_rank
    return (
        Arm("MoE-LoRA"),
        Arm("plain LoRA, equal parameters", _plain(config, parameters)),
        Arm("plain LoRA, equal active rank", _plain(config, active)),
    )


def _plain(config: RunConfig, rank: int) -> Changes:
    """Plain LoRA of a rank where the experts were."""
    return {"adapter.expert_targets": (), "adapter.ranks": {**config.adapter.ranks, EXPERT_LAYERS: rank}}


def _routers(config: RunConfig) -> tuple[Arm, ...]:
    return tuple(
        # without the balance loss, whose gradient reaches a router whatever its gate
        Arm(f"top-{k}, {gate}", {"adapter.top_k": k, "adapter.gate": gate, "adapter.balance_weight": 0.0})
        for k in (2, 1)
        for gate in ("topk_softmax", "softmax_topk")
    )


def _joint(config: RunConfig) -> tuple[Arm, ...]:
    """Each task alone takes the steps that joint training spends on it."""
    from viral.data.dataset import task_names
    from viral.tasks import describe_task

    tasks = {name: describe_task(name, config.tasks) for name in task_names(config) or ()}
    weights = {name: config.train.weights.get(name, task.weight) for name, task in tasks.items() if task.trains}
    shares = {name: weights[name] / sum(weights.values()) for name in SINGLE if name in weights}
    alone = (
        Arm(f"{name} alone", {"train.tasks": (name,), **_scaled(config, share)}, (name,))
        for name, share in shares.items()
    )
    return (Arm("joint"), *alone)


def _scaled(config: RunConfig, share: float) -> Changes:
    """A schedule of as many times fewer steps."""
    names = ("steps", "warmup", "cooldown")
    return {f"train.{name}": max(1, round(getattr(config.train, name) * share)) for name in names}


def _filters(config: RunConfig) -> tuple[Arm, ...]:
    ways = [{"candidates": m, "preview_steps": steps} for m in (2, 4, 8) for steps in (1, 2, 4)]
    return (Arm("one seed"), *(Arm(f"M = {way['candidates']}, m = {way['preview_steps']}", way) for way in ways))


def _roles(config: RunConfig) -> tuple[Arm, ...]:
    return (Arm("roles on the rope"), Arm("no roles", {"train.roles": "none"}))


def _texts(config: RunConfig) -> tuple[Arm, ...]:
    why = "training meets pairs at random, and this sentence is encoded together with the images of a fixed quadruplet"
    return (Arm("no text"), Arm("instruction", {"train.text": "instruction"}), Arm("sentence", missing=why))


def _examples(config: RunConfig) -> tuple[Arm, ...]:
    return tuple(Arm(f"K = {k}", {"examples": k}) for k in (1, 2, 3, 4))


def _sizes(config: RunConfig) -> tuple[Arm, ...]:
    scales = {"all": 1.0, "a quarter": 1 / 4, "one in 16": 1 / 16, "one in 64": 1 / 64}
    return tuple(Arm(name, {"dataset.scale": config.dataset.scale * scale}) for name, scale in scales.items())


def _balances(config: RunConfig) -> tuple[Arm, ...]:
    return tuple(Arm(f"weight {weight:g}", {"adapter.balance_weight": weight}) for weight in (0.01, 0.0, 0.1))


def _placements(config: RunConfig) -> tuple[Arm, ...]:
    places = {"released": "as released", "text": "as in the paper's text"}
    told = {
        "base": config.findings.fill,
        "train.text": "instruction",
        "train.context": "full",
        "train.targets": 1,
        "adapter.text_stream": None,
    }
    return tuple(Arm(title, {**told, "adapter.placement": place}) for place, title in places.items())


FINDINGS = (
    Finding(
        "context",
        "Full against stationary context",
        "All tokens see all tokens.",
        _contexts,
        note="What a stationary context saves shows when it paints: `make bench`, C7 to C9 and C11.",
    ),
    Finding("experts", "MoE-LoRA against plain LoRA", "MoE-LoRA is better (Table 6).", _experts),
    Finding("router", "Top-1 against top-2, and both gates", "Top-2 (VIRAL); ICEdit takes top-1.", _routers),
    Finding("joint", "Joint against single-task training", "Joint training is better for most tasks.", _joint),
    Finding(
        "filter",
        "The early filter: M seeds, m of eight steps",
        "More candidates are better.",
        _filters,
        trained=False,
        note="The judge is `consensus`; of two pictures neither is nearer to the others, so the first of M = 2 stays.",
    ),
    Finding("roles", "With and without roles on the rope", "An axis of its own tells the images apart.", _roles),
    Finding("text", "No text, a sentence, or the instruction", "The images alone carry the task.", _texts),
    Finding("examples", "K = 1 to 4 examples", "One example; more are not studied.", _examples, trained=False),
    Finding("sizes", "Quality against the number of training pairs", "More data are better.", _sizes),
    Finding("balance", "The balance loss", "It keeps experts from falling idle (eq. 11).", _balances),
    Finding("placement", "ICEdit's two placements of the experts", "In the attention's output (text).", _placements),
)
"""In the order in which they are run."""
