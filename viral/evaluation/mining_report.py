"""The report on mining: precision of every method in a table, the sweep of two thresholds in a picture."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from matplotlib.figure import Figure
from PIL import Image

from viral.config import RunConfig, fingerprint
from viral.data.embeddings import BATCH, Embeddings, embeddings_place, read_embeddings
from viral.data.images import pixels_of
from viral.data.mining import Vectors, mine
from viral.data.pairs import load_pairs
from viral.evaluation.mining import (
    ALIKE,
    BAR,
    WORDS,
    Precision,
    Truth,
    among,
    by_kind,
    compare_methods,
    precision,
    sweep,
    unrelated,
)
from viral.pretrain.edited_scenes import is_held_out
from viral.sampling.embedder import ClipEmbedder
from viral.storage import Storage, read_manifest

SIDE = 16
"""Side of the pictures whose differences are compared pixel by pixel."""


@dataclass(frozen=True)
class MiningReport:
    """Where the report lies, and its first line."""

    address: str
    summary: str


def write_mining_report(config: RunConfig) -> MiningReport:
    """Score mining on the embedded pairs of `config`, whose edits are known, into `storage`/mining.

    `ValueError` where nothing is embedded yet, or edits are not known.
    """
    storage, place = Storage(config.storage).join("mining"), embeddings_place(config)
    manifest = read_manifest(place)
    if manifest is None or not manifest.complete:
        raise ValueError(f"embeddings at {place} are not there; run jobs/mine_quadruplets.py with this configuration")
    embedded = read_embeddings(place, manifest)
    truth, mined = Truth.of(embedded.rows["group"].to_pylist()), f"{config.mining.embedder} open_clip"
    spaces = {mined: embedded.vectors, **_without_training(config, embedded)}
    rows = compare_methods(spaces, mined, truth, config.mining, config.evaluate.samples, config.seed)
    rows += _by_acquaintance(config, embedded, truth)
    swept = sweep(embedded.vectors, truth, config.mining, config.seed)
    kinds = by_kind(mine(embedded.vectors, config.mining, config.seed), embedded.rows["group"].to_pylist(), truth)
    storage.write("sweep.png", _picture(swept))
    storage.write("sweep.json", json.dumps(swept, indent=1).encode())
    summary = _summary(rows)
    storage.write("report.md", _markdown(config, rows, kinds, len(embedded), summary).encode())
    return MiningReport(f"{storage}/report.md", summary)


def _without_training(config: RunConfig, embedded: Embeddings) -> dict[str, Vectors]:
    """The pairs in two spaces that nobody trained: the same network of random weights, and small pictures."""
    random = ClipEmbedder.untrained(config.mining.model(), config.seed)
    seen: dict[str, list[list[torch.Tensor]]] = {"random weights": [[], []], "pixel differences": [[], []]}
    for pictures in _pictures(config, embedded):
        for side, images in enumerate(pictures):
            seen["random weights"][side].append(random(images))
            seen["pixel differences"][side].append(_pixels(images))
    sides = {name: [torch.cat(blocks) for blocks in both] for name, both in seen.items()}
    return {name: Vectors(source, target, unrelated(source)) for name, (source, target) in sides.items()}


def _pictures(config: RunConfig, embedded: Embeddings) -> Iterator[list[list[Image.Image]]]:
    """Sources and targets of the embedded pairs, in their order, a few at a time."""
    pairs, rows = load_pairs(config), embedded.rows.select(["shard", "row"]).to_pylist()
    table, number = None, -1
    for start in range(0, len(rows), BATCH):
        cells = []
        for place in rows[start : start + BATCH]:
            if place["shard"] != number:
                number = place["shard"]
                table = pairs.read(pairs.manifest.shards[number]).select(["source", "target"])
            cells.append(table.slice(place["row"], 1).to_pylist()[0])
        yield [[Image.fromarray(pixels_of(cell[side]["bytes"])) for cell in cells] for side in ("source", "target")]


def _pixels(images: list[Image.Image]) -> torch.Tensor:
    small = [np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32) / 255 for image in images]
    return rearrange(torch.from_numpy(np.stack(small)), "n y x c -> n (y x c)")


def _by_acquaintance(config: RunConfig, embedded: Embeddings, truth: Truth) -> list[Precision]:
    """Precision of the embedded embedder apart for instructions that its training had and those it never saw."""
    if config.mining.embedder != "embedded":
        return []
    groups, words = (embedded.rows[name].to_pylist() for name in ("group", "instruction"))
    new = np.array([is_held_out(json.loads(group)[0], said) for group, said in zip(groups, words, strict=True)])
    found = mine(embedded.vectors, config.mining, config.seed)
    named = {"mined, instructions in its training": ~new, "mined, instructions never trained on": new}
    return [precision(name, among(found, marked), truth, config.evaluate.samples) for name, marked in named.items()]


def _summary(rows: list[Precision]) -> str:
    chance, best = rows[0], next(row for row in rows if row.method.startswith("mined: "))
    verdict = "above" if best.beyond.low > 0 else "NOT above"
    return (
        f"{best.edit:.0%} of {best.quadruplets} mined quadruplets share the edit, {chance.edit:.1%} at random: "
        f"{best.times.mean:.0f} times [{best.times.low:.0f}, {best.times.high:.0f}], {verdict} the bar of {BAR:g}"
    )


def _markdown(
    config: RunConfig, rows: list[Precision], kinds: dict[str, tuple[int, float]], count: int, summary: str
) -> str:
    lines = [
        f"| {row.method} | {row.quadruplets} | {row.edit:.1%} | {row.kind:.1%} | "
        f"{row.times.mean:.1f} [{row.times.low:.1f}, {row.times.high:.1f}] | {'yes' if row.beyond.low > 0 else 'no'} |"
        for row in rows
    ]
    described = [f"| {name} | {found} | {hits:.0%} |" for name, (found, hits) in sorted(kinds.items())]
    limits = config.mining
    return "\n".join([
        "# Precision of mining",
        "",
        summary + ".",
        "",
        f"{count} pairs with known edits; embedder `{limits.embedder}`; filters: sources at most {limits.most_alike} "
        f"alike, instructions at least {limits.least_words}, steps with the other's instruction at least "
        f"{limits.least_crossed}; nearest of {limits.neighbours}. Intervals: percentile bootstrap over quadruplets.",
        "",
        f"| method | quadruplets | same edit | same kind | times random | {BAR:g} times, surely |",
        "|---|---|---|---|---|---|",
        *lines,
        "",
        "![sweep](sweep.png)",
        "",
        "| kind | quadruplets | same edit |",
        "|---|---|---|",
        *described,
        "",
        f"made from {fingerprint(config.mining, config.seed, config.data)}",
        "",
    ])  # fmt: skip


def _picture(swept: list[dict[str, float]]) -> bytes:
    """Two maps over both thresholds: precision, and how many quadruplets are left."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    for axes, key, title in zip(
        figure.subplots(1, 2), ("edit", "quadruplets"), ("share with the same edit", "quadruplets kept"), strict=True
    ):
        values = np.array([row[key] for row in swept]).reshape(len(ALIKE), len(WORDS))
        axes.imshow(values, cmap="viridis", vmin=0, aspect="auto")
        for (y, x), value in np.ndenumerate(values):
            dark = value < 0.6 * np.nanmax(values)
            text = f"{value:.0%}" if key == "edit" else f"{value:.0f}"
            axes.text(x, y, text, ha="center", va="center", color="white" if dark else "black")
        axes.set_xticks(range(len(WORDS)), ["none" if limit <= -1 else f"{limit:g}" for limit in WORDS])
        axes.set_yticks(range(len(ALIKE)), ["none" if limit >= 1 else f"{limit:g}" for limit in ALIKE])
        axes.set(title=title, xlabel="least cosine of the instructions", ylabel="largest cosine of the sources")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
