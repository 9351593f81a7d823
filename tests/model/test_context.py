from collections.abc import Callable

import pytest
import torch
from accelerate.hooks import ModelHook, add_hook_to_module, remove_hook_from_module
from diffusers import QwenImageTransformer2DModel
from diffusers.models.transformers import transformer_qwenimage
from torch import Tensor

from viral.config import AdapterConfig
from viral.model.adapter import adapter_parameters, add_adapter, balance_loss
from viral.model.context import StationaryContext, stationary_velocity
from viral.model.roles import ANALOGY, set_roles, use_role_rope
from viral.model.tokens import pack, unpack
from viral.model.velocity import predict_velocity
from viral.pretrain.folder import build_transformer

SIZES = ((4, 6), (2, 4), (6, 4))
"""Latent grids of A, A' and B; the target is of 4 x 4."""


@pytest.fixture(scope="module")
def transformer() -> QwenImageTransformer2DModel:
    """A transformer with an adapter that is no longer the identity."""
    model = build_transformer(layers=2, heads=2).eval()
    use_role_rope(model)
    add_adapter(model, AdapterConfig(rank=2, expert_rank=2), seed=0)
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for parameter in adapter_parameters(model).values():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return model


def draw(count: int, seed: int, *sizes: tuple[int, int]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(count, 16, *size, generator=generator) for size in sizes]


CONTEXT, TEXT = draw(2, 1, *SIZES), torch.randn(2, 5, 64, generator=torch.Generator().manual_seed(2))
NOISY, T = draw(4, 3, (4, 4))[0], torch.tensor([0.9, 0.3, 0.6, 0.05])


