from typing import Any

import pytest
import torch
from diffusers import QwenImageTransformer2DModel
from torch import Tensor

from viral.model.roles import ANALOGY, roles_of, use_role_rope
from viral.model.velocity import EditVelocity, ExampleGuided, Velocity, batches, predict_velocity
from viral.pretrain.folder import build_transformer

T = torch.tensor([0.7])


@pytest.fixture(scope="module")
def transformer() -> QwenImageTransformer2DModel:
    model = build_transformer(layers=2, heads=2).eval().requires_grad_(False)
    use_role_rope(model)
    return model


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


CONTEXT = [draw(i, 1, 16, 4, 4) for i in range(3)]
TEXT, OTHER = draw(5, 1, 5, 64), draw(6, 1, 3, 64)


def problem(transformer: QwenImageTransformer2DModel, **changes: Any) -> EditVelocity:
    arguments = {"context": CONTEXT, "roles": ANALOGY, "text": TEXT, **changes}
    return EditVelocity(transformer, **arguments)


def close(ours: Tensor, theirs: Tensor) -> None:
    assert (ours - theirs).norm() <= 1e-5 * theirs.norm()


def test_an_edit_is_a_velocity_of_the_querys_grid_or_of_one_that_is_named(
    transformer: QwenImageTransformer2DModel,
) -> None:
    wide = problem(transformer, context=[*CONTEXT[:2], draw(4, 1, 16, 4, 8)])
    assert isinstance(wide, Velocity)
    assert wide.shape == (16, 4, 8)
    assert problem(transformer, grid=(2, 6))(draw(1, 1, 16, 2, 6), T).shape == (1, 16, 2, 6)


@pytest.mark.parametrize("mode", ["full", "stationary"])
def test_seeds_of_one_context_run_together_as_they_run_alone(
    transformer: QwenImageTransformer2DModel, mode: str
) -> None:
    own, latents = problem(transformer, mode=mode), draw(8, 3, 16, 4, 4)
    together = own(latents, T.expand(3))
    close(together, torch.cat([own(each[None], T) for each in latents]))


@pytest.mark.parametrize("mode", ["full", "stationary"])
def test_equal_prompts_skip_the_second_pass(transformer: QwenImageTransformer2DModel, mode: str) -> None:
    passes, latents = [], draw(8, 1, 16, 4, 4)
    plain, same = problem(transformer, mode=mode), problem(transformer, mode=mode, guidance=4.0, negative=TEXT.clone())
    other = problem(transformer, mode=mode, guidance=4.0, negative=OTHER)
    expected = plain(latents, T)
    hook = transformer.proj_out.register_forward_hook(lambda *_: passes.append(1))
    assert torch.equal(same(latents, T), expected)
    assert len(passes) == 1
    assert not torch.equal(other(latents, T), expected)
    assert len(passes) == 3
    hook.remove()


@pytest.mark.parametrize("mode", ["full", "stationary"])
def test_mixed_requests_run_in_batches_of_their_kind(transformer: QwenImageTransformer2DModel, mode: str) -> None:
    five = [draw(20 + i, 1, 16, 4, 4) for i in range(5)]
    mixed = [
        problem(transformer, mode=mode),
        problem(transformer, mode=mode, context=five, roles=roles_of(2)),
        problem(transformer, mode=mode, context=[draw(30 + i, 1, 16, 4, 4) for i in range(3)], text=draw(9, 1, 5, 64)),
        problem(transformer, mode=mode, context=five, roles=roles_of(2, "shared")),
        problem(transformer, mode=mode, text=OTHER),
        problem(transformer, mode=mode, grid=(2, 4)),
    ]
    split = batches(mixed)
    assert [places for places, _ in split] == [[0, 2], [1], [3], [4], [5]]
    latents = draw(8, 2, 16, 4, 4)
    together = split[0][1](latents, T.expand(2))
    close(together, torch.cat([mixed[place](latents[i : i + 1], T) for i, place in enumerate((0, 2))]))
    with pytest.raises(ValueError, match="do not fit one batch"):
        EditVelocity.stack(mixed)


