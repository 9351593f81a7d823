"""One configuration for every job: a YAML file, `key=value` overrides, closed and frozen.

Loads neither torch nor ray, so that `--help` answers at once.
"""

import argparse
import hashlib
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from viral.data_config import (
    Config,
    DataConfig,
    DatasetConfig,
    ExportConfig,
    FindingsConfig,
    MiningConfig,
    Place,
    ProtocolConfig,
    SynthesisConfig,
    TaskConfig,
)
from viral.shipped import SHIPPED_ADAPTERS, SHIPPED_BASES

Card = Literal["RTX4090-24G", "L40S-48G", "A100-80G", "A800-80G", "H200-141G"]


class ModelConfig(Config):
    """How the frozen base is found and held."""

    revision: str | None = None
    """Branch, tag or commit of a hub id (ours: its main branch; name a commit where a run has to be repeatable)."""
    accept_licences: tuple[str, ...] = ()
    """Licences that restrict use and are accepted for this run, e.g. [flux-1-dev-non-commercial-license]."""
    dtype: Literal["bfloat16", "float32"] | None = None
    """Type of weights and computation (ours: bfloat16 on a GPU, as the bases are published; float32 on a CPU)."""
    quantise: Literal["float8", "int8", "nf4"] | None = None
    """Weights of the transformer in 1, 1 or half a byte: float8 by diffusers' layerwise casting, int8 and nf4 by
    bitsandbytes (ours: none; quality suffers)."""
    modulation: Literal["weights", "table"] = "weights"
    """Where Qwen-Image's layers have their shifts, scales and gates from: their weights, or a table over the times that
    bfloat16 tells apart: 5.7 GB of the computer's memory for 13.6 GB of the card's (ours)."""
    offload: Literal["model", "group"] | None = None
    """What waits in the computer's memory while painting: whole models, or all but the block at work (ours: none)."""
    card: Card = "A800-80G"
    """Card that `--dry-run` makes its estimates for (the paper's)."""


class AdapterConfig(Config):
    rank: int = Field(64, ge=1)
    """Rank of the plain LoRA (ours: VIRAL's released file has the size of 64; ICEdit's is 32)."""
    alpha: float = Field(64, gt=0)
    """Scale of the plain LoRA is alpha / rank (ours: 1, as in both releases)."""
    num_experts: int = Field(4, ge=1)
    """Experts of a MoE-LoRA layer; 1 is plain LoRA (ICEdit's paper: 4; VIRAL's does not say)."""
    expert_rank: int = Field(32, ge=1)
    """Rank of one expert (ICEdit's paper: 32; for VIRAL ours: top-2 of 32 has the active rank of a plain 64)."""
    expert_alpha: float = Field(32, gt=0)
    """Scale of one expert is expert_alpha / expert_rank (ours: 1, as in ICEdit's release)."""
    top_k: int = Field(2, ge=1)
    """Experts used per token (VIRAL's paper: 2; ICEdit's: 1)."""
    gate: Literal["topk_softmax", "softmax_topk"] = "topk_softmax"
    """Softmax over the kept logits (the papers': Mixtral's, ICEdit's eq. 3), whose router learns nothing at top_k = 1,
    or over all logits before keeping k (ours)."""
    balance_weight: float = Field(0.01, ge=0)
    """Weight of the load-balance loss, VIRAL's eq. 11 (ours: Switch's 1e-2; ICEdit's release has none)."""
    placement: Literal["released", "text"] = "released"
    """Where the experts sit. `released`: on the FFN output and Flux' single blocks' proj_out (VIRAL's paper; ICEdit's
    code, which has the 130 M and 214 M parameters of its Table 3); `text`: on the attention's output projection
    (ICEdit's prose). Layers without experts have plain LoRA."""
    text_stream: bool | None = None
    """Whether plain LoRA also adapts the text stream; null: as released, so in Qwen (ours: the release's size fits
    both streams) and not in Flux' double blocks (ICEdit's)."""
    targets: tuple[str, ...] | None = None
    """Layers with plain LoRA instead of the default ones, by full name with `*` for block numbers."""
    expert_targets: tuple[str, ...] | None = None
    """Layers with experts instead of those of `placement`, likewise; an empty list means plain LoRA alone."""
    ranks: dict[str, int] = {}
    """Ranks of plain layers that differ from `rank`, likewise; their scale is that of the others."""

    @model_validator(mode="after")
    def _check(self) -> "AdapterConfig":
        if self.top_k > self.num_experts:
            raise ValueError(
                f"adapter.top_k ({self.top_k}) exceeds adapter.num_experts ({self.num_experts}); lower top_k"
            )
        return self


