"""G1-G11 at the width of Qwen-Image-Edit-2511; weights, inputs and type are the same in both arms."""

from collections.abc import Callable
from dataclasses import replace

import torch
from diffusers import QwenImageTransformer2DModel
from gpu_bench import Bench, fastest_attention, long_arms, near, peak_memory, row
from PIL import Image
from rows_moe import Setup
from stock import StockVelocity, stationary_mask
from timing import Gate, Result, Row
from torch import Tensor
from torch.nn import functional as F

from viral.config import AdapterConfig
from viral.data.clusters import refine, seed_centres
from viral.data.neighbours import nearest
from viral.model.adapter import adapter_parameters, add_adapter
from viral.model.context import KeyValueBuffer, StationaryContext
from viral.model.modulation import use_modulation_table
from viral.model.roles import ANALOGY
from viral.model.tokens import pack, unpack
from viral.model.velocity import EditVelocity, predict_velocity
from viral.sampling.denoise import denoise, schedule
from viral.sampling.early_filter import early_filter
from viral.sampling.judges import Candidate, Request, ScoringJudge

SEEDS, PREVIEW, STEPS = list(range(8)), 4, 40


def overhead(bench: Bench) -> list[Row]:
    """G1: what experts add to their frozen linear layer, in a forward pass."""
    rows = []
    for rank, bar in ((bench.sizes.moe.rank, 1 / 1.13), (2 * bench.sizes.moe.rank, 1 / 1.18)):
        setup = Setup(replace(bench.sizes.moe, rank=rank, device=bench.device, dtype=bench.dtype))
        with torch.no_grad():
            x = setup.x.detach()
            exact = setup.layer.base.double()(x[:512].double())
            weights, chosen = setup.gates(x[:512])
            for e, (a, b) in enumerate(zip(setup.down, setup.up, strict=True)):
                gate = (weights * (chosen == e)).sum(1, keepdim=True).double()
                exact += gate * (x[:512].double() @ a.double().T @ b.double().T)
            setup.layer.base.to(bench.dtype)
            gate = near({"y": setup.layer(x[:512])}, {"y": exact})
            times = bench.both(lambda: setup.layer(x), lambda: setup.layer.base(x))  # noqa: B023 - called within
        rows.append(
            row(f"G1.r{rank}", f"MoE-LoRA forward, {setup.size}", "the frozen linear layer", times, bar, 0.95, gate)
        )
    return rows


def mixtures(bench: Bench) -> list[Row]:
    """G2: forward and backward of one layer with experts."""
    setup = Setup(replace(bench.sizes.moe, device=bench.device, dtype=bench.dtype))
    experts = setup.down, setup.up
    peers: dict[str, tuple[str, float, Callable[[], Result]]] = {
        "G2.loop": (
            "loop over all experts",
            1.30,
            lambda: setup.theirs(setup.loop_over_experts, *experts, setup.router),
        ),
        "G2.gather": ("gather, compute, index_add", 1.35, lambda: setup.theirs(setup.gather, *experts, setup.router)),
        "G2.arrow": ("peft's Arrow", 1.10, lambda: setup.theirs(setup.arrow, *experts, None)),
        "G2.grouped": ("sort and torch's grouped_mm", 1.10, setup.grouped_step),
    }
    about = f"MoE-LoRA forward+backward, {setup.size}"
    return [
        row(name, about, peer, bench.both(setup.ours, arm), bar, 1.5, near(setup.ours(), arm()))
        for name, (peer, bar, arm) in peers.items()
    ]


