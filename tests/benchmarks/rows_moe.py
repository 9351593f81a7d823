"""C1-C5: MoE-LoRA on one linear layer, forward and backward, and plain LoRA."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from peft import ArrowConfig, LoraConfig, inject_adapter_in_model
from timing import Peer, Race, Result
from torch import Tensor, nn
from torch.nn import functional as F

from viral.config import AdapterConfig
from viral.model.moe_lora import MoELoRALinear

TOP_K, ROUTER = 2, "arrow_router"
RANK, TOKENS = 16, 2048

Forward = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Size:
    """A linear layer with experts, and where it is."""

    experts: int
    wide: int = 1024
    narrow: int = 256
    rank: int = RANK
    tokens: int = TOKENS
    device: str = "cpu"
    dtype: torch.dtype = torch.float32

    def __str__(self) -> str:
        return f"{self.wide} to {self.narrow}, N={self.experts}, r={self.rank}, top-{TOP_K}, {self.tokens} tokens"


class Setup:
    """One layer and its input, drawn so that peft's Arrow means the same by them.

    Arrow's router is the first singular vector of each expert and takes the absolute value of its logits: so our
    router's rows are those vectors, and the input is moved to where all logits are positive.
    """

    def __init__(self, size: Size) -> None:
        self.size = size
        generator, rank = torch.Generator().manual_seed(0), size.rank
        config = AdapterConfig(num_experts=size.experts, expert_rank=rank, expert_alpha=rank, top_k=TOP_K)
        self.layer = layer = MoELoRALinear(nn.Linear(size.wide, size.narrow), config, generator)
        nn.init.normal_(layer.lora_B, generator=generator)
        layer.to(size.device).base.to(size.dtype)  # as in training: the adapter is float32 beside its base
        self.down = [nn.Parameter(a.detach().to(size.dtype, copy=True)) for a in layer.lora_A.split(rank)]
        self.up = [nn.Parameter(b.detach().to(size.dtype, copy=True)) for b in layer.lora_B.split(rank, 1)]
        self.arrow = arrow_layer(layer.base, self.down, self.up, rank)
        x = torch.randn(size.tokens, size.wide, generator=generator).to(size.device)
        with torch.no_grad():
            self.arrow(x[:1].to(size.dtype))  # makes the prototypes
            router = self.arrow.lora_arrow[ROUTER].prototypes.float()
            x += torch.linalg.pinv(router) @ torch.full((size.experts,), 6.0, device=size.device)
        self.router = nn.Parameter(router.to(size.dtype))
        layer.lora_router.data.copy_(self.router)
        self.x = x.to(size.dtype).requires_grad_()
        self.upstream = torch.randn(size.tokens, size.narrow, generator=generator).to(size.device, size.dtype)

    def ours(self) -> Result:
        y, dx, da, db, dr = self._step(self.layer, (self.layer.lora_A, self.layer.lora_B, self.layer.lora_router))
        return {"y": y, "x": dx, "A": da, "B": db, "router": dr}

    def theirs(self, forward: Forward, down: list[Tensor], up: list[Tensor], router: Tensor | None) -> Result:
        """Outputs and gradients of a way whose experts are parameters of their own."""
        y, dx, *rest = self._step(forward, (*down, *up, *([] if router is None else [router])))
        found = {"y": y, "x": dx, "A": torch.cat(rest[: len(down)]), "B": torch.cat(rest[len(down) : 2 * len(down)], 1)}
        return found if router is None else {**found, "router": rest[-1]}

    def _step(self, forward: Forward, parameters: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        y = forward(self.x)
        return y.detach(), *torch.autograd.grad(y, (self.x, *parameters), self.upstream)

    def gates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Weights and numbers of the kept experts."""
        kept = (x @ self.router.T).topk(TOP_K, dim=-1)
        return kept.values.softmax(-1), kept.indices

    def loop_over_experts(self, x: Tensor) -> Tensor:
        """ICEdit's way: every expert on every token, weighted and summed."""
        weights, chosen = self.gates(x)
        gates = x.new_zeros(len(x), len(self.down)).scatter(-1, chosen, weights)
        out = self.layer.base(x)
        for e, (a, b) in enumerate(zip(self.down, self.up, strict=True)):
            out = out + gates[:, e : e + 1] * (x @ a.T @ b.T)
        return out

    def gather(self, x: Tensor) -> Tensor:
        """Mixtral's way: each expert on the tokens that chose it."""
        (weights, chosen), out = self.gates(x), self.layer.base(x)
        for e, (a, b) in enumerate(zip(self.down, self.up, strict=True)):
            token, slot = torch.where(chosen == e)
            out = out.index_add(0, token, x.index_select(0, token) @ a.T @ b.T * weights[token, slot, None])
        return out

    def grouped(self, x: Tensor, down: Tensor, up: Tensor) -> Tensor:
        """Tokens sorted by expert, then torch's grouped product, as transformers arranges it."""
        weights, chosen = self.gates(x)
        expert, order = chosen.flatten().sort()
        ends = torch.histc(expert.float(), len(down), 0, len(down) - 1).cumsum(0, dtype=torch.int32)
        hidden = F.grouped_mm(x.index_select(0, order // TOP_K), down.transpose(1, 2), offs=ends)
        y = F.grouped_mm(hidden, up.transpose(1, 2), offs=ends) * weights.flatten()[order, None]
        back = torch.empty_like(order).scatter(0, order, torch.arange(len(order), device=x.device))
        return self.layer.base(x) + y.index_select(0, back).view(len(x), TOP_K, -1).sum(1)

    def grouped_step(self) -> Result:
        down, up = (torch.stack([p.detach() for p in ps]).requires_grad_() for ps in (self.down, self.up))
        y, dx, da, db, dr = self._step(lambda x: self.grouped(x, down, up), (down, up, self.router))
        return {"y": y, "x": dx, "A": da.flatten(0, 1), "B": torch.cat(list(db), 1), "router": dr}


def arrow_layer(base: nn.Linear, down: list[nn.Parameter], up: list[nn.Parameter], rank: int) -> nn.Module:
    """peft's Arrow over `base` with these experts, all trained; its own router is not."""
    model, names = nn.Sequential(base), [f"task_{e}" for e in range(len(down))]
    for name in names:
        inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=rank, target_modules=["0"]), model, name)
    arrow = ArrowConfig(top_k=TOP_K, router_temperature=1.0)
    arrow.task_adapter_names, arrow.gks_adapter_names = names, []
    inject_adapter_in_model(LoraConfig(r=rank, arrow_config=arrow, target_modules=["0"]), model, ROUTER)
    layer = model[0]
    layer.set_adapter(ROUTER)
    for name, a, b in zip(names, down, up, strict=True):
        layer.lora_A[name].weight, layer.lora_B[name].weight = a.requires_grad_(), b.requires_grad_()
    return layer


