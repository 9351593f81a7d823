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
    parameter goes unused. The router works in float32; one expert has none and is a plain LoRA. B starts at zero: the
    layer equals its base at first.
    """

    def __init__(self, base: nn.Module, config: AdapterConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.num_experts, self.top_k, self.gate = config.num_experts, config.top_k, config.gate
        self.scale = config.expert_alpha / config.expert_rank
        self.strength = 1.0
        width, place = config.num_experts * config.expert_rank, base.weight.device
        bound = base.in_features**-0.5
        # Drawn on the CPU, so that a seed means the same start on every device.
        down = (torch.rand(width, base.in_features, generator=generator, device="cpu") * 2 - 1) * bound
        self.lora_A = nn.Parameter(down.to(place))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, width, device=place))
        self.lora_router: nn.Parameter | None = None
        if config.num_experts > 1:
            router = torch.randn(config.num_experts, base.in_features, generator=generator, device="cpu") * 0.02
            self.lora_router = nn.Parameter(router.to(place))
        self.balance: Tensor | None = None
        """N sum_i f_i P_i of the last forward (eq. 11); 1 when all experts are used alike."""
        self.use: Tensor | None = None
        """Share of the routed tokens that each expert got in the last forward."""

    def forward(self, x: Float[Tensor, "*b d_in"]) -> Float[Tensor, "*b d_out"]:
        y = self.base(x)
        if self.strength == 0:
            return y
        hidden = self._mixture(x.reshape(-1, x.shape[-1])).to(y.dtype)
        up, scale = self.lora_B.to(y.dtype).T, self.scale * self.strength
        return torch.addmm(y.reshape(-1, y.shape[-1]), hidden, up, alpha=scale).view_as(y)

    def tensors(self) -> dict[str, nn.Parameter]:
        """What is trained, by name."""
        return dict(self.named_parameters(recurse=False))

    def _mixture(self, x: Float[Tensor, "t d_in"]) -> Float[Tensor, "t er"]:
        """Hidden values A_i x of all experts, each times its gate."""
        if self.lora_router is None:
            self.balance, self.use = x.new_ones(()), x.new_ones(1)
            return F.linear(x, self.lora_A.to(x.dtype))
        if x.dtype == torch.float32:
            # One product with the router's rows below the experts', which reads x once.
            both = F.linear(x, torch.cat([self.lora_A, self.lora_router]))
            hidden, logits = both.split([len(self.lora_A), self.num_experts], dim=-1)
        else:
            hidden, logits = F.linear(x, self.lora_A.to(x.dtype)), F.linear(x.float(), self.lora_router)
        gates = self._gates(logits).to(x.dtype)
        return (rearrange(hidden, "t (e r) -> t e r", e=self.num_experts) * gates.unsqueeze(-1)).flatten(1)

    def _gates(self, logits: Float[Tensor, "t e"]) -> Float[Tensor, "t e"]:
        """Gates with k non-zero entries: softmax over the kept logits (ICEdit eq. 3), or over all of them before."""
        probabilities, kept = logits.softmax(-1), logits.topk(self.top_k, dim=-1)
        chosen = torch.zeros_like(logits).scatter(-1, kept.indices, 1.0)
        self._note(chosen.mean(0) / self.top_k, probabilities.mean(0))
        if self.gate == "softmax_topk":
            return probabilities * chosen
        return torch.zeros_like(logits).scatter(-1, kept.indices, kept.values.softmax(-1))

    def _note(self, share: Float[Tensor, " e"], probability: Float[Tensor, " e"]) -> None:
        balance = self.num_experts * (share * probability).sum()
        # Within a backward pass this is checkpointing's recomputation: it must do the same arithmetic, but the
        # balance that carries the gradient is the first pass's, and keeping this one would keep its graph.
        if torch._C._current_graph_task_id() == -1:
            self.balance, self.use = balance, share
