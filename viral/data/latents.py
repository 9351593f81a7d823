"""The table of latents that training reads: memory-mapped, at random, a row in microseconds."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from jaxtyping import Float
from safetensors.numpy import load_file, save

from viral.schema import LATENTS
from viral.storage import Manifest, Shard, Storage, read_manifest

TEXT = "text.safetensors"


@dataclass(frozen=True)
class LatentPair:
    """One pair as the DiT reads it."""

    pair_id: str
    task: str
    source_id: str
    source: Float[np.ndarray, "z h w"]
    target: Float[np.ndarray, "z h w"]


class LatentTable:
    """Random access to the latents at `storage`, in the table's order.

    Every shard is verified against the manifest once, when the table is opened; `ValueError` names a shard that is
    missing, truncated or of another schema, and a table that is not whole.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.manifest = _manifest(storage)
        shards = [shard for shard in self.manifest.shards if shard.name != TEXT]
        self._columns = [_map(storage, shard) for shard in shards]
        self._starts = np.cumsum([0, *(shard.rows for shard in shards)])
        self._task, self._split = self._whole("task"), self._whole("split")

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: int) -> LatentPair:
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of a table of {len(self)}")
        shard = int(np.searchsorted(self._starts, index, side="right")) - 1
        row = index - int(self._starts[shard])
        value = {name: column[row] for name, column in self._columns[shard].items()}
        about = {name: value[name].as_py() for name in ("pair_id", "task", "source_id")}
        shape = tuple(value[name].as_py() for name in ("channels", "height", "width"))
        return LatentPair(**about, source=_array(value["source"], shape), target=_array(value["target"], shape))

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks in the table, sorted."""
        return tuple(sorted(set(self._task.tolist())))

    def rows(self, task: str, split: str) -> np.ndarray:
        """Row numbers of a task on one side of the split, ascending."""
        return np.flatnonzero((self._task == task) & (self._split == split))

    @cached_property
    def text(self) -> Float[np.ndarray, "t d"]:
        """The constant text embedding that goes with every row."""
        sha256 = next(shard.sha256 for shard in self.manifest.shards if shard.name == TEXT)
        return load_file(self.storage.local(TEXT, sha256))["text"]

    def _whole(self, name: str) -> np.ndarray:
        return np.array([value for columns in self._columns for value in columns[name].to_pylist()])


def latents_arrow(rows: list[dict]) -> bytes:
    """Arrow IPC bytes of rows of `schema.LATENTS`, uncompressed, so that a mapped row needs no decoding."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, LATENTS) as writer:
        writer.write_table(pa.Table.from_pylist(rows, schema=LATENTS))
    return sink.getvalue().to_pybytes()


def text_file(text: Float[np.ndarray, "t d"]) -> bytes:
    """Bytes of the file that `LatentTable.text` reads."""
    return save({"text": np.ascontiguousarray(text, dtype=np.float32)})


def _manifest(storage: Storage) -> Manifest:
    manifest = read_manifest(storage)
    if manifest is None or not manifest.complete:
        state = "are not there" if manifest is None else "are not all there yet"
        raise ValueError(f"latents at {storage} {state}; run jobs/encode_dataset.py with the same configuration")
    return manifest


def _map(storage: Storage, shard: Shard) -> dict[str, pa.Array]:
    """The columns of a shard; their values stay in the file until they are asked for."""
    path = storage.local(shard.name, shard.sha256)
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except pa.ArrowInvalid as error:
        raise ValueError(f"{storage}/{shard.name} is no Arrow file ({error}); delete it and encode again") from None
    if not table.schema.equals(LATENTS):
        names = table.schema.names
        raise ValueError(f"{storage}/{shard.name} has columns {names}, expected {LATENTS.names}; encode again")
    return {name: table.column(name).combine_chunks() for name in LATENTS.names}


def _array(value: pa.Scalar, shape: tuple[int, ...]) -> Float[np.ndarray, "z h w"]:
    return np.frombuffer(value.as_buffer(), np.float16).reshape(shape).astype(np.float32)
