from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL.Image import Image

from viral.model.backbone import Backbone, load_backbone
from viral.model.roles import ANALOGY
from viral.model.velocity import EditVelocity
from viral.pretrain.pictures import Pictures
from viral.sampling.denoise import denoise, start_noise
from viral.sampling.early_filter import Comparison, Event, Filtered, Preview, Progress, early_filter
from viral.sampling.editor import Editor, to_images, to_tensor
from viral.sampling.instruct import InstructEditor
from viral.sampling.judge_cycle import CycleJudge
from viral.sampling.judge_prompt import PAIRWISE_TOKEN
from viral.sampling.judge_vlm import VisionLanguageModel, VLMJudge
from viral.sampling.judges import Candidate, JudgeError, Request, ScoringJudge, Verdict

SEEDS = [11, 5, 8, 3, 20]
PREVIEW, STEPS = 2, 5


class Brightness(ScoringJudge[None]):
    """Prefers the brighter image, or the darker one."""

    name = "brightness"

    def __init__(self, sign: int = 1) -> None:
        super().__init__()
        self.sign, self.measured = sign, 0

    def prepare(self, request: Request) -> None:
        return None

    def measure(self, known: None, candidate: Candidate) -> float:
        self.measured += 1
        return self.sign * float(np.asarray(candidate.image, dtype=float).mean())


class Always:
    """Gives the same verdict whatever it is shown, which is what position bias looks like."""

    name = "always"

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict

    def better(self, request: Request, first: Candidate, second: Candidate) -> Verdict:
        return self.verdict


class Breaking(Brightness):
    """Breaks at its n-th answer."""

    def __init__(self, after: int, error: Exception) -> None:
        super().__init__(sign=-1)
        self.left, self.error = after, error

    def better(self, request: Request, first: Candidate, second: Candidate) -> Verdict:
        if not self.left:
            raise self.error
        self.left -= 1
        return super().better(request, first, second)


@pytest.fixture(scope="module")
def backbone(tiny_base: Path) -> Backbone:
    return load_backbone(str(tiny_base), parts=("transformer", "vae"))


@pytest.fixture(scope="module")
def problem(backbone: Backbone) -> EditVelocity:
    context = [start_noise([i], (16, 8, 8)) * 0.5 for i in (101, 102, 103)]
    return EditVelocity(backbone.transformer, context, ANALOGY, torch.ones(1, 4, 64))


@pytest.fixture(scope="module")
def request_(pictures: Pictures) -> Request:
    from PIL import Image

    rng = np.random.default_rng(0)
    a, a2, b = (Image.fromarray((pictures(rng) * 255).astype(np.uint8)) for _ in range(3))
    return Request(((a, a2),), b)


@pytest.fixture(scope="module")
def run(backbone: Backbone, problem: EditVelocity, request_: Request) -> Callable[..., Filtered]:
    def decode(latents: torch.Tensor) -> list[Image]:
        return to_images(backbone.decode_latents(latents))

    made = partial(early_filter, problem, backbone.scheduler, decode, request_)
    return lambda judge=None, **options: made(
        judge or Brightness(), **{"seeds": SEEDS, "preview_steps": PREVIEW, "steps": STEPS, **options}
    )


@pytest.fixture(scope="module")
def alone(backbone: Backbone, problem: EditVelocity) -> Callable[[int], torch.Tensor]:
    return lambda seed: denoise(problem, backbone.scheduler, start_noise([seed], problem.shape), STEPS)


@pytest.mark.parametrize("tournament", ["bubble", "knockout"])
@pytest.mark.parametrize("mode", ["restart", "continue"])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_seed_whose_preview_scores_highest_wins(
    run: Callable[..., Filtered], tournament: str, mode: str, sign: int
) -> None:
    scores, judge = {}, Brightness(sign)

    def watch(event: Event) -> None:
        if isinstance(event, Preview):
            scores[event.seed] = sign * float(np.asarray(event.candidate.image, dtype=float).mean())

    trace = run(judge, mode=mode, tournament=tournament, on_event=watch).trace
    assert list(scores) == SEEDS and len(set(scores.values())) == len(SEEDS)
    assert trace["seed"] == max(scores, key=lambda seed: scores[seed])
    assert trace["error"] is None
    assert len(trace["comparisons"]) == len(SEEDS) - 1
    assert judge.measured == len(SEEDS)