class TrainConfig(Config):
    start_from: str | None = None
    """Adapter that training goes on from, of the shape of this one and for the same base: `tiny` (shipped), a folder or
    an object-store address, e.g. the adapter/ of another run (the papers': a fresh one)."""
    steps: int = Field(600, ge=1)
    """Optimizer steps."""
    batch_size: int = Field(8, ge=1)
    """Samples of one optimizer step over all workers; must divide by workers x micro_batch."""
    micro_batch: int = Field(4, ge=1)
    """Samples of one forward pass of one worker."""
    workers: int = Field(2, ge=1)
    """Ray Train workers."""
    zero_stage: Literal[0, 1, 2, 3] = 1
    """DeepSpeed ZeRO stage."""
    optimizer: Literal["adamw", "prodigy"] = "adamw"
    """AdamW (VIRAL's paper), or Prodigy (ICEdit's code), which finds its own rate: `learning_rate` 1 scales it."""
    learning_rate: float = Field(1e-4, gt=0)
    """Constant rate after `warmup` steps."""
    warmup: int = Field(0, ge=0)
    """Steps of linear warm-up (0: the paper's constant rate)."""
    cooldown: int = Field(0, ge=0)
    """Steps of linear decay at the end (0: the paper's constant rate)."""
    weight_decay: float = Field(0.01, ge=0)
    clip: float = Field(1.0, gt=0)
    """Largest gradient norm."""
    weigh_edits: bool = False
    """Divide each sample's error by how far its edit moves the image: gentle edits count like drastic ones (ours)."""
    time_law: Literal["logit_normal", "uniform"] = "logit_normal"
    """How training times are drawn: the sigmoid of a standard normal (SD3's, ICEdit's code), or all alike."""
    time_weighting: Literal["none", "bell"] = "none"
    """What the error at a time counts: all alike, or most in the middle (DiffSynth's training of Qwen-Image-Edit)."""
    time_shift: float = Field(1.0, gt=0)
    """Above 1 moves the training times towards noise, where it is decided which edit is painted (ours)."""
    context: Literal["full", "stationary"] = "full"
    """What the context's tokens see, in training and whenever the adapter paints. `full`: all tokens (the base's own);
    `stationary`: one another at t = 0, so that painting passes them through the model once for all steps (ours)."""
    roles: Literal["rope", "none"] = "rope"
    """Whether the rope tells what each image is for (the paper's), or nothing does, to measure what that is worth."""
    role_numbering: Literal["step", "shared"] = "shared"
    """Roles of further example pairs when the adapter paints: new ones, or again those of the first pair, which are
    all that training shows (ours; docs/log.md has both measured). A single pair has the same roles either way."""
    tasks: tuple[str, ...] = ()
    """Tasks of the table that are drawn (all that train)."""
    weights: dict[str, Annotated[float, Field(ge=0)]] = {}
    """How often a task is drawn, relative to the others, in place of its own weight (ours)."""
    targets: int = Field(1, ge=1)
    """Noisy targets, with noise and time of their own, that share the one pass of a sample's context; more than 1
    needs `context` stationary (ours)."""
    siblings: float = Field(0.0, ge=0)
    """What counts, beside a sample's own error, that of the difference between two samples of one query whose edits
    differ in a parameter; above 0, samples whose query has a sibling (the source `siblings`) come with it (ours)."""
    text: Literal["none", "instruction"] = "none"
    """What is said beside the images: one constant, or the pair's instruction, which a diptych always needs."""
    prompt: str | None = None
    """Template around the instruction of a diptych, with {instruction} in it (the released code's; in the paper's
    {subject} and {description} are "scene" and "image")."""
    prompt_dropout: float = Field(0.0, ge=0, le=1)
    """Share of samples whose instruction is left out (ICEdit's code: 0.1)."""
    loss_on: Literal["all", "right"] = "all"
    """Tokens of a diptych that the loss covers: all, as in the released code, or the half that is painted (ours)."""
    ema: float = Field(0.0, ge=0, lt=1)
    """Decay of a running average of the adapter, which is then what is validated and kept; 0 averages nothing."""
    log_every: int = Field(10, ge=1)
    save_every: int = Field(150, ge=1)
    """Steps between checkpoints, and between grids of validation images."""
    gradient_checkpointing: bool = False
    """Whether blocks are computed again in the backward pass: a third more time, the memory of one block (ours)."""
    keep_attention: bool = False
    """Whether checkpointing keeps what attention gave: an eighth less time for a tenth of what it saves (ours)."""
    gpus: bool = False
    """One GPU a worker, bf16 and NCCL; else CPU, float32 and gloo."""
    max_failures: int = Field(2, ge=0)
    """Worker failures that Ray Train answers by going on from the last checkpoint."""

    @model_validator(mode="after")
    def _check(self) -> "TrainConfig":
        if self.batch_size % (self.workers * self.micro_batch):
            raise ValueError(
                f"train.batch_size ({self.batch_size}) is not a multiple of workers x micro_batch "
                f"({self.workers} x {self.micro_batch}); change one of the three"
            )
        if self.targets > 1 and self.context == "full":
            raise ValueError(
                f"train.targets is {self.targets}, but a full context sees its target and can serve no second one; "
                "set train.context=stationary or train.targets=1"
            )
        if self.siblings and self.micro_batch % 2:
            raise ValueError(
                f"train.siblings needs both of a couple in one forward pass, and train.micro_batch is "
                f"{self.micro_batch}; make it even"
            )
        if self.optimizer == "prodigy" and self.zero_stage:
            raise ValueError(
                "Prodigy's step size is one number over all parameters, which ZeRO divides among workers; set "
                "train.zero_stage=0 or train.optimizer=adamw"
            )
        if self.keep_attention and not self.gradient_checkpointing:
            raise ValueError(
                "train.keep_attention says what gradient checkpointing keeps; set train.gradient_checkpointing=true too"
            )
        if self.prompt_dropout and self.text == "none":
            raise ValueError("train.prompt_dropout leaves out instructions, of which train.text=none has none")
        return self


