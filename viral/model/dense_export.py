"""Experts as a plain LoRA, for programs that know no router: an approximation, which says what it loses."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from viral.model.adapter import experts_of, plain_of, write_plain
from viral.model.adapter_files import AdapterCard, DenseLoss, write_card
from viral.model.adapter_forms import PlainLayer
from viral.model.adapter_layers import backbone_class, patterns_of
from viral.model.moe_lora import MoELoRALinear


def export_dense(
    transformer: nn.Module,
    folder: Path,
    card: AdapterCard,
    run: Callable[[], Float[Tensor, "..."]],
    rank: int | None = None,
) -> AdapterCard:
    """Write the transformer's adapter to `folder` with a plain LoRA in the place of its experts.

    That is their mean, of rank N r, or with `rank` the nearest to it of that rank. `run` computes the transformer's
    output on inputs of the caller's; what the export loses on them stands in the card. `ValueError` without experts.
    """
    experts = experts_of(transformer)
    if not experts:
        raise ValueError("the adapter has no experts to stand for; its forms are plain LoRA as they are")
    dense = {name: dense_layer(layer, rank) for name, layer in experts.items()}
    config, scale = card.adapter, card.adapter.alpha / card.adapter.rank
    # All layers of a folder have one scale.
    scaled = {name: PlainLayer(part.down, part.up * (part.scale / scale), scale) for name, part in dense.items()}
    plain = plain_of(transformer) | scaled
    ranks = dict.fromkeys(patterns_of(transformer, set(dense)), next(iter(dense.values())).rank)
    config = config.model_copy(
        update={"targets": patterns_of(transformer, set(plain)), "expert_targets": (), "ranks": config.ranks | ranks}
    )
    measured = measure_loss(transformer, dense, run, "mean" if rank is None else "svd")
    about = {"adapter": config, "dense": measured, "base_class": backbone_class(transformer).__name__}
    card = card.model_copy(update=about)
    folder.mkdir(parents=True, exist_ok=True)
    return write_card(folder, card, write_plain(folder, plain, card))


@torch.no_grad()
def dense_layer(layer: MoELoRALinear, rank: int | None = None) -> PlainLayer:
    """The experts of a layer weighted as by a router that prefers none, or the nearest LoRA of a lower rank.

    Such a router's mean gate is 1/N for gates that sum to one, and k/N^2 where softmax comes before the choice.
    """
    gate = 1 / layer.num_experts
    if layer.gate == "softmax_topk":
        gate *= layer.top_k / layer.num_experts
    mean = PlainLayer(layer.lora_A.detach(), layer.lora_B.detach(), layer.scale * gate)
    if rank is None:
        return mean
    if not 1 <= rank <= mean.rank:
        raise ValueError(f"got rank {rank} for the dense export, expected 1 to {mean.rank}, the rank of the mean")
    # The product's SVD from those of its factors' small triangles: B A = Qb (Rb Ra^T) Qa^T.
    outer, inner = torch.linalg.qr(mean.up), torch.linalg.qr(mean.down.T)
    u, s, v = torch.linalg.svd(outer.R @ inner.R.T)
    root = s[:rank].sqrt()
    return PlainLayer(root[:, None] * (v[:rank] @ inner.Q.T), (outer.Q @ u[:, :rank]) * root, mean.scale)


@torch.no_grad()
def measure_loss(
    transformer: nn.Module, dense: Mapping[str, PlainLayer], run: Callable[[], Float[Tensor, "..."]], method: str
) -> DenseLoss:
    """How far the output of `run` moves when the plain layers stand in for the experts."""
    full = run()
    with _instead(transformer, dense):
        approximate = run()
    with _instead(transformer, dict.fromkeys(dense)):
        without = run()
    off = (approximate - full).norm()
    return DenseLoss(
        method=method,
        rank=next(iter(dense.values())).rank,
        output_error=(off / full.norm()).item(),
        effect_error=(off / (full - without).norm()).item(),
    )


@contextmanager
def _instead(transformer: nn.Module, dense: Mapping[str, PlainLayer | None]) -> Iterator[None]:
    """Let plain layers, or none at all, answer for the experts while it lasts."""
    experts = experts_of(transformer)
    handles = [experts[name].register_forward_hook(_answer(plain)) for name, plain in dense.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _answer(plain: PlainLayer | None) -> Callable[[MoELoRALinear, tuple[Tensor], Tensor], Tensor]:
    def answer(layer: MoELoRALinear, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        y = layer.base(*inputs)
        if plain is None:
            return y
        down, up = plain.down.to(y.dtype), plain.up.to(y.dtype)
        return y + plain.scale * F.linear(F.linear(inputs[0].to(y.dtype), down), up)

    return answer
