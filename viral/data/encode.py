"""From pairs to latents, once: the VAE sees every image a single time, training reads what it said."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

import numpy as np

from viral.config import ModelConfig, RunConfig, fingerprint
from viral.data.encoders import AnalogyEncoder, DiptychEncoder
from viral.data.images import pixels_of
from viral.data.latents import TEXT, latents_arrow, text_file
from viral.data.pair_table import PairTable
from viral.data.pairs import load_pairs
from viral.data.shards import MadeShard, Pool, ShardWork, is_finished, make_shards
from viral.data_config import TaskConfig
from viral.model.architecture import is_fill
from viral.model.backbone import base_hash, base_path
from viral.sampling.diptych import RELEASED_PROMPT, Caption, in_context_prompt
from viral.storage import Manifest, Shard, Storage
from viral.tasks import describe_task

RECIPE = 2
PROMPT = " "
"""The text of pairs that are shown without words: pairs meet at random in training, so it can say nothing of them."""
KEPT_PROMPTS = 4096
"""Encoded prompts that an actor remembers."""


@dataclass(frozen=True)
class Words:
    """What is said beside a pair: its instruction, or its task's where it has none, within a template."""

    template: str
    own: Mapping[str, TaskConfig] = field(default_factory=dict)
    """The configuration's own tasks."""

    def __call__(self, row: dict[str, Any]) -> str:
        """The words of a row of `schema.PAIRS`; `ValueError` where nobody said any."""
        said = row["instruction"] or describe_task(row["task"], self.own).instruction
        if not said:
            raise ValueError(
                f"pair {row['pair_id']} of task {row['task']} has no instruction; give the table a column instruction, "
                "or the task one, or train with train.text=none"
            )
        return in_context_prompt(said, Caption(), self.template)

    @property
    def key(self) -> Any:
        """What latents depend on."""
        return [self.template, {name: task.instruction for name, task in self.own.items()}]


def encode_pairs(config: RunConfig) -> Manifest:
    """Encode the pairs of `config` into `storage`/`latents`, once; needs Ray unless they are there already.

    For FLUX.1 Fill a pair becomes a diptych. Rows with an error are left out and counted. `ValueError` if there are no
    pairs, none is usable, or one lacks the instruction that `train.text` asks for.
    """
    pairs, storage = load_pairs(config), Storage(config.storage).join(config.latents)
    base = str(base_path(config.base_folder(), config.model).resolve())
    pool, words = Pool(config.data.actors, float(config.train.gpus), config.nodes.data), words_of(config)
    shards, base_sha256 = [shard.sha256 for shard in pairs.manifest.shards], base_hash(base, config.model)
    key = fingerprint("latents", RECIPE, shards, base_sha256, words.key if words else PROMPT)
    if (manifest := is_finished(storage, key)) is not None:
        print(f"latents: {storage} is up to date, {manifest.counts_out['good']} pairs")
        return manifest
    plan = [ShardWork(_renamed(shard), _good(shard), shard) for shard in pairs.manifest.shards if _good(shard)]
    errors = _errors(pairs)
    if not plan:
        raise ValueError(f"no row of {pairs.storage} has images: {errors}; correct what the reasons name")
    counts_in = {"rows": pairs.manifest.counts_out["rows"]}
    notes = {"base": config.base, "text": words.template if words else PROMPT}
    wanted = Manifest(fingerprint=key, counts_in=counts_in, rejected=errors, notes=notes)
    maker = partial(LatentMaker, pairs, base, pool.gpus, config.model, words)
    return make_shards("encoding pairs", storage, wanted, [ShardWork(TEXT, 0, None), *plan], maker, pool)


def words_of(config: RunConfig) -> Words | None:
    """What a run says beside its pairs, nothing where `train.text` is none; `ValueError` for diptychs without words."""
    fill = is_fill(config.base_folder(), config.model)
    if config.train.text == "instruction":
        template = config.train.prompt or (RELEASED_PROMPT if fill else "{instruction}")
        return Words(template, config.tasks)
    if fill:
        raise ValueError(f"base {config.base} edits as it is told in words; set train.text=instruction")
    return None


class LatentMaker:
    """Encodes the good rows of one shard of pairs, in their order; without a shard, the constant text."""

    def __init__(self, pairs: PairTable, base: str, gpu: float, model: ModelConfig, words: Words | None = None) -> None:
        self._pairs, self._words = pairs, words
        kind = DiptychEncoder if is_fill(base, model) else AnalogyEncoder
        self._load = partial(kind, base, "cuda" if gpu else "cpu", model)
        self._encoder = self._load(("vae", "text") if words else ("vae",))
        self._encode_words = lru_cache(KEPT_PROMPTS)(self._encoder.words)

    def __call__(self, work: Shard | None) -> MadeShard:
        if work is None:
            encoder = self._encoder if self._words else self._load(("text",))
            return MadeShard(text_file(*encoder.words(PROMPT)), 0, {})
        rows = [row for row in self._pairs.read(work).to_pylist() if row["error"] is None]
        pictures = ([pixels_of(row[key]["bytes"]) for row in rows] for key in ("source", "target"))
        sources, targets = self._encoder.pairs(*pictures)
        made = [self._row(row, source, target) for row, source, target in zip(rows, sources, targets, strict=True)]
        return MadeShard(latents_arrow(made), len(made), {})

    def _row(self, pair: dict, source: np.ndarray, target: np.ndarray) -> dict:
        channels, height, width = source.shape
        about = {key: pair[key] for key in ("pair_id", "task", "split", "source_id", "group")}
        shape = {"channels": channels, "height": height, "width": width}
        said = self._encode_words(self._words(pair)) if self._words else ()
        text = {name: part.astype(np.float16).tobytes() for name, part in zip(("text", "pooled"), said, strict=False)}
        return {**about, "source": source.tobytes(), "target": target.tobytes(), **shape, **text}


def _renamed(shard: Shard) -> str:
    return shard.name.replace(".parquet", ".arrow")


def _good(shard: Shard) -> int:
    return shard.rows - sum(shard.rejected.values())


def _errors(pairs: PairTable) -> dict[str, int]:
    """Rows of the table of pairs that have an error, by reason."""
    errors: dict[str, int] = {}
    for shard in pairs.manifest.shards:
        for reason, count in shard.rejected.items():
            errors[reason] = errors.get(reason, 0) + count
    return errors
