"""What one pass of a transformer costs, found by running the real classes on tensors that have shapes and no memory."""

import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLQwenImage, FluxTransformer2DModel
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from viral.config import AdapterConfig
from viral.model.adapter import add_adapter, balance_loss
from viral.model.empty import build_empty
from viral.model.flux import FluxText, predict_flux_velocity
from viral.model.frame_conv import use_frame_convs
from viral.model.roles import use_role_rope
from viral.model.velocity import ContextMode, predict_velocity

DEPTHS = ("num_layers", "num_single_layers")
"""Numbers of equal blocks in a transformer's configuration."""
FEW = 2
"""Blocks of the shallow copies that are run; all figures grow by the same amount with each further block."""


TEXT_LAYERS = ("txt_", "add_q", "add_k", "add_v", "to_add_out", "ff_context", "context_embedder")

AFTER_ATTENTION = ("attn.to_out", "img_mlp")
"""Of Qwen's blocks: FLUX.1's have a `ff` of that use, and go on with all tokens."""


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of the tensors made under it that are alive at once; `peak` is the most there were."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # What an operation reads and was not made here, like weights, is known but not counted, nor are views of it.
        self._known.update(_storages((args, kwargs)))
        made = func(*args, **(kwargs or {}))
        for storage in _storages(made):
            if storage not in self._known:
                self._count(storage)
        return made

    def _count(self, storage: torch.UntypedStorage) -> None:
        self._known.add(storage)
        size = storage.nbytes()
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._free, size)

    def _free(self, size: int) -> None:
        self.now -= size


@contextmanager
def flash_attention() -> Iterator[None]:
    """Attention as cards compute it, without a matrix of scores; on tensors without memory torch takes the plain way.

    The function itself is replaced for the time being: checkpointing recomputes outside of any function mode.
    """
    plain = F.scaled_dot_product_attention
    F.scaled_dot_product_attention = _flash_attention
    try:
        yield
    finally:
        F.scaled_dot_product_attention = plain


def _flash_attention(query: Tensor, key: Tensor, value: Tensor, attn_mask: None = None, **options: Any) -> Tensor:
    assert attn_mask is None, "a mask takes attention off the flash kernel"
    return torch.ops.aten._scaled_dot_product_flash_attention(query, key, value)[0]


def _storages(values: Any) -> set[torch.UntypedStorage]:
    return {value.untyped_storage() for value in tree_leaves(values) if isinstance(value, Tensor)}


@dataclass(frozen=True)
class Pass:
    """What goes through a transformer at once."""

    batch: int
    grid: tuple[int, int]
    """Rows and columns of the target's latents."""
    context: int
    """Context images, each of the target's size."""
    text: int
    """Tokens of text."""
    mode: ContextMode = "full"
    targets: int = 1
    """Noisy targets of each context."""

    @property
    def target_tokens(self) -> int:
        """Tokens of the image that is denoised."""
        return self.grid[0] // 2 * (self.grid[1] // 2)


@dataclass(frozen=True)
class Cost:
    """Sizes of an adapted transformer and the bytes that passes through it hold beside its weights."""

    adapter: int
    """Trainable parameters."""
    matrices: dict[str, int]
    """Matrix parameters by the tokens they are applied to (`stream_of`), the adapter's included."""
    trained: dict[str, int]
    """The adapter's share of them."""
    training: int
    """Peak bytes of a forward and backward pass, gradients of parameters left out."""
    checkpointed: int
    """The same with gradient checkpointing."""
    painting: int
    """Peak bytes of a forward pass without gradients."""


def trace(config: dict[str, Any], adapter: AdapterConfig, work: Pass, dtype: torch.dtype) -> Cost:
    """The cost of a transformer of `config` at its full depth, from copies that are two and three blocks deep."""
    depths = {name: config[name] for name in DEPTHS if name in config}
    shallow = dict.fromkeys(depths, FEW)
    start = _measure({**config, **shallow}, adapter, work, dtype)
    total = Counter(start)
    for name, depth in depths.items():
        deeper = _measure({**config, **shallow, name: FEW + 1}, adapter, work, dtype)
        for key in deeper:
            total[key] += (depth - FEW) * (deeper[key] - start[key])
    streams = {key: value for key, value in total.items() if isinstance(key, tuple)}
    trained = {stream: value for (stream, trainable), value in streams.items() if trainable}
    both = Counter()
    for (stream, _), value in streams.items():
        both[stream] += value
    peaks = {key: total[key] for key in ("training", "checkpointed", "painting")}
    return Cost(total["adapter"], dict(both), trained, **peaks)