def forward(bench: Bench, compiled: bool = False) -> list[Row]:
    """G3: one forward pass of a few layers under full attention; with `compiled`, both arms by torch.compile."""
    edit = bench.edit(bench.shallow)
    noise, t, stock = edit.noise(1), edit.time(0.7), StockVelocity(edit)
    compile = torch.compile if compiled else lambda arm: arm

    @compile
    @torch.no_grad()
    def predict() -> Tensor:
        return predict_velocity(edit.transformer, noise, edit.context, ANALOGY, t, edit.text)

    @compile
    @torch.no_grad()
    def theirs() -> Tensor:
        return unpack(stock(pack(noise), t), *noise.shape[2:])

    def ours() -> Tensor:
        with fastest_attention():
            return predict()

    gate, times = near({"v": ours()}, {"v": theirs()}), bench.both(ours, theirs)
    about = f"full attention, four images, {bench.sizes.few} layers of {bench.named}, cuDNN's attention"
    name, bar, both = ("G3.compiled", 1.10, ", both compiled") if compiled else ("G3", 1.25, "")
    return [row(name, about, f"diffusers' forward, default attention{both}", times, bar, 1.37, gate)]


def cached_is_masked(bench: Bench) -> Gate:
    """Whether a few layers with a cached context come to what diffusers' do under a dense mask."""
    edit = bench.edit(bench.shallow, bench.sizes.gate_side)
    noise, t = edit.noise(1), edit.time(0.7)
    cached = EditVelocity(edit.transformer, edit.context, ANALOGY, edit.text, mode="stationary")(noise, t)
    with stationary_mask(edit), torch.no_grad():
        masked = unpack(StockVelocity(edit)(pack(noise), t), *noise.shape[2:])
    return near({"v": cached}, {"v": masked})


def cached_loop(bench: Bench) -> Tensor:
    """All steps with their prefill."""
    edit = bench.edit(bench.transformer)
    with fastest_attention():
        velocity = EditVelocity(edit.transformer, edit.context, ANALOGY, edit.text, mode="stationary")
        return denoise(velocity, bench.scheduler, edit.noise(1), STEPS)


def loop(bench: Bench) -> list[Row]:
    """G4: a whole image. Each arm is forty steps long and taken twice, after one warm step."""
    edit, gate = bench.edit(bench.transformer), cached_is_masked(bench)
    stock, noise = StockVelocity(edit), edit.noise(1)
    times = long_arms(bench, lambda: cached_loop(bench), lambda: stock.denoise(bench.scheduler, noise, STEPS))
    about = f"cached loop of {STEPS} steps with its prefill, {bench.sizes.layers} layers of {bench.named}"
    return [row("G4", about, f"diffusers' forward x {STEPS}, full attention", times, 3.3, 5.1, gate)]


def guided_loop(bench: Bench) -> list[Row]:
    """G5: diffusers' default call, which guides by a second pass, where both prompts are the same."""
    edit, gate = bench.edit(bench.transformer), cached_is_masked(bench)
    stock = StockVelocity(edit)

    @torch.no_grad()
    def theirs() -> Tensor:
        own, tokens = schedule(bench.scheduler, STEPS, edit.side**2), pack(edit.noise(1))
        own.set_begin_index(0)
        for t in list(own.timesteps):
            time = t.expand(1).to(tokens) / 1000
            v, negative = stock(tokens, time), stock(tokens, time)
            guided = negative + 4.0 * (v - negative)
            guided = guided * (v.norm(dim=-1, keepdim=True) / guided.norm(dim=-1, keepdim=True))
            tokens = own.step(guided, t, tokens, return_dict=False)[0]
        return tokens

    times = long_arms(bench, lambda: cached_loop(bench), theirs, runs=1)
    about = f"cached loop of {STEPS} steps, equal prompts, {bench.sizes.layers} layers of {bench.named}"
    return [row("G5", about, "diffusers with true_cfg_scale 4", times, 6.6, 10, gate)]


def absolute(bench: Bench) -> list[Row]:
    """G6: seconds of one cached step, and of an image."""
    edit, gate = bench.edit(bench.transformer), cached_is_masked(bench)
    velocity = EditVelocity(edit.transformer, edit.context, ANALOGY, edit.text, mode="stationary")
    noise, t = edit.noise(1), edit.time(0.7)

    def step() -> Tensor:
        with fastest_attention():
            return velocity(noise, t)

    about = f"{bench.sizes.layers} layers of {bench.named}"
    one = bench.seconds(step)
    image = bench.seconds(lambda: cached_loop(bench), warm=0, runs=3)
    return [
        row("G6.step", f"one cached step, {about}", "0.21 s", (one, 0.21), 1.0, 1.6, gate),
        row("G6.image", f"prefill and {STEPS} steps, {about}", "9.0 s", (image, 9.0), 1.0, 1.6, gate),
    ]