def mixtures() -> Race:
    """C1-C4 at four experts."""
    setup = Setup(Size(experts=4))
    experts = setup.down, setup.up
    peers = (
        Peer("C1", "loop over all experts (ICEdit's way)", 1.25, 1.6,
             lambda: setup.theirs(setup.loop_over_experts, *experts, setup.router)),
        Peer("C2", "gather, compute, index_add", 1.20, 1.5, lambda: setup.theirs(setup.gather, *experts, setup.router)),
        Peer("C3", "peft's Arrow", 1.12, 1.5, lambda: setup.theirs(setup.arrow, *experts, None)),
        Peer("C4", "sort and torch's grouped_mm", 1.10, 1.5, setup.grouped_step),
    )  # fmt: skip
    return Race(f"MoE-LoRA forward+backward, {setup.size}", setup.ours, peers)


def many_experts() -> Race:
    """C4 at eight experts, where sparse ways begin to pay on a processor."""
    setup = Setup(Size(experts=8))
    peer = Peer("C4.8", "sort and torch's grouped_mm", 0.95, 1.2, setup.grouped_step)
    return Race(f"MoE-LoRA forward+backward, {setup.size}", setup.ours, (peer,))


def plain(width: int) -> Race:
    """C5: one expert is plain LoRA."""
    generator = torch.Generator().manual_seed(0)
    config = AdapterConfig(num_experts=1, top_k=1, expert_rank=RANK, expert_alpha=RANK)
    layer = MoELoRALinear(nn.Linear(width, width), config, generator)
    nn.init.normal_(layer.lora_B, generator=generator)
    model = nn.Sequential(layer.base)
    inject_adapter_in_model(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=["0"]), model)
    peft = model[0]
    peft.lora_A["default"].weight.data, peft.lora_B["default"].weight.data = layer.lora_A.data, layer.lora_B.data
    x = torch.randn(TOKENS, width, generator=generator, requires_grad=True)
    upstream = torch.randn(TOKENS, width, generator=generator)

    def step(forward: Forward, a: Tensor, b: Tensor) -> Result:
        y = forward(x)
        return dict(zip("yxAB", (y.detach(), *torch.autograd.grad(y, (x, a, b), upstream)), strict=True))

    peer = Peer(
        f"C5.{width}", "peft's plain LoRA linear", 1.0, 1.15,
        lambda: step(peft, peft.lora_A["default"].weight, peft.lora_B["default"].weight), tolerance=1e-6,
    )  # fmt: skip
    ours = lambda: step(layer, layer.lora_A, layer.lora_B)
    return Race(f"plain LoRA forward+backward, {width} to {width}, r={RANK}, {TOKENS} tokens", ours, (peer,))
