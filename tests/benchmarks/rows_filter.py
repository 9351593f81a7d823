"""C9: the early filter against the same filter by separate runs of diffusers."""

from collections.abc import Callable
from functools import cache

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from PIL import Image
from stock import SIZES, Edit, StockVelocity, random_edit, stationary_mask
from timing import LONG, Peer, Race, Result, best_of
from torch import Tensor

from viral.model.backbone import load_backbone
from viral.model.roles import ANALOGY
from viral.model.velocity import EditVelocity
from viral.pretrain.folder import build_scheduler
from viral.sampling.early_filter import early_filter
from viral.sampling.editor import to_images
from viral.sampling.judges import Candidate, Request, ScoringJudge
from viral.shipped import SHIPPED_BASE

SEEDS, PREVIEW, STEPS = list(range(8)), 4, 40


class LatentMean(ScoringJudge[None]):
    """Prefers the larger mean latent: deterministic, and needs no decoding."""

    name = "latent mean"

    def prepare(self, request: Request) -> None:
        return None

    def measure(self, known: None, candidate: Candidate) -> float:
        return float(candidate.latents.mean())


def filtered() -> Race:
    """The gate is diffusers' own filter under the mask; the winner must be that of full attention too."""
    edit, scheduler = random_edit(side=14), build_scheduler()
    picture = Image.new("RGB", (8, 8))
    request, stock = Request(((picture, picture),), picture), StockVelocity(edit)

    def ours() -> Result:
        problem = EditVelocity(edit.transformer, edit.context, ANALOGY, edit.text, mode="stationary")
        found = early_filter(
            problem, scheduler, no_picture, request, LatentMean(), seeds=SEEDS, preview_steps=PREVIEW, steps=STEPS
        )
        winner = torch.tensor(found.trace["seed"])
        return {"latents": found.latents, "winner": winner, "winner of full attention": winner}

    @cache
    def expected() -> Result:
        with stationary_mask(edit):
            masked = run_diffusers(stock, scheduler, edit)
        return {**masked, "winner of full attention": run_diffusers(stock, scheduler, edit)["winner"]}

    judged = f"decoding 8 previews, in neither arm: {1000 * decoding(edit):.0f} ms"
    peers = (
        Peer("C9", "early filter by separate diffusers runs, full attention", 3.3, 3.86,
             lambda: run_diffusers(stock, scheduler, edit), expected, beside=judged),
        Peer("C9.plain", "one plain 40-step image by diffusers, unfiltered", 1 / 0.6, 1 / 0.47,
             lambda: {"latents": stock.denoise(scheduler, edit.noise(0), STEPS)}, expected),
    )  # fmt: skip
    return Race(f"early filter, M=8, m=4, n=40, 196 tokens an image, {SIZES}", ours, peers, LONG)


def no_picture(latents: Tensor) -> list[Image.Image]:
    raise AssertionError("the judge of this row looks at latents")


def run_diffusers(stock: StockVelocity, scheduler: FlowMatchEulerDiscreteScheduler, edit: Edit) -> Result:
    """Each seed's preview by itself, then all steps of the winner."""
    previews = [stock.denoise(scheduler, edit.noise(seed), PREVIEW).mean() for seed in SEEDS]
    winner = SEEDS[int(torch.stack(previews).argmax())]
    return {"latents": stock.denoise(scheduler, edit.noise(winner), STEPS), "winner": torch.tensor(winner)}


def decoding(edit: Edit) -> float:
    """Processor seconds of decoding all previews with the small base's VAE."""
    backbone = load_backbone(str(SHIPPED_BASE), parts=("vae",))
    latents = edit.noise(*SEEDS)
    decode: Callable[[], object] = lambda: to_images(backbone.decode_latents(latents))
    return best_of((decode,), 2)[0]