class EvaluateConfig(Config):
    steps: int = Field(12, ge=1)
    """Denoising steps of one scored image."""
    batch_size: int = Field(24, ge=1)
    samples: int = Field(2000, ge=100)
    """Bootstrap resamples of the paired intervals."""


class PerceptualConfig(Config):
    """Where the networks of perceptual metrics lie, as folders or hub ids; one left out makes its columns unavailable,
    and the embedded embedder's figure stands beside."""

    lpips: str | None = None
    """Its backbone by torchvision's names: AlexNet, SqueezeNet 1.1, or VGG16 as in timm/vgg16.tv_in1k."""
    fid: str | None = None
    """Its Inception: a folder with pt_inception-2015-12-05-6726825d.pth."""
    clip: str | None = None
    """CLIP in open_clip's layout, e.g. timm/vit_base_patch32_clip_224.openai (MagicBrush's) or ViT-L/14."""
    dino: str | None = None
    """DINO in transformers' layout, e.g. facebook/dino-vits16."""
    dinov2: str | None = None
    """DINOv2 in transformers' layout, e.g. facebook/dinov2-base."""
    vlm: dict[str, Any] = {}
    """Who gives verdicts and VIE-scores: {model: Qwen/Qwen2.5-VL-7B-Instruct}, or {url: ..., name: ...} of an endpoint
    (ICEdit's paper: GPT-4o)."""


class TrackingConfig(Config):
    uri: str | None = None
    """MLflow tracking address; none starts a server of our own on `storage`/mlflow."""
    port: int = Field(5001, ge=1, le=65535)
    """Port of the server we start."""
    experiment: str = "viral"
    model_name: str = "viral-adapter"
    """Registered model whose alias `champion` is served."""
    score: str = "all"
    """What a new adapter has to beat the champion by: the score of one task, by its name, or of all tasks alike."""


class ServeConfig(Config):
    port: int = Field(8000, ge=1, le=65535)
    steps: int = Field(12, ge=1)
    """Denoising steps of a request that names none."""
    max_pixels: int = Field(16_000_000, ge=1)
    """Largest decoded image."""
    max_side_ratio: float = Field(8.0, ge=1)
    max_body_bytes: int = Field(32 << 20, ge=1)


class NodesConfig(Config):
    """Where stages run on a cluster whose nodes carry labels (`ray start --labels`); empty: wherever there is room."""

    data: dict[str, str] = {}
    """Labels of the nodes that make, annotate and encode pairs and score adapters, e.g. {stage: data}."""
    train: dict[str, str] = {}
    """Labels of the nodes that train, e.g. {ray.io/accelerator-type: A800}."""


