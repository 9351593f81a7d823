"""How costs grow: tokens, steps, seeds, rank, images, actors; plots and growth.json in docs/performance.

Processor seconds on one thread, least of three, but for the actors, whose images a second are by the wall's clock.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import rows_annotation  # noqa: E402
import torch  # noqa: E402
from matplotlib import rc_context  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.ticker import MaxNLocator  # noqa: E402
from rows_moe import Setup, Size  # noqa: E402
from stock import StockVelocity, random_edit  # noqa: E402
from timing import CORES, GROWTH_CORES, best_of  # noqa: E402

from viral.cluster import connect  # noqa: E402
from viral.config import RunConfig  # noqa: E402
from viral.data.clusters import refine  # noqa: E402
from viral.model.roles import ANALOGY  # noqa: E402
from viral.model.velocity import EditVelocity  # noqa: E402
from viral.pretrain.folder import build_scheduler  # noqa: E402
from viral.sampling.denoise import denoise  # noqa: E402

PLACE = ROOT / "docs" / "performance"
Points = dict[int, float]


@dataclass(frozen=True)
class Study:
    """Cost against one quantity, by line."""

    name: str
    across: str
    up: str
    lines: dict[str, Points]


def tokens() -> Study:
    """One step: the whole sequence, and with a cached context."""
    full: Points = {}
    cached: Points = {}
    for side in (8, 12, 16, 20, 28):
        edit = random_edit(side)
        velocity = EditVelocity(edit.transformer, edit.context, ANALOGY, edit.text, mode="stationary")
        noise, t, stock = edit.noise(1), edit.time(0.7), StockVelocity(edit)
        velocity(noise, t)  # the prefill
        arms = (lambda: velocity(noise, t), lambda: _whole(stock, noise, t))  # noqa: B023 - called within
        cached[side**2], full[side**2] = _milliseconds(arms)
    return Study("tokens", "tokens an image, of four", "ms a step", {"cached context": cached, "diffusers, full": full})


def steps() -> Study:
    """A whole image by its number of steps."""
    edit, scheduler = random_edit(16), build_scheduler()
    stock, noise = StockVelocity(edit), edit.noise(1)

    def cached(count: int) -> object:
        velocity = EditVelocity(edit.transformer, edit.context, ANALOGY, edit.text, mode="stationary")
        return denoise(velocity, scheduler, noise, count)

    lines: dict[str, Points] = {"cached context": {}, "diffusers, full": {}}
    for count in (1, 4, 8, 20, 40):
        arms = (lambda: cached(count), lambda: stock.denoise(scheduler, noise, count))  # noqa: B023
        for line, cost in zip(lines.values(), _milliseconds(arms), strict=True):
            line[count] = cost
    return Study("steps", "steps", "ms an image", lines)


def seeds() -> Study:
    """Four preview steps of M seeds that share one cached context."""
    edit, scheduler = random_edit(14), build_scheduler()
    stock = StockVelocity(edit)

    def shared(count: int) -> object:
        velocity = EditVelocity(edit.transformer, edit.context, ANALOGY, edit.text, mode="stationary")
        return denoise(velocity, scheduler, edit.noise(*range(count)), 4)

    lines: dict[str, Points] = {"one cached context": {}, "diffusers, one by one": {}}
    for count in (1, 2, 4, 8, 16):
        arms = (
            lambda: shared(count),  # noqa: B023
            lambda: [stock.denoise(scheduler, edit.noise(seed), 4) for seed in range(count)],  # noqa: B023
        )
        for line, cost in zip(lines.values(), _milliseconds(arms), strict=True):
            line[count] = cost
    return Study("seeds", "seeds M", "ms for all previews", lines)


def experts() -> Study:
    """Forward and backward of a layer with 2 to 32 experts of rank 16, of which two are used."""
    lines: dict[str, Points] = {"stacked": {}, "loop over all": {}, "sort and grouped_mm": {}}
    for count in (2, 4, 8, 16, 32):
        setup = Setup(Size(experts=count))
        loop = lambda: setup.theirs(setup.loop_over_experts, setup.down, setup.up, setup.router)  # noqa: B023
        costs = _milliseconds((setup.ours, loop, setup.grouped_step))
        for line, cost in zip(lines.values(), costs, strict=True):
            line[count * setup.size.rank] = cost
    return Study("experts", "N r, experts times rank", "ms forward and backward", lines)


def images() -> Study:
    """One iteration of K-Means by the number of embeddings."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(40_000, 768, generator=generator)
    line = {n: _milliseconds((lambda: refine(points[:n], points[:200], 1),))[0] for n in (5000, 10_000, 20_000, 40_000)}  # noqa: B023
    return Study("images", "embeddings of 768, 200 clusters", "ms an iteration and its check", {"K-Means": line})


def actors() -> Study:
    """Pairs rendered through Ray Data by one and more actors."""
    counts = (1, 2, 4) if CORES >= GROWTH_CORES else (1, 2)
    with connect(RunConfig()):
        line = {n: rows_annotation.rate(n) for n in counts}
    return Study("actors", f"actors on {CORES} cores", "pairs a second", {"Ray Data": line})


def _whole(stock: StockVelocity, noise: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return stock(noise.flatten(2).transpose(1, 2).reshape(1, -1, 64), t)


def _milliseconds(arms: tuple[Callable[[], object], ...]) -> list[float]:
    for arm in arms:
        arm()
    return [round(1000 * seconds, 2) for seconds in best_of(arms, 3)]


def draw(study: Study) -> None:
    """A small plot with axes from zero, our line first; the same figures give the same bytes."""
    figure = Figure(figsize=(4, 2.6), layout="constrained")
    axes = figure.subplots()
    for (name, points), colour in zip(study.lines.items(), ("#1f6f8b", "#8a8a8a", "#c06c2b"), strict=False):
        axes.plot(list(points), list(points.values()), "o-", color=colour, label=name, markersize=3.5)
    axes.set(xlabel=study.across, ylabel=study.up, xlim=(0, None), ylim=(0, None))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    if len(study.lines) > 1:
        axes.legend(frameon=False, fontsize=8)
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": study.name}):
        figure.savefig(PLACE / f"{study.name}.svg", metadata={"Date": None})


def main() -> None:
    torch.set_num_threads(1)
    PLACE.mkdir(exist_ok=True)
    figures = {}
    for build in (tokens, steps, seeds, experts, images, actors):
        study = build()
        draw(study)
        figures[study.name] = study.lines
        print(study.name, study.lines, flush=True)
    (PLACE / "growth.json").write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