def stream_of(name: str, depth: int) -> str:
    """Which tokens a transformer's matrix is applied to: `once` a sample, `text`, `joint` (both), `image`, or `target`
    alone, as those that follow attention in the last of `depth` blocks of two streams."""
    if "mod." in name or "norm" in name or "time_text_embed" in name:
        return "once"
    if any(word in name for word in TEXT_LAYERS):
        return "text"
    if name.startswith(f"transformer_blocks.{depth - 1}.") and any(word in name for word in AFTER_ATTENTION):
        return "target"
    return "joint" if "single_transformer_blocks" in name else "image"


def _measure(config: dict[str, Any], adapter: AdapterConfig, work: Pass, dtype: torch.dtype) -> Counter:
    transformer = _adapted(config, adapter, dtype)
    found, depth = Counter(), 0 if isinstance(transformer, FluxTransformer2DModel) else config["num_layers"]
    for name, parameter in transformer.named_parameters():
        found["adapter"] += parameter.numel() * parameter.requires_grad
        if parameter.ndim == 2:
            found[stream_of(name, depth), parameter.requires_grad] += parameter.numel()
    with torch.device("meta"), flash_attention():
        found["painting"] = peak_bytes(lambda: forward(transformer, replace(work, targets=1)))
        found["training"] = peak_bytes(lambda: step(transformer, work), transformer)
        transformer.enable_gradient_checkpointing()
        found["checkpointed"] = peak_bytes(lambda: step(transformer, work), transformer)
    return found


def _adapted(config: dict[str, Any], adapter: AdapterConfig, dtype: torch.dtype) -> Any:
    """As training has it: the base in `dtype`, the adapter in float32."""
    transformer = build_empty(config)
    for parameter in transformer.parameters():
        parameter.data = parameter.data.to(dtype)
    if not isinstance(transformer, FluxTransformer2DModel):
        use_role_rope(transformer)
    add_adapter(transformer, adapter, seed=0)
    for parameter in transformer.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return transformer


def peak_bytes(work: Callable[[], Any], trained: nn.Module | None = None) -> int:
    """Most bytes alive at once in `work`, inputs included; gradients of `trained` are there before, and not counted."""
    if trained is not None:
        for parameter in trained.parameters():
            parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    with torch.set_grad_enabled(trained is not None), LiveBytes() as live:
        work()
    return live.peak


def step(transformer: Any, work: Pass) -> None:
    """Forward and backward pass of a loss like the training's."""
    loss = forward(transformer, work).float().square().mean() + balance_loss(transformer)
    loss.backward()


def forward(transformer: Any, work: Pass) -> Tensor:
    """Velocity of a target of `work`'s shape, of whatever values."""
    config, dtype = transformer.config, transformer.proj_out.weight.dtype
    noisy_images = work.batch * work.targets
    t, text = torch.rand(noisy_images), torch.rand(work.batch, work.text, config.joint_attention_dim, dtype=dtype)
    if not isinstance(transformer, FluxTransformer2DModel):
        noisy, *context = (
            torch.rand(count, config.out_channels, *work.grid, dtype=dtype)
            for count in (noisy_images, *[work.batch] * work.context)
        )
        roles = tuple(range(1, 1 + work.context))
        return predict_velocity(transformer, noisy, context, roles, t, text, mode=work.mode)
    channels = (config.out_channels or config.in_channels) // 4
    noisy = torch.rand(work.batch, channels, *work.grid, dtype=dtype)
    beside = config.in_channels - 4 * noisy.shape[1]
    condition = torch.rand(work.batch, work.target_tokens, beside, dtype=dtype) if beside else None
    pooled = torch.rand(work.batch, config.pooled_projection_dim, dtype=dtype)
    return predict_flux_velocity(transformer, noisy, condition, t, FluxText(text, pooled), 1.0)


def decoding_bytes(config: dict[str, Any], grid: tuple[int, int], dtype: torch.dtype) -> int:
    """Peak bytes of decoding one image of a latent grid, beside the VAE's weights."""
    vae = build_empty(config)
    for parameter in vae.parameters():
        parameter.data = parameter.data.to(dtype)
    with torch.device("meta"), flash_attention():
        if isinstance(vae, AutoencoderKLQwenImage):
            use_frame_convs(vae)
            latents = torch.rand(1, config["z_dim"], 1, *grid, dtype=dtype)
        else:
            latents = torch.rand(1, config["latent_channels"], *grid, dtype=dtype)
        return peak_bytes(lambda: vae.decode(latents).sample)