def test_guided_problems_stack_too(transformer: QwenImageTransformer2DModel) -> None:
    guided = [
        problem(transformer, text=draw(40 + i, 1, 5, 64), guidance=3.0, negative=draw(50 + i, 1, 3, 64))
        for i in range(2)
    ]
    latents = draw(8, 2, 16, 4, 4)
    close(
        EditVelocity.stack(guided)(latents, T.expand(2)),
        torch.cat([guided[i](latents[i : i + 1], T) for i in range(2)]),
    )


@pytest.mark.parametrize("mode", ["full", "stationary"])
def test_example_guidance_adds_what_sets_the_change_apart_from_its_reverse(
    transformer: QwenImageTransformer2DModel, mode: str
) -> None:
    a, a2, b = (draw(60 + i, 1, 16, 4, 4) for i in range(3))
    shown, undone = (problem(transformer, mode=mode, context=[*pair, b]) for pair in ((a, a2), (a2, a)))
    latents, guided = draw(8, 1, 16, 4, 4), ExampleGuided(shown, undone, 3.0)
    expected = 3 * shown(latents, T) - 2 * undone(latents, T)
    close(guided(latents, T), expected)
    assert not torch.allclose(expected, shown(latents, T), atol=1e-3)
    assert guided.evaluations == 2 and guided.trace["example_guidance"] == 3
    same = problem(transformer, mode=mode, context=[a, a, b])
    close(ExampleGuided(same, same, 5.0)(latents, T), same(latents, T))
    with pytest.raises(ValueError, match="at least 1"):
        ExampleGuided(shown, undone, 0.5)


def test_problems_guided_by_examples_run_in_batches_of_their_kind(transformer: QwenImageTransformer2DModel) -> None:
    contexts = [[draw(70 + 3 * i + j, 1, 16, 4, 4) for j in range(3)] for i in range(3)]
    plain = [problem(transformer, context=context) for context in contexts]
    undone = [problem(transformer, context=[a2, a, b]) for a, a2, b in contexts]
    mixed = [ExampleGuided(plain[0], undone[0], 2.0), plain[1], ExampleGuided(plain[2], undone[2], 2.0)]
    mixed.append(ExampleGuided(plain[2], undone[2], 4.0))
    split = batches(mixed)
    assert [places for places, _ in split] == [[0, 2], [1], [3]]
    latents = draw(8, 2, 16, 4, 4)
    together = split[0][1](latents, T.expand(2))
    close(together, torch.cat([mixed[place](latents[i : i + 1], T) for i, place in enumerate((0, 2))]))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"context": []}, "no context image"),
        ({"context": [draw(1, 1, 4, 4, 4)] * 3}, "expected 16 channels"),
        ({"context": [draw(1, 1, 16, 4, 5)] * 3}, "even sides"),
        ({"grid": (3, 4)}, "even sides"),
        ({"roles": (1, 2)}, "3 context images came with 2 roles"),
        ({"text": draw(1, 1, 5, 32)}, "32 wide, expected 64"),
        ({"text": draw(1, 2, 5, 64)}, "2 texts for 1 contexts"),
        ({"guidance": 4.0}, "without a negative text"),
        ({"guidance": 0.5, "negative": TEXT}, "at least 1"),
    ],
)
def test_conditions_that_do_not_fit_are_refused(
    transformer: QwenImageTransformer2DModel, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        problem(transformer, **changes)


def test_latents_of_another_shape_or_batch_are_refused(transformer: QwenImageTransformer2DModel) -> None:
    with pytest.raises(ValueError, match="expected \\(16, 4, 4\\)"):
        problem(transformer)(draw(1, 1, 16, 4, 6), T)
    pair = [image.repeat(2, 1, 1, 1) for image in CONTEXT]
    with pytest.raises(ValueError, match="multiple of it"):
        predict_velocity(transformer, draw(1, 3, 16, 4, 4), pair, ANALOGY, T.expand(3), TEXT)
