"""Quadruplets synthesised from pairs: another scene that the instruction fits, painted and edited as told."""

import json
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image as Pillow
from torch.nn import functional as F

from viral.config import RunConfig, fingerprint
from viral.data.annotators.instructions import analogous_scene
from viral.data.dataset_stages import reason
from viral.data.embeddings import weights_record
from viral.data.images import encode_png
from viral.data.pair_table import count_errors
from viral.data.quadruplets import quadruplets_parquet, quadruplets_place, shard_plan
from viral.data.shards import MadeShard, Pool, is_finished, make_shards
from viral.data.sources import Item, Source, build_sources, split_of
from viral.data.sources.registry import built
from viral.data.studios import STUDIO, Edited, Studio
from viral.data.writers import WRITER, LanguageModel, Rules, caption_of
from viral.sampling.embedder import ClipEmbedder
from viral.schema import QUADRUPLETS
from viral.storage import Manifest
from viral.tasks import Image, Labelled, fit

RECIPE = 1
FAINT = 16
"""Levels of 255 by which a pixel has to change to be seen to."""
LEAST_SEEN = 0.003
"""Share of the pixels that an edit has to change to be seen."""


@dataclass(frozen=True)
class Reference:
    """A pair to be imitated, and its side of the split."""

    item: Item
    split: str
    licence: str


@dataclass(frozen=True)
class Parts:
    """Who takes part in a synthesis, by their descriptions."""

    source: Source
    writer: LanguageModel | Rules
    studio: Studio
    embedder: str

    @property
    def record(self) -> dict[str, Any]:
        """What names them for good."""
        return {"writer": self.writer.record(), **self.studio.record(), "embedder": weights_record(self.embedder)}


def find_synthesis(config: RunConfig) -> Parts:
    """The parts of `config.synthesis`; `ValueError` names what is wrong."""
    described, sources = config.synthesis, build_sources(config.dataset.sources)
    if described.source not in sources:
        raise ValueError(f"synthesis.source: there is no source {described.source!r} among {', '.join(sources)}")
    if not {"target", "instruction"} <= sources[described.source].gives:
        raise ValueError(f"synthesis.source: {described.source} gives no pairs with instructions; take an edit corpus")
    writer = built("synthesis.writer", described.writer, WRITER)
    return Parts(
        sources[described.source], writer, built("synthesis.studio", described.studio, STUDIO), config.mining.model()
    )


def synthesize_quadruplets(config: RunConfig) -> Manifest:
    """Make `storage`/quadruplets/synthesised, once; needs Ray. What fails stays as a row with its `error`."""
    parts, storage = find_synthesis(config), quadruplets_place(config, "synthesised")
    count = ceil(config.synthesis.quadruplets * config.dataset.scale)
    references = [_placed(config, parts.source, item) for item in parts.source.items(count, config.seed, frozenset())]
    listed = [[one.item.id, one.split] for one in references]
    described = [part.model_dump(mode="json") for part in (parts.source, parts.writer, parts.studio)]
    key = fingerprint(
        "synthesised", RECIPE, described, parts.record, config.data.size, config.data.rows_per_shard, listed
    )
    if (manifest := is_finished(storage, key)) is not None:
        print(f"quadruplets: {storage} is up to date, {manifest.counts_out['good']} quadruplets")
        return manifest
    wanted = Manifest(fingerprint=key, counts_in={"pairs": len(references)}, notes={"source": config.synthesis.source})
    maker = partial(SynthesisMaker, parts, config.data.size, "cuda" if config.dataset.gpus else "cpu")
    pool = Pool(config.data.actors, config.dataset.gpus, config.nodes.data)
    return make_shards("synthesising", storage, wanted, shard_plan(config, references), maker, pool)


def _placed(config: RunConfig, source: Source, item: Item) -> Reference:
    split = split_of(item.source_id, config.seed, config.dataset.test_share)
    return Reference(item, split, item.licence or source.licence)


class SynthesisMaker:
    """Writes, paints and edits the second pair of every quadruplet of a shard."""

    def __init__(self, parts: Parts, size: int, device: str) -> None:
        self._read, self._size, self._record = parts.source.reader(device), size, parts.record
        self._writer, self._studio = parts.writer.load(device), parts.studio.load(device)
        self._embedder = ClipEmbedder.load(parts.embedder, device)

    def __call__(self, work: list[Reference]) -> MadeShard:
        rows = [self._row(reference) for reference in work]
        return MadeShard(quadruplets_parquet(rows), len(rows), count_errors(rows))

    def _row(self, reference: Reference) -> dict[str, Any]:
        source_id = reference.item.source_id
        key = fingerprint("quadruplet", RECIPE, self._record, reference.item.id, self._size)
        head = {"quadruplet_id": key, "method": "synthesised", "split": reference.split, "a_source_id": source_id}
        head |= {"b_source_id": source_id, "licence": reference.licence}
        try:
            return {**dict.fromkeys(QUADRUPLETS.names), **head, **self._made(reference, int(key[:12], 16))}
        except Exception as error:  # noqa: BLE001 - the wrapper that turns a row's failure into its error
            return {**dict.fromkeys(QUADRUPLETS.names), **head, "error": reason(error)}

    def _made(self, reference: Reference, seed: int) -> dict[str, Any]:
        """The columns of a quadruplet that came about; `ValueError` says why it did not."""
        a = fit(self._read(reference.item, self._size), self._size)
        if a.target is None or a.instruction is None:
            raise ValueError("the pair has no target or no instruction")
        written = analogous_scene(self._writer, caption_of(a.caption, a.image), a.instruction)
        painted = self._studio.paint(written, seed, self._size)
        edited = self._studio.edit(painted, a.instruction, seed)
        pictures = {"a": a.image, "a_prime": a.target, "b": painted.image, "b_prime": edited.image}
        about = {"pair": {"item": reference.item.id, **a.about}, "caption": written, "seed": seed, **self._record}
        words = {"a_instruction": a.instruction, "b_instruction": a.instruction}
        return {
            **{name: {"bytes": encode_png(image), "path": None} for name, image in pictures.items()},
            **words,
            "scores": json.dumps(self._scores(a, painted, edited), sort_keys=True),
            "provenance": json.dumps(about, sort_keys=True),
        }

    def _scores(self, a: Labelled, painted: Labelled, edited: Edited) -> dict[str, Any]:
        """Cosines of steps and of sources, what is seen of the edit, and, where it is known, whether it is A's edit."""
        assert a.target is not None
        pictures = [Pillow.fromarray(image) for image in (a.image, a.target, painted.image, edited.image)]
        source, target, query, answer = self._embedder(pictures)
        seen = [seen_change(a.image, a.target), seen_change(painted.image, edited.image)]
        known = edited.done is not None and "group" in a.about
        agrees = edited.done == a.about["group"] and min(seen) >= LEAST_SEEN if known else None
        step = float(F.cosine_similarity(target - source, answer - query, dim=0))
        return {"step": round(step, 3), "alike": round(float(source @ query), 3), "seen": seen, "agrees": agrees}


def seen_change(before: Image, after: Image) -> float:
    """Share of the pixels in which two pictures differ by more than `FAINT` levels of some colour."""
    levels: Float[np.ndarray, "y x 3"] = np.abs(before.astype(np.float32) - after.astype(np.float32))
    return round(float((levels.max(2) > FAINT).mean()), 4)


def agreement(scores: list[dict[str, Any]]) -> float | None:
    """Share of the quadruplets with known edits whose two edits truly agree and are seen; none where none is known."""
    known = [score["agrees"] for score in scores if score["agrees"] is not None]
    return sum(known) / len(known) if known else None