class RunConfig(Config):
    """Everything a run is made of. `storage` holds all that it writes."""

    storage: str = "runs/demo"
    """Folder or object-store address under which every table, adapter and report lies."""
    images: str | None = None
    """Folder of photographs; none takes those that scikit-image's and scikit-learn's wheels ship."""
    pairs: str = "pairs"
    """Table of pairs: a name under `storage`, or a folder of your own (Parquet, or source/target images)."""
    latents: str = "latents"
    """Table of latents: a name under `storage`, or a folder of your own."""
    base: str = "tiny"
    """Base model in diffusers' layout: `tiny` or `tiny-fill` (shipped), a folder or a hub id."""
    seed: int = 0
    adapters: dict[str, Place] = {}
    """Adapters that protocols compare, by name: folders, or models:/name@alias; `ours` is the one under `storage`."""
    model: ModelConfig = ModelConfig()
    tasks: dict[str, TaskConfig] = {}
    """Tasks of your own, by name."""
    data: DataConfig = DataConfig()
    dataset: DatasetConfig = DatasetConfig()
    export: ExportConfig = ExportConfig()
    mining: MiningConfig = MiningConfig()
    synthesis: SynthesisConfig = SynthesisConfig()
    adapter: AdapterConfig = AdapterConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    perceptual: PerceptualConfig = PerceptualConfig()
    protocol: ProtocolConfig = ProtocolConfig()
    findings: FindingsConfig = FindingsConfig()
    tracking: TrackingConfig = TrackingConfig()
    serve: ServeConfig = ServeConfig()
    nodes: NodesConfig = NodesConfig()

    def base_folder(self) -> str:
        """Where `base` is loaded from: the folder of one that ships, else the name as given."""
        return str(SHIPPED_BASES.get(self.base, self.base))

    def start_place(self) -> str | None:
        """Where the adapter lies that training goes on from."""
        place = self.train.start_from
        return None if place is None else str(SHIPPED_ADAPTERS.get(place, place))


def fingerprint(*parts: Any) -> str:
    """Sixteen hex digits of the sha256 of JSON-able or pydantic `parts`, equal for equal content."""
    plain = [part.model_dump(mode="json") if isinstance(part, BaseModel) else part for part in parts]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


def resolve(path: str | None, overrides: list[str]) -> RunConfig:
    """The configuration of a YAML file with `key.sub=value` overrides; `ValueError` names a bad key or value."""
    raw: dict[str, Any] = {}
    if path is not None:
        if not Path(path).is_file():
            raise ValueError(f"configuration {path} is not a file; see jobs/configs/ for those that ship")
        raw = yaml.safe_load(Path(path).read_text()) or {}
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise ValueError(f"override {override!r} is not of the form key=value, e.g. train.steps=100")
        assign(raw, key.split("."), yaml.safe_load(value))
    try:
        return RunConfig.model_validate(raw)
    except ValidationError as error:
        raise ValueError("\n".join(_explain(item) for item in error.errors())) from None


def load(
    description: str, argv: list[str] | None = None, estimate: Callable[[RunConfig], None] | None = None
) -> RunConfig:
    """Parse a job's command line; `--dry-run` prints the resolved configuration, then what `estimate` has to say of
    it, and stops."""
    parser = argparse.ArgumentParser(
        description=description, epilog=describe(), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "words", nargs="*", metavar="[config.yaml] key=value", help="configuration file, then overrides"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the resolved configuration and stop")
    args = parser.parse_intermixed_args(argv)
    # Ended from outside, a job still ends what it started: MLflow and Ray are stopped in `finally` blocks.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    path = args.words[0] if args.words and "=" not in args.words[0] else None
    try:
        config = resolve(path, args.words[1:] if path else args.words)
    except ValueError as error:
        stop(str(error))
    if args.dry_run:
        print(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False), end="", flush=True)
        if estimate is not None:
            estimate(config)
        raise SystemExit(0)
    return config


def stop(message: str) -> NoReturn:
    """End a job with a message for its user and exit code 2."""
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(2)


def describe() -> str:
    """Every key with its default and meaning, for `--help`."""
    lines = ["keys:"]
    for name, field in RunConfig.model_fields.items():
        if isinstance(field.default, Config):
            lines += [_line(f"{name}.{sub}", info) for sub, info in type(field.default).model_fields.items()]
        else:
            lines.append(_line(name, field))
    return "\n".join(lines)


def _line(key: str, field: Any) -> str:
    default = list(field.default) if isinstance(field.default, tuple) else field.default
    return f"  {key}={json.dumps(default)}  {field.description or ''}".rstrip()


def assign(raw: dict[str, Any], keys: list[str], value: Any) -> None:
    """Set the value of a dotted key, given in parts, in nested mappings."""
    for key in keys[:-1]:
        raw = raw.setdefault(key, {})
    raw[keys[-1]] = value


def _explain(item: Any) -> str:
    key = ".".join(str(part) for part in item["loc"]) or "configuration"
    if item["type"] == "extra_forbidden":
        return f"unknown key {key}; `--help` lists the keys there are"
    return f"{key}: {item['msg']} (got {item.get('input')!r})"