def test_the_filter_spends_what_the_papers_formula_says(run: Callable[..., Filtered], problem: EditVelocity) -> None:
    spent: list[Progress] = []

    def watch(event: Event) -> None:
        spent.extend([event] if isinstance(event, Progress) else [])

    for mode, cost in (("restart", len(SEEDS) * PREVIEW + STEPS), ("continue", len(SEEDS) * PREVIEW + STEPS - PREVIEW)):
        spent.clear()
        assert run(mode=mode, batch_size=2, on_event=watch).trace["evaluations"] == cost
        assert spent[-1] == Progress(cost, cost)
        assert [p.done for p in spent] == sorted({p.done for p in spent})


def test_the_restarted_winner_has_the_bytes_of_its_seed_alone(
    run: Callable[..., Filtered], alone: Callable[[int], torch.Tensor]
) -> None:
    found = run(Brightness(-1), mode="restart")
    assert found.trace["seed"] != SEEDS[0]
    assert torch.equal(found.latents, alone(found.trace["seed"]))


def test_the_continued_winner_is_its_seed_alone(
    run: Callable[..., Filtered], alone: Callable[[int], torch.Tensor]
) -> None:
    batched, single = (run(Brightness(-1), mode="continue", batch_size=size) for size in (None, 1))
    assert torch.equal(single.latents, alone(single.trace["seed"]))
    torch.testing.assert_close(batched.latents, alone(batched.trace["seed"]), rtol=1e-5, atol=1e-5)


def test_previews_of_continue_are_clean_estimates_of_the_full_schedule(
    run: Callable[..., Filtered], backbone: Backbone, problem: EditVelocity
) -> None:
    """x0 = x_t - sigma_t v with the sigma and v of the last step taken."""
    from viral.sampling.denoise import schedule

    seen = []
    run(mode="continue", seeds=[3, 4], on_event=lambda e: seen.append(e) if isinstance(e, Preview) else None)
    before = denoise(problem, backbone.scheduler, start_noise([4], problem.shape), STEPS, stop=PREVIEW - 1)
    sigma = schedule(backbone.scheduler, STEPS, 16).sigmas[PREVIEW - 1].reshape(1)
    with torch.no_grad():
        expected = before - sigma * problem(before, sigma)
    torch.testing.assert_close(seen[1].candidate.latents, expected, rtol=1e-5, atol=1e-5)


def test_position_bias_cancels_when_orders_are_swapped(run: Callable[..., Filtered]) -> None:
    swapped = run(Always(Verdict("second", p_first=0.2)))
    assert swapped.trace["seed"] == SEEDS[0]
    assert {c["verdict"]["choice"] for c in swapped.trace["comparisons"]} == {"tie"}
    assert [a["choice"] for a in swapped.trace["comparisons"][0]["asked"]] == ["second", "first"]
    assert run(Always(Verdict("second")), swap=False).trace["seed"] == SEEDS[-1]


@pytest.mark.parametrize("choice", ["tie", "none"])
@pytest.mark.parametrize("tournament", ["bubble", "knockout"])
def test_a_tie_and_no_verdict_keep_the_incumbent(run: Callable[..., Filtered], choice: str, tournament: str) -> None:
    trace = run(Always(Verdict(choice, reason="why")), tournament=tournament).trace
    assert trace["seed"] == SEEDS[0]
    assert [c["verdict"]["reason"] for c in trace["comparisons"]] == ["why"] * 4


def test_a_broken_judge_lets_the_first_seed_go_on_and_the_trace_says_why(
    run: Callable[..., Filtered], alone: Callable[[int], torch.Tensor]
) -> None:
    for error, said in ((JudgeError("no answer"), "no answer"), (TimeoutError("5 s"), "did not answer in time: 5 s")):
        for after in (0, 2):
            found = run(Breaking(after, error))
            assert found.trace["seed"] == SEEDS[0] and said in found.trace["error"]
            assert len(found.trace["comparisons"]) == after // 2
            assert torch.equal(found.latents, alone(SEEDS[0]))


def test_a_bug_in_a_judge_is_not_taken_for_a_broken_judge(run: Callable[..., Filtered]) -> None:
    with pytest.raises(KeyError):
        run(Breaking(0, KeyError("bug")))