def training(bench: Bench) -> list[Row]:
    """G7 and G8: a checkpointed training step of one adapter, plain LoRA by peft, full attention."""
    edit = bench.edit(bench.transformer)
    transformer, stock = edit.transformer, StockVelocity(edit)
    add_adapter(transformer, AdapterConfig(rank=32, alpha=32, expert_targets=()), seed=0)
    parameters = adapter_parameters(transformer)
    for parameter in parameters.values():
        parameter.data = parameter.data.to(bench.dtype)
        torch.nn.init.normal_(parameter, std=0.02)
    noise, goal, t = edit.noise(1), edit.noise(2), edit.time(45 / 64)  # a time of bfloat16

    def step(velocity: Callable[[], Tensor]) -> Result:
        transformer.zero_grad()
        (velocity() - goal).square().mean().backward()
        return {name: p.grad for name, p in parameters.items() if p.grad is not None}

    def ours() -> Result:
        with fastest_attention():
            return step(lambda: predict_velocity(transformer, noise, edit.context, ANALOGY, t, edit.text))

    def theirs() -> Result:
        return step(lambda: unpack(stock(pack(noise), t), *noise.shape[2:]))

    blocks = transformer.transformer_blocks
    transformer.enable_gradient_checkpointing()
    transformer.transformer_blocks = blocks[: bench.sizes.few]
    gate = near({k: v.clone() for k, v in ours().items()}, theirs(), 5e-2)
    transformer.transformer_blocks = blocks
    times, stock_memory = long_arms(bench, ours, theirs, runs=3), peak_memory(bench, theirs)
    held = _with_table(bench, transformer, ours)
    memory = peak_memory(bench, ours), stock_memory
    transformer.disable_gradient_checkpointing()
    about = f"a checkpointed training step, full attention, {bench.sizes.layers} layers of {bench.named}"
    return [
        row("G7", about, "diffusers, peft and torch checkpointing", times, 1.25, 1.5, gate),
        row("G7.memory", f"peak gigabytes of {about}", "diffusers and peft", memory, 1 / 0.75, 1.5, held),
        row("G8", about, "3.6 s, 55 % of 790 TFLOP/s", (times[0], 3.6), 1.0, 1.8, gate),
    ]


def _with_table(bench: Bench, transformer: QwenImageTransformer2DModel, step: Callable[[], Result]) -> Gate:
    """Put modulations into a table, which no other row can take back; the first layers' gradients stay."""
    blocks = transformer.transformer_blocks
    transformer.transformer_blocks = blocks[: bench.sizes.few]
    before = {name: gradient.clone() for name, gradient in step().items()}
    transformer.transformer_blocks = blocks
    use_modulation_table(transformer, bench.dtype, bench.device)
    transformer.transformer_blocks = blocks[: bench.sizes.few]
    gate = near(step(), before, 5e-2)
    transformer.transformer_blocks = blocks
    return gate


