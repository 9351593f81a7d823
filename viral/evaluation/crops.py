"""Which crops are scored, each with its example, and where their pictures are."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from viral.data.images import pixels_of
from viral.data.latents import TEXT, LatentTable
from viral.data.pair_table import PairTable
from viral.evaluation.answers import Image
from viral.evaluation.metrics import Mask


@dataclass(frozen=True)
class Crop:
    """A row of latents to be scored, the row that is its example, and the seed of its noise."""

    row: int
    example: int
    """A diptych has none and is the row itself."""
    seed: int

    @property
    def alone(self) -> bool:
        """Whether it has no example."""
        return self.example == self.row


def choose_crops(latents: LatentTable, task: str, seed: int, alone: bool = False) -> tuple[Crop, ...]:
    """Every row of a task that is kept apart, with an example that it may meet: the same for every method.

    The example is one of those trained on; for a group that is kept apart whole, as quadruplets are, another of it.
    Empty when either side of the split has no row of this task; a row that is alone in its group is left out. Those of
    diptychs are all `alone`.
    """
    trained, apart = (_by_group(latents, latents.rows(task, split)) for split in ("train", "test"))
    if not trained:
        return ()
    crops = []
    for row in map(int, latents.rows(task, "test")):
        group = latents.groups[row]
        examples = trained.get(group) or [other for other in apart[group] if group is not None and other != row]
        examples = [row] if alone else examples
        crops += [_crop(row, np.array(examples), seed)] if examples else []
    return tuple(crops)


def _by_group(latents: LatentTable, rows: np.ndarray) -> dict[str | None, list[int]]:
    found: dict[str | None, list[int]] = {}
    for row in map(int, rows):
        found.setdefault(latents.groups[row], []).append(row)
    return found


def _crop(row: int, examples: np.ndarray, seed: int) -> Crop:
    rng = np.random.default_rng([seed, row])
    return Crop(row, int(rng.choice(examples)), int(rng.integers(2**31)))


@dataclass(frozen=True)
class Pictures:
    """The pixels of one pair."""

    source: Image
    target: Image
    mask: Mask | None
    instruction: str | None = None


class PictureTable:
    """The pixels behind each row of latents, from the table of pairs that was encoded; keeps the shards last read."""

    def __init__(self, pairs: PairTable, latents: LatentTable) -> None:
        self._pairs, self._latents = pairs, latents
        self._shards = {shard.name.partition(".")[0]: shard for shard in pairs.manifest.shards}
        self._encoded = [shard for shard in latents.manifest.shards if shard.name != TEXT]
        self._starts = np.cumsum([0, *(shard.rows for shard in self._encoded)])
        self._good_rows = lru_cache(maxsize=8)(self._read)

    def __getitem__(self, row: int) -> Pictures:
        """`ValueError` when the latents were encoded from other pairs than these."""
        shard = int(np.searchsorted(self._starts, row, side="right")) - 1
        rows = self._good_rows(self._encoded[shard].name.partition(".")[0])
        offset = row - int(self._starts[shard])
        if offset >= len(rows) or rows[offset]["pair_id"] != self._latents[row].pair_id:
            raise ValueError(
                f"latents at {self._latents.storage} were not encoded from the pairs at {self._pairs.storage}; "
                "run jobs/encode_dataset.py with the same configuration"
            )
        found = rows[offset]
        mask = found["mask"]
        return Pictures(
            pixels_of(found["source"]["bytes"]),
            pixels_of(found["target"]["bytes"]),
            None if mask is None else pixels_of(mask["bytes"])[..., 0],
            found["instruction"],
        )

    def _read(self, name: str) -> list[dict]:
        if name not in self._shards:
            return []
        return [row for row in self._pairs.read(self._shards[name]).to_pylist() if row["error"] is None]
