from pathlib import Path

import pytest
import torch
from PIL.Image import Image
from PIL.Image import new as new_image

from viral.model.backbone import Backbone, load_backbone
from viral.model.roles import ANALOGY
from viral.model.velocity import EditVelocity, predict_velocity
from viral.sampling.denoise import start_noise
from viral.sampling.editor import to_images, to_tensor
from viral.sampling.judge_cycle import CycleJudge
from viral.sampling.judges import Candidate, JudgeError, Request

TEXT = torch.ones(1, 4, 64)


def noise(seed: int, side: int = 32) -> Image:
    return to_images(torch.rand(1, 3, side, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1)[0]


def unpainted() -> Image:
    raise AssertionError("a candidate with latents was decoded")


@pytest.fixture(scope="module")
def backbone(tiny_base: Path) -> Backbone:
    return load_backbone(str(tiny_base), parts=("transformer", "vae"))


class Model:
    """The tiny edit model as the judge sees it, counting what it is asked."""

    def __init__(self, backbone: Backbone) -> None:
        self.backbone, self.evaluations, self.encoded = backbone, 0, 0

    def encode(self, image: Image) -> torch.Tensor:
        self.encoded += 1
        return self.backbone.encode_images(to_tensor(image))

    def velocity(self, context: list[torch.Tensor], grid: tuple[int, int]) -> EditVelocity:
        self.evaluations += 1
        return EditVelocity(self.backbone.transformer, context, ANALOGY, TEXT, grid=grid)


@pytest.fixture
def model(backbone: Backbone) -> Model:
    return Model(backbone)


def latents(seed: int) -> torch.Tensor:
    return start_noise([seed], (16, 8, 8))


def test_the_score_is_minus_the_flow_loss_of_the_known_answer(model: Model, backbone: Backbone) -> None:
    """Each time and noise on its own: |v(x_t; B, B', A) - (e - A')|^2."""
    times, b2 = (0.4, 0.9), latents(7)
    judge = CycleJudge(model.encode, model.velocity, times=times, seed=3)
    got = judge.score(Request(((noise(0), noise(1)),), noise(2)), Candidate(unpainted, b2))
    a, a2, b = (backbone.encode_images(to_tensor(noise(i))) for i in range(3))
    losses = []
    for i, t in enumerate(times):
        e = start_noise([3 + i], (16, 8, 8))
        with torch.no_grad():
            x = (1 - t) * a2 + t * e
            v = predict_velocity(backbone.transformer, x, [b, b2, a], ANALOGY, torch.tensor([t]), TEXT)
        losses.append((v - (e - a2)).square().mean().item())
    assert got == pytest.approx(-sum(losses) / 2, rel=1e-5)


def test_a_model_that_knows_the_analogy_prefers_the_candidate_that_follows_it(model: Model) -> None:
    class Difference:
        """The exact velocity of a world in which an edit adds to the latents: x0 = query + example's change."""

        def __init__(self, context: list[torch.Tensor], grid: tuple[int, int]) -> None:
            before, after, query = context
            self.shape, self.x0 = tuple(query.shape[1:]), query + after - before

        def __call__(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            return (x - self.x0) / t.view(-1, 1, 1, 1)

    a, a2, b = (noise(i) for i in range(3))
    answer = model.encode(b) + model.encode(a2) - model.encode(a)
    judge, asked = CycleJudge(model.encode, Difference), Request(((a, a2),), b)
    near, true, far = (Candidate(unpainted, answer + s * latents(5)) for s in (0.1, 0.0, 1.0))
    assert judge.score(asked, true) == pytest.approx(0, abs=1e-8)
    assert judge.better(asked, near, far).choice == "first"
    assert judge.better(asked, near, true).choice == "second"


def test_m_candidates_cost_m_scores_and_nothing_is_decoded(model: Model) -> None:
    judge, asked = CycleJudge(model.encode, model.velocity), Request(((noise(0), noise(1)),), noise(2))
    field = [Candidate(unpainted, latents(i)) for i in range(4)]
    for first in field:
        for second in field:
            judge.better(asked, first, second)
    assert (model.evaluations, model.encoded) == (len(field), 3)


def test_a_candidate_without_latents_is_encoded(model: Model) -> None:
    judge, asked = CycleJudge(model.encode, model.velocity), Request(((noise(0), noise(1)),), noise(2))
    image, encoded = Candidate(lambda: noise(4)), Candidate(unpainted, model.encode(noise(4)))
    assert judge.score(asked, image) == judge.score(asked, encoded)


def test_several_pairs_of_several_sizes_count_by_their_mean(model: Model) -> None:
    judge = CycleJudge(model.encode, model.velocity)
    pairs = ((noise(0), noise(1)), (noise(2, side=48), noise(3, side=48)))
    whole, *single = (
        judge.score(Request(shown, noise(4)), Candidate(unpainted, latents(5)))
        for shown in (pairs, pairs[:1], pairs[1:])
    )
    assert whole == pytest.approx(sum(single) / 2, rel=1e-5)


def test_a_request_without_examples_is_refused(model: Model) -> None:
    with pytest.raises(ValueError, match="needs an example pair"):
        CycleJudge(model.encode, model.velocity).score(
            Request((), new_image("RGB", (32, 32)), "tint it"), Candidate(unpainted, latents(0))
        )


def test_latents_that_are_not_numbers_break_the_judge(model: Model) -> None:
    judge = CycleJudge(model.encode, model.velocity)
    with pytest.raises(JudgeError, match="cycle scored a candidate nan"):
        judge.score(
            Request(((noise(0), noise(1)),), noise(2)), Candidate(unpainted, torch.full((1, 16, 8, 8), float("nan")))
        )