class CatBuffer(KeyValueBuffer):
    """Joins by a copy of all keys and values, as diffusers' caches do."""

    def join(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        context = self.both[:, :, : self.size]
        return torch.cat([context[0], keys], 1), torch.cat([context[1], values], 1)


def in_place(bench: Bench) -> list[Row]:
    """G9: keys and values of the target written behind those of the context."""
    edit = bench.edit(bench.shallow)
    noise, t = edit.noise(1), edit.time(0.7)
    ours, theirs = (
        StationaryContext(edit.transformer, edit.context, ANALOGY, edit.text, edit.shape[1:]) for _ in range(2)
    )
    for buffer in theirs._buffers:
        buffer.__class__ = CatBuffer
    gate = near({"v": ours.velocity(noise, t)}, {"v": theirs.velocity(noise, t)}, 0)
    times = bench.both(lambda: ours.velocity(noise, t), lambda: theirs.velocity(noise, t))
    about = f"one cached step, {bench.sizes.few} layers of {bench.named}"
    return [row("G9", about, "a cache that concatenates", times, 1.02, 1.03, gate)]


class LatentMean(ScoringJudge[None]):
    """Prefers the larger mean latent."""

    name = "latent mean"

    def prepare(self, request: Request) -> None:
        return None

    def measure(self, known: None, candidate: Candidate) -> float:
        return float(candidate.latents.float().mean())


def filtered(bench: Bench) -> list[Row]:
    """G10: the early filter, decoding and judging left out."""
    edit, gate = bench.edit(bench.transformer), cached_is_masked(bench)
    stock, picture = StockVelocity(edit), Image.new("RGB", (8, 8))
    request = Request(((picture, picture),), picture)

    def ours() -> Tensor:
        velocity = EditVelocity(edit.transformer, edit.context, ANALOGY, edit.text, mode="stationary")
        with fastest_attention():
            return early_filter(
                velocity, bench.scheduler, lambda x: [picture] * len(x), request, LatentMean(),
                seeds=SEEDS, preview_steps=PREVIEW, steps=STEPS,
            ).latents  # fmt: skip

    def theirs() -> Tensor:
        for seed in SEEDS:
            stock.denoise(bench.scheduler, edit.noise(seed), PREVIEW)
        return stock.denoise(bench.scheduler, edit.noise(0), STEPS)

    about = f"early filter, M={len(SEEDS)}, m={PREVIEW}, n={STEPS}, {bench.sizes.layers} layers of {bench.named}"
    return [row("G10", about, "separate runs of diffusers", long_arms(bench, ours, theirs, runs=1), 3.3, 5.3, gate)]


def mining(bench: Bench) -> list[Row]:
    """G11: K-Means and exact neighbours of all embeddings."""
    generator = torch.Generator(bench.device).manual_seed(0)
    points = torch.randn(bench.sizes.points, 768, generator=generator, device=bench.device)
    start = seed_centres(points, bench.sizes.centres, seed=0)
    ours = lambda: refine(points, start, 25)
    theirs = lambda: _naive_k_means(points, start, 25)
    gate = near({"inertia": torch.tensor(ours().inertia)}, {"inertia": torch.tensor(theirs())}, 5e-3)
    times = long_arms(bench, ours, theirs, runs=3)
    about = f"K-Means, {bench.sizes.points} x 768, K={bench.sizes.centres}, 25 iterations"
    few = points[:256]
    exact = (F.normalize(few, dim=1) @ F.normalize(points, dim=1).T).max(1)
    right = float((nearest(few, points, 1).ids[:, 0] == exact.indices).float().mean())
    all_of = bench.seconds(lambda: nearest(points, points, 1), warm=0, runs=1)
    return [
        row("G11.naive", about, "torch, distances to all centres at once", times, 1.0, 1.5, gate),
        row("G11.kmeans", about, "2 s", (times[0], 2.0), 1.0, 4.0, gate),
        row("G11.neighbours", f"nearest of all, {bench.sizes.points} x 768", "20 s", (all_of, 20.0), 1.0, 2.2,
            Gate(f"{right:.3f} of numbers equal, at least 0.99 under TF32", right >= 0.99)),
    ]  # fmt: skip


def _naive_k_means(points: Tensor, centres: Tensor, iterations: int) -> float:
    for _ in range(iterations):
        labels = torch.cdist(points, centres).argmin(1)
        sums = torch.zeros_like(centres).index_add_(0, labels, points)
        centres = sums / torch.bincount(labels, minlength=len(centres)).clamp(min=1)[:, None]
    return float(torch.cdist(points, centres).amin(1).double().square().sum())
