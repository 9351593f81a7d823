"""MoE-LoRA on a frozen linear layer, computed densely in two stacked products."""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from viral.config import AdapterConfig


class MoELoRALinear(nn.Module):
    """y = W x + s * sum_i g_i(x) B_i A_i x, with the experts' A stacked in rows and B in columns.

    Masked experts contribute exactly zero, so there is no data-dependent dispatch: no rank waits for another and no
    parameter goes unused. The router works in float32. B starts at zero: the layer equals its base at first.
    """

    def __init__(self, base: nn.Linear, config: AdapterConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.num_experts, self.top_k, self.gate = config.num_experts, config.top_k, config.gate
        self.scale = config.expert_alpha / config.expert_rank
        width, place = config.num_experts * config.expert_rank, {"device": base.weight.device, "dtype": torch.float32}
        self.lora_A = nn.Parameter(torch.empty(width, base.in_features, **place))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, width, **place))
        self.lora_router = nn.Parameter(torch.empty(config.num_experts, base.in_features, **place))
        bound = base.in_features**-0.5
        with torch.no_grad():
            self.lora_A.copy_((torch.rand(self.lora_A.shape, generator=generator) * 2 - 1) * bound)
            self.lora_router.copy_(torch.randn(self.lora_router.shape, generator=generator) * 0.02)
        self.balance: Tensor | None = None
        self.use: Tensor | None = None

    def forward(self, x: Float[Tensor, "*b d_in"]) -> Float[Tensor, "*b d_out"]:
        gates = self._route(x)
        hidden = F.linear(x, self.lora_A.to(x.dtype))
        hidden = rearrange(hidden, "... (e r) -> ... e r", e=self.num_experts) * (self.scale * gates).to(
            x.dtype
        ).unsqueeze(-1)
        return self.base(x) + F.linear(hidden.flatten(-2), self.lora_B.to(x.dtype))

    def _route(self, x: Float[Tensor, "*b d_in"]) -> Float[Tensor, "*b e"]:
        """Gates with k non-zero entries; keeps the balance term N sum_i f_i P_i (eq. 11) of this forward."""
        logits = F.linear(x.float(), self.lora_router.float())
        probabilities = logits.softmax(-1)
        kept = logits.topk(self.top_k, dim=-1).indices
        mask = torch.zeros_like(logits).scatter(-1, kept, 1.0)
        share = mask.flatten(0, -2).mean(0) / self.top_k
        self.use = share.detach()
        self.balance = self.num_experts * (share * probabilities.flatten(0, -2).mean(0)).sum()
        if self.gate == "softmax_topk":
            return probabilities * mask
        return logits.masked_fill(mask == 0, float("-inf")).softmax(-1)
