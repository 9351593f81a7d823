"""The table of latents that training reads: memory-mapped, at random, a row in microseconds."""

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np
import pyarrow as pa
from jaxtyping import Float
from safetensors.numpy import load_file, save

from viral.schema import LATENTS
from viral.storage import Manifest, Shard, Storage, read_manifest

TEXT = "text.safetensors"
BLOBS = ("source", "target", "text", "pooled")
"""Columns of float16 values."""


@dataclass(frozen=True)
class LatentPair:
    """One pair as the DiT reads it, in float16 and in the file itself: nothing is copied."""

    pair_id: str
    task: str
    source_id: str
    source: Float[np.ndarray, "z h w"]
    """For a diptych: the masked canvas, source on the left and grey on the right."""
    target: Float[np.ndarray, "z h w"]
    """For a diptych: the whole canvas."""
    text: Float[np.ndarray, "t d"] | None = None
    """The instruction, encoded; none where nothing is said."""
    pooled: Float[np.ndarray, " p"] | None = None


class Values:
    """The float16 values of a binary column where they lie; pyarrow's own scalars take several times as long."""

    def __init__(self, column: pa.BinaryArray) -> None:
        _, offsets, data = column.buffers()
        self._offsets = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
        self._data = np.frombuffer(data or b"", np.float16)

    def __getitem__(self, row: int) -> Float[np.ndarray, " n"] | None:
        """None where there is nothing."""
        start, end = self._offsets[row] // 2, self._offsets[row + 1] // 2
        return None if start == end else self._data[start:end]


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
        self._starts = [0, *accumulate(shard.rows for shard in shards)]
        self._task, self._split = self._whole("task"), self._whole("split")
        self.groups = self._whole("group")
        """Group of every row, None where its pair meets any other of its task."""
        self.sources = self._whole("source_id")
        self.sizes = np.stack([self._whole("height"), self._whole("width")], axis=1)
        self._channels = self._whole("channels")
        self._values = [{name: Values(columns[name]) for name in BLOBS} for columns in self._columns]

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, index: int) -> LatentPair:
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of a table of {len(self)}")
        shard = bisect_right(self._starts, index) - 1
        row, columns, values = index - self._starts[shard], self._columns[shard], self._values[shard]
        shape, text = (self._channels[index], *self.sizes[index]), values["text"][row]
        return LatentPair(
            columns["pair_id"][row].as_py(),
            columns["task"][row].as_py(),
            columns["source_id"][row].as_py(),
            values["source"][row].reshape(shape),
            values["target"][row].reshape(shape),
            None if text is None else text.reshape(-1, self.text.shape[1]),
            values["pooled"][row],
        )

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks in the table, sorted."""
        return tuple(sorted(set(self._task.tolist())))

    def rows(self, task: str, split: str) -> np.ndarray:
        """Row numbers of a task on one side of the split, ascending."""
        return np.flatnonzero((self._task == task) & (self._split == split))

    @property
    def text(self) -> Float[np.ndarray, "t d"]:
        """The constant text embedding: what is said where a row has no text of its own."""
        return self._constant["text"]

    @property
    def pooled(self) -> Float[np.ndarray, " p"] | None:
        """Its pooled vector, for bases that take one."""
        return self._constant.get("pooled")

    @cached_property
    def _constant(self) -> dict[str, np.ndarray]:
        sha256 = next(shard.sha256 for shard in self.manifest.shards if shard.name == TEXT)
        return load_file(self.storage.local(TEXT, sha256))

    def _whole(self, name: str) -> np.ndarray:
        return np.array([value for columns in self._columns for value in columns[name].to_pylist()])


def latents_arrow(rows: list[dict]) -> bytes:
    """Arrow IPC bytes of rows of `schema.LATENTS`, uncompressed, so that a mapped row needs no decoding."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, LATENTS) as writer:
        writer.write_table(pa.Table.from_pylist(rows, schema=LATENTS))
    return sink.getvalue().to_pybytes()


def text_file(text: Float[np.ndarray, "t d"], pooled: Float[np.ndarray, " p"] | None = None) -> bytes:
    """Bytes of the file that `LatentTable.text` and `pooled` read."""
    parts = {"text": text} if pooled is None else {"text": text, "pooled": pooled}
    return save({name: np.ascontiguousarray(part, dtype=np.float32) for name, part in parts.items()})


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