@pytest.fixture
def masked_stock(transformer: QwenImageTransformer2DModel, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Tensor]:
    """The stock forward under a dense mask that hides the target from text and context, its text modulated at t = 0."""

    def forward(noisy: Tensor, context: list[Tensor], t: Tensor, text: Tensor) -> Tensor:
        words, own = text.shape[1], noisy.shape[2] * noisy.shape[3] // 4
        total = words + own + sum(image.shape[2] * image.shape[3] // 4 for image in context)
        hidden = torch.zeros(total, dtype=torch.bool)
        hidden[words : words + own] = True
        mask = ~hidden[None, :] | hidden[:, None]
        stock = transformer_qwenimage.dispatch_attention_fn
        zero = transformer.time_text_embed(torch.zeros(len(noisy)), text)
        hooks = [
            block.txt_mod.register_forward_pre_hook(lambda *_: (zero,)) for block in transformer.transformer_blocks
        ]
        with monkeypatch.context() as patched:
            patched.setattr(
                transformer_qwenimage,
                "dispatch_attention_fn",
                lambda *qkv, attn_mask, **kwargs: stock(*qkv, attn_mask=mask, **kwargs),
            )
            v = stock_velocity(transformer, noisy, context, t, text)
        for hook in hooks:
            hook.remove()
        return v

    return forward


def stock_velocity(
    transformer: QwenImageTransformer2DModel, noisy: Tensor, context: list[Tensor], t: Tensor, text: Tensor
) -> Tensor:
    """What diffusers' own forward predicts."""
    set_roles(transformer, ANALOGY, len(context))
    images = [noisy, *context]
    tokens = transformer(
        hidden_states=torch.cat([pack(image) for image in images], 1),
        timestep=t,
        encoder_hidden_states=text,
        img_shapes=[[(1, image.shape[2] // 2, image.shape[3] // 2) for image in images]] * len(noisy),
        return_dict=False,
    )[0]
    height, width = noisy.shape[2:]
    return unpack(tokens[:, : height * width // 4], height, width)


def close(ours: Tensor, theirs: Tensor) -> None:
    assert (ours - theirs).norm() <= 1e-5 * theirs.norm()


@torch.no_grad()
def test_cached_equals_the_stock_model_under_a_mask(
    transformer: QwenImageTransformer2DModel, masked_stock: Callable[..., Tensor]
) -> None:
    cached = StationaryContext(transformer, CONTEXT, ANALOGY, TEXT, (4, 4))
    for t in (0.9, 0.3):
        times = torch.full((2,), t)
        close(cached.velocity(NOISY[:2], times), masked_stock(NOISY[:2], CONTEXT, times, TEXT))


def test_single_pass_and_its_gradients_equal_the_stock_models_under_a_mask(
    transformer: QwenImageTransformer2DModel, masked_stock: Callable[..., Tensor]
) -> None:
    """The balance loss too: it counts the tokens of context and target once each."""
    results = []

    def ours(noisy: Tensor, context: list[Tensor], t: Tensor, text: Tensor) -> Tensor:
        return predict_velocity(transformer, noisy, context, ANALOGY, t, text, mode="stationary")

    for forward in (masked_stock, ours):
        v = forward(NOISY[:2], CONTEXT, T[:2], TEXT)
        transformer.zero_grad()
        (v.square().sum() + balance_loss(transformer)).backward()
        gradients = {name: p.grad for name, p in adapter_parameters(transformer).items()}
        results.append((v.detach(), gradients))
    (stock, expected), (v, got) = results
    close(v, stock)
    for name, gradient in expected.items():
        torch.testing.assert_close(got[name], gradient, rtol=1e-4, atol=1e-5, msg=lambda m, name=name: f"{name}: {m}")


@torch.no_grad()
def test_several_targets_of_a_context_equal_one_pass_each(transformer: QwenImageTransformer2DModel) -> None:
    together = stationary_velocity(transformer, NOISY, CONTEXT, ANALOGY, T, TEXT)
    cached = StationaryContext(transformer, CONTEXT, ANALOGY, TEXT, (4, 4)).velocity(NOISY, T)
    for i in range(4):
        own = [image[i // 2 : i // 2 + 1] for image in CONTEXT]
        alone = stationary_velocity(
            transformer, NOISY[i : i + 1], own, ANALOGY, T[i : i + 1], TEXT[i // 2 : i // 2 + 1]
        )
        close(together[i : i + 1], alone)
        close(cached[i : i + 1], alone)


def test_gradients_are_the_same_with_checkpointing(transformer: QwenImageTransformer2DModel) -> None:
    gradients = []
    for switch in (transformer.disable_gradient_checkpointing, transformer.enable_gradient_checkpointing):
        switch()
        transformer.zero_grad()
        v = stationary_velocity(transformer, NOISY, CONTEXT, ANALOGY, T, TEXT)
        (v.square().sum() + balance_loss(transformer)).backward()
        gradients.append({name: p.grad for name, p in adapter_parameters(transformer).items()})
    transformer.disable_gradient_checkpointing()
    torch.testing.assert_close(*gradients)


@torch.no_grad()
def test_the_context_runs_once_for_all_steps(transformer: QwenImageTransformer2DModel) -> None:
    cached, passes = StationaryContext(transformer, CONTEXT, ANALOGY, TEXT, (4, 4)), []
    hook = transformer.txt_in.register_forward_hook(lambda *_: passes.append(1))
    first = cached.velocity(NOISY, T)
    places = [buffer.both.data_ptr() for buffer in cached._buffers]
    cached.velocity(NOISY, 1 - T)
    assert torch.equal(cached.velocity(NOISY, T), first)
    hook.remove()
    assert len(passes) == 1
    assert [buffer.both.data_ptr() for buffer in cached._buffers] == places


@torch.no_grad()
def test_padding_of_text_changes_nothing(transformer: QwenImageTransformer2DModel) -> None:
    padded, mask = torch.cat([TEXT, torch.full_like(TEXT, 7)], 1), torch.tensor([[1] * 5 + [0] * 5] * 2)
    plain = stationary_velocity(transformer, NOISY, CONTEXT, ANALOGY, T, TEXT)
    close(stationary_velocity(transformer, NOISY, CONTEXT, ANALOGY, T, padded, mask), plain)


@torch.no_grad()
def test_a_stationary_target_knows_roles_not_order(transformer: QwenImageTransformer2DModel) -> None:
    a, a2, b = CONTEXT
    straight = stationary_velocity(transformer, NOISY, CONTEXT, ANALOGY, T, TEXT)
    close(stationary_velocity(transformer, NOISY, [b, a, a2], (3, 1, 2), T, TEXT), straight)
    swapped = stationary_velocity(transformer, NOISY, CONTEXT, (2, 1, 3), T, TEXT)
    assert (swapped - straight).norm() > 1e-3 * straight.norm()


@torch.no_grad()
def test_an_offloaded_transformer_is_called_for_at_every_step(transformer: QwenImageTransformer2DModel) -> None:
    class Offloaded(ModelHook):
        calls = 0

        def pre_forward(self, module: torch.nn.Module, *args: object, **kwargs: object) -> tuple:
            self.calls += 1
            return args, kwargs

    hook = Offloaded()
    add_hook_to_module(transformer, hook)
    cached = StationaryContext(transformer, CONTEXT, ANALOGY, TEXT, (4, 4))
    cached.velocity(NOISY, T)
    cached.velocity(NOISY, T)
    remove_hook_from_module(transformer)
    assert hook.calls == 3


def test_a_base_without_zero_cond_t_and_odd_batches_are_refused(transformer: QwenImageTransformer2DModel) -> None:
    with pytest.raises(ValueError, match="multiple of it"):
        stationary_velocity(transformer, NOISY[:3], CONTEXT, ANALOGY, T[:3], TEXT)
    with pytest.raises(ValueError, match="multiple of it"):
        stationary_velocity(transformer, NOISY, [CONTEXT[0][:1], *CONTEXT[1:]], ANALOGY, T, TEXT)
    older = QwenImageTransformer2DModel.from_config({**transformer.config, "zero_cond_t": False, "num_layers": 1})
    with pytest.raises(ValueError, match="zero_cond_t"):
        stationary_velocity(older, NOISY, CONTEXT, ANALOGY, T, TEXT)
