"""From pairs to latents, once: the VAE sees every image a single time, training reads what it said."""

from functools import partial

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float

from viral.config import ModelConfig, RunConfig, fingerprint
from viral.data.images import pixels_of
from viral.data.latents import TEXT, latents_arrow, text_file
from viral.data.pair_table import PairTable
from viral.data.pairs import load_pairs
from viral.data.shards import MadeShard, Pool, ShardWork, is_finished, make_shards
from viral.model.backbone import base_hash, base_path, load_backbone
from viral.storage import Manifest, Shard, Storage

RECIPE = 1
BATCH = 8
"""Images of one VAE pass. Batches are cut by position in the shard: their size reaches the last bits of the result."""
PROMPT = " "
"""The text of every pair: pairs meet at random in training, so text can say nothing about them."""


def encode_pairs(config: RunConfig) -> Manifest:
    """Encode the pairs of `config` into `storage`/`latents`, once; needs Ray unless they are there already.

    Rows with an error are left out and counted. `ValueError` if there are no pairs, or none is usable.
    """
    pairs, storage = load_pairs(config), Storage(config.storage).join(config.latents)
    base = str(base_path(config.base_folder(), config.model).resolve())
    pool = Pool(config.data.actors, config.train.gpus)
    shards, base_sha256 = [shard.sha256 for shard in pairs.manifest.shards], base_hash(base, config.model)
    key = fingerprint("latents", RECIPE, shards, base_sha256, PROMPT)
    if (manifest := is_finished(storage, key)) is not None:
        print(f"latents: {storage} is up to date, {manifest.counts_out['good']} pairs")
        return manifest
    plan = [ShardWork(_renamed(shard), _good(shard), shard) for shard in pairs.manifest.shards if _good(shard)]
    errors = _errors(pairs)
    if not plan:
        raise ValueError(f"no row of {pairs.storage} has images: {errors}; correct what the reasons name")
    counts_in = {"rows": pairs.manifest.counts_out["rows"]}
    wanted = Manifest(
        fingerprint=key, counts_in=counts_in, rejected=errors, notes={"base": config.base, "text": PROMPT}
    )
    maker = partial(LatentMaker, pairs, base, pool.gpus, config.model)
    return make_shards("encoding pairs", storage, wanted, [ShardWork(TEXT, 0, None), *plan], maker, pool)


class LatentMaker:
    """Encodes the good rows of one shard of pairs, in their order; without a shard, the constant text."""

    def __init__(self, pairs: PairTable, base: str, gpu: bool, model: ModelConfig) -> None:
        self._pairs, self._base, self._device, self._model = pairs, base, "cuda" if gpu else "cpu", model
        self._backbone = load_backbone(base, ("vae",), self._device, torch.float32, model)

    def __call__(self, work: Shard | None) -> MadeShard:
        if work is None:
            return MadeShard(text_file(self._text()), 0, {})
        rows = [row for row in self._pairs.read(work).to_pylist() if row["error"] is None]
        sources, targets = (self._encode([row[key]["bytes"] for row in rows]) for key in ("source", "target"))
        made = [_row(row, source, target) for row, source, target in zip(rows, sources, targets, strict=True)]
        return MadeShard(latents_arrow(made), len(made), {})

    def _text(self) -> Float[np.ndarray, "t d"]:
        texts = load_backbone(self._base, ("text",), self._device, config=self._model)
        return texts.encode_text([PROMPT])[0].float().cpu().numpy()

    def _encode(self, images: list[bytes]) -> list[np.ndarray]:
        latents = []
        for start in range(0, len(images), BATCH):
            pixels = np.stack([pixels_of(image) for image in images[start : start + BATCH]])
            pixels = torch.from_numpy(pixels).to(self._device)
            pixels = rearrange(pixels, "b y x c -> b c y x").float() / 127.5 - 1
            latents += list(self._backbone.encode_images(pixels).to(torch.float16).cpu().numpy())
        return latents


def _row(pair: dict, source: np.ndarray, target: np.ndarray) -> dict:
    channels, height, width = source.shape
    about = {key: pair[key] for key in ("pair_id", "task", "split", "source_id")}
    shape = {"channels": channels, "height": height, "width": width}
    return {**about, "source": source.tobytes(), "target": target.tobytes(), **shape}


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
