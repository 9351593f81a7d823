import pytest
import torch
from torch import Tensor, nn

from viral.config import AdapterConfig
from viral.model.moe_lora import MoELoRALinear


def layer(generator: torch.Generator, **changes: object) -> MoELoRALinear:
    config = AdapterConfig.model_validate(
        {"num_experts": 4, "expert_rank": 3, "expert_alpha": 6, "top_k": 2, **changes}
    )
    made = MoELoRALinear(nn.Linear(10, 7), config, generator)
    with torch.no_grad():
        made.lora_B.copy_(torch.randn(made.lora_B.shape, generator=generator))
        if made.lora_router is not None:
            made.lora_router.copy_(torch.randn(made.lora_router.shape, generator=generator))
    return made


def loop_over_experts(made: MoELoRALinear, x: Tensor) -> Tensor:
    """The definition, one token and one expert at a time."""
    rank = made.lora_A.shape[0] // made.num_experts
    out = made.base(x).clone()
    for i, token in enumerate(x):
        logits = made.lora_router @ token
        kept = logits.topk(made.top_k).indices
        gates = logits[kept].softmax(0) if made.gate == "topk_softmax" else logits.softmax(0)[kept]
        for gate, e in zip(gates, kept, strict=True):
            a, b = made.lora_A[e * rank : (e + 1) * rank], made.lora_B[:, e * rank : (e + 1) * rank]
            out[i] += made.scale * gate * (b @ (a @ token))
    return out


@pytest.mark.parametrize("gate", ["topk_softmax", "softmax_topk"])
@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_stacked_equals_the_loop_over_experts(gate: str, top_k: int) -> None:
    generator = torch.Generator().manual_seed(3)
    made = layer(generator, gate=gate, top_k=top_k)
    x = torch.randn(9, 10, generator=generator, requires_grad=True)
    gradients = []
    for forward in (made, lambda x: loop_over_experts(made, x)):
        made.zero_grad()
        y = forward(x)
        gradients.append((y, *torch.autograd.grad(y.square().sum(), (x, *made.tensors().values()))))
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-4)


def test_one_expert_equals_plain_lora() -> None:
    generator = torch.Generator().manual_seed(4)
    made, x = layer(generator, num_experts=1, top_k=1), torch.randn(5, 10, generator=generator)
    plain = made.base(x) + made.scale * (x @ made.lora_A.T @ made.lora_B.T)
    torch.testing.assert_close(made(x), plain)
    assert made.tensors().keys() == {"lora_A", "lora_B"}
    assert made.balance.item() == 1


def test_layer_equals_its_base_at_start() -> None:
    generator = torch.Generator().manual_seed(5)
    made = MoELoRALinear(nn.Linear(10, 7), AdapterConfig(), generator)
    x = torch.randn(5, 10, generator=generator)
    assert torch.equal(made(x), made.base(x))


def test_strength_scales_what_the_experts_add() -> None:
    generator = torch.Generator().manual_seed(11)
    made, x = layer(generator), torch.randn(2, 5, 10, generator=generator)
    base, full = made.base(x), made(x)
    made.strength = 0.5
    torch.testing.assert_close(made(x), (base + full) / 2)
    made.strength = 0.0
    assert torch.equal(made(x), base)


def test_router_learns_at_top_one_only_with_softmax_before_the_choice() -> None:
    gradients = {}
    for gate in ("topk_softmax", "softmax_topk"):
        generator = torch.Generator().manual_seed(6)
        made = layer(generator, gate=gate, top_k=1)
        made(torch.randn(8, 10, generator=generator)).square().sum().backward()
        gradients[gate] = made.lora_router.grad.abs().max().item()
    assert gradients["topk_softmax"] == 0
    assert gradients["softmax_topk"] > 1e-3


def test_router_works_in_float32_beside_a_bfloat16_base() -> None:
    """Two logits that bfloat16 cannot tell apart still choose the larger one."""
    generator = torch.Generator().manual_seed(8)
    made = layer(generator, top_k=1)
    made.base.bfloat16()
    with torch.no_grad():
        made.lora_router.zero_()
        made.lora_router[:, 0] = torch.tensor([1.0, 1.001, 0.5, 0.0])
    y = made(torch.ones(6, 10, dtype=torch.bfloat16))
    assert y.dtype == torch.bfloat16
    assert made.use.tolist() == [0, 1, 0, 0]
    assert made.balance.dtype == torch.float32


def test_balance_is_one_for_uniform_use_and_larger_for_collapse() -> None:
    generator = torch.Generator().manual_seed(7)
    made = layer(generator)
    with torch.no_grad():
        made.lora_router.zero_()
        made.lora_router[:, 0] = torch.tensor([50.0, 40.0, -40.0, -50.0])
    x = torch.randn(64, 10, generator=generator)
    x[:, 0] = 1
    made(x)
    assert made.balance.item() == pytest.approx(2, abs=1e-3)
    with torch.no_grad():
        made.lora_router.copy_(torch.randn(made.lora_router.shape, generator=generator) * 1e-4)
    made(torch.randn(4096, 10, generator=generator))
    assert made.balance.item() == pytest.approx(1, abs=1e-2)


def test_recomputation_leaves_the_first_passes_balance_alone() -> None:
    generator = torch.Generator().manual_seed(9)
    made, x = layer(generator), torch.randn(8, 10, generator=generator)
    y = torch.utils.checkpoint.checkpoint(made, x, use_reentrant=False)
    first = made.balance
    (y.square().sum() + first).backward()
    assert made.balance is first


def test_more_kept_experts_than_experts_is_refused() -> None:
    with pytest.raises(ValueError, match="top_k"):
        AdapterConfig(num_experts=2, top_k=3)