def test_bubble_and_knockout_compare_in_their_orders(run: Callable[..., Filtered]) -> None:
    def pairs(**options: object) -> list[tuple[int, int]]:
        trace = run(Always(Verdict("first")), swap=False, **options).trace
        return [(c["first"], c["second"]) for c in trace["comparisons"]]

    assert pairs(tournament="bubble") == [(11, 5), (11, 8), (11, 3), (11, 20)]
    assert pairs(tournament="knockout") == [(11, 5), (8, 3), (11, 8), (11, 20)]


def test_comparisons_in_parallel_decide_alike(run: Callable[..., Filtered]) -> None:
    one, three = (run(tournament="knockout", at_once=n).trace for n in (1, 3))
    assert one == three


def test_one_seed_is_neither_previewed_nor_judged(
    run: Callable[..., Filtered], alone: Callable[[int], torch.Tensor]
) -> None:
    for mode in ("restart", "continue"):
        found = run(Breaking(0, JudgeError("asked")), seeds=[8], mode=mode)
        assert torch.equal(found.latents, alone(8))
        assert found.trace["evaluations"] == STEPS and found.trace["comparisons"] == [] and not found.trace["error"]


def test_a_callback_sees_comparisons_and_can_end_the_filter(run: Callable[..., Filtered]) -> None:
    def watch(event: Event) -> None:
        if isinstance(event, Comparison):
            raise TimeoutError("the caller left")

    with pytest.raises(TimeoutError, match="the caller left"):
        run(on_event=watch)


def test_seeds_and_steps_that_make_no_filter_are_refused(run: Callable[..., Filtered]) -> None:
    with pytest.raises(ValueError, match="no seeds"):
        run(seeds=[])
    with pytest.raises(ValueError, match="hold one twice"):
        run(seeds=[1, 2, 1])
    for preview_steps in (0, STEPS, STEPS + 1):
        with pytest.raises(ValueError, match=f"preview_steps is {preview_steps}, expected 1 to 4"):
            run(preview_steps=preview_steps)
    with pytest.raises(ValueError, match="batch_size"):
        run(batch_size=0)


def test_the_trace_is_plain_json(run: Callable[..., Filtered]) -> None:
    import json

    trace = run().trace
    assert json.loads(json.dumps(trace))["comparisons"][0]["verdict"] == trace["comparisons"][0]["verdict"]


def test_the_filter_serves_the_analogy_editor_without_decoding_a_preview(tiny_base: Path, request_: Request) -> None:
    editor = Editor.load(str(tiny_base))
    problem = editor.problem(request_.examples, request_.query, "tint it red", size=32)
    judge = CycleJudge(
        lambda image: editor.backbone.encode_images(to_tensor(image)),
        lambda context, grid: EditVelocity(editor.transformer, context, ANALOGY, problem.texts[0], grid=grid),
    )

    def decode(latents: torch.Tensor) -> list[Image]:
        raise AssertionError("a preview was decoded")

    found = early_filter(
        problem, editor.backbone.scheduler, decode, request_, judge, seeds=[1, 2, 3], preview_steps=1, steps=3
    )
    assert not found.trace["error"] and "cycle: -" in found.trace["comparisons"][0]["verdict"]["reason"]
    alone = editor(request_.examples, request_.query, "tint it red", size=32, steps=3, seed=found.trace["seed"])
    assert np.array_equal(np.asarray(editor.decode(found.latents)[0]), np.asarray(alone.image))


def test_the_filter_serves_the_instruction_editor(fill_base: Path, tiny_base: Path, request_: Request) -> None:
    """Qwen2.5-VL looks at the right halves of FLUX.1 Fill's diptychs."""
    editor, shown = InstructEditor.load(str(fill_base)), []
    told = Request((), request_.query, "tint it red")
    judge = VLMJudge(VisionLanguageModel.load(str(tiny_base)))

    def watch(event: Event) -> None:
        shown.extend([event.candidate] if isinstance(event, Preview) else [])

    problem = editor.problem(told.query, "tint it red", width=32, height=32)
    found = early_filter(
        problem, editor.backbone.scheduler, editor.decode, told, judge,
        seeds=[1, 2], preview_steps=1, steps=2, mode="continue", on_event=watch,
    )  # fmt: skip
    (comparison,) = found.trace["comparisons"]
    assert all(0 < asked["p_first"] < 1 for asked in comparison["asked"])
    assert [candidate.image.size for candidate in shown] == [(32, 32)] * 2
    assert found.trace["evaluations"] == 3 and PAIRWISE_TOKEN.name in found.trace["judge"]
