"""C6-C8: one forward pass, and the denoise loop with a context that is computed once."""

import torch
from stock import HEAD_WIDTH, HEADS, LAYERS, SIZES, StockVelocity, random_edit, stationary_mask
from timing import LONG, REPEATS, Peer, Race, Result

from viral.model.roles import ANALOGY
from viral.model.tokens import pack, unpack
from viral.model.velocity import EditVelocity, predict_velocity
from viral.pretrain.folder import build_scheduler
from viral.sampling.denoise import denoise

SIDE = 20


def forward() -> Race:
    """C6: full attention, the same result."""
    edit = random_edit(side=16)
    context, text, noise, t = edit.context, edit.text, edit.noise(1), torch.tensor([0.7])
    stock = StockVelocity(edit)

    @torch.no_grad()
    def ours() -> Result:
        return {"velocity": predict_velocity(edit.transformer, noise, context, ANALOGY, t, text)}

    @torch.no_grad()
    def theirs() -> Result:
        return {"velocity": unpack(stock(pack(noise), t), *noise.shape[2:])}

    peer = Peer("C6", "diffusers' forward, same result", 1.0, 1.1, theirs)
    return Race(f"full attention, four images of 256 tokens, {SIZES}", ours, (peer,))


def loop(name: str, steps: int, bar: float) -> Race:
    """C7 and C8: n steps with their prefill. The gate is diffusers' own loop under a dense mask."""
    edit, scheduler = random_edit(SIDE), build_scheduler()
    noise, stock = edit.noise(1), StockVelocity(edit)

    def ours() -> Result:
        velocity = EditVelocity(edit.transformer, edit.context, ANALOGY, edit.text, mode="stationary")
        return {"latents": denoise(velocity, scheduler, noise, steps)}

    def theirs() -> Result:
        return {"latents": stock.denoise(scheduler, noise, steps)}

    def masked() -> Result:
        with stationary_mask(edit):
            return theirs()

    told = "against diffusers under a dense mask; full attention needs an adapter trained with it"
    peer = Peer(name, f"diffusers' forward x {steps}, full attention", bar, floor(steps), theirs, masked, beside=told)
    workload = f"stationary cached loop with its prefill, n={steps}, {SIDE**2} tokens an image, {SIZES}"
    return Race(workload, ours, (peer,), LONG if steps == 40 else REPEATS)


def floor(steps: int) -> float:
    """The ratio of multiplications. The last layer's prefill is keys and values alone, which counts in few layers."""
    width, tokens = HEADS * HEAD_WIDTH, SIDE**2
    linear, attention = 12 * width**2 * tokens, 2 * width * tokens**2  # one image, alone
    full = LAYERS * (4 * linear + 16 * attention)
    prefill = (LAYERS - 1) * (3 * linear + 9 * attention) + 3 * linear / 6
    return steps * full / (steps * full / 4 + prefill)
