"""C12: rows of latents at random, from our shards, Parquet and raw files; the page cache is warm."""

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from timing import Peer, Race, Result

from viral.data.latents import TEXT, LatentTable, latents_arrow, text_file
from viral.schema import LATENTS
from viral.storage import Manifest, Storage, describe_shard, write_manifest

ROWS, GROUP, READS = 1024, 128, 64
SHAPE = (16, 32, 32)
"""In float16 32 KB for each side of a pair, so 64 KB a row."""


def random_reads() -> Race:
    """Every arm ends with the arrays of both sides of each pair; the files live as long as the race."""
    folder = TemporaryDirectory(prefix="viral-bench-")
    place, rows = Path(folder.name), draw_rows()
    table = write_shards(place, rows)
    write_parquet(place / "rows.parquet", rows)
    for i, row in enumerate(rows):
        (place / f"{i}.bin").write_bytes(row["source"] + row["target"])
    order = np.random.default_rng(1).integers(ROWS, size=READS).tolist()
    parquet = pq.ParquetFile(place / "rows.parquet", memory_map=True)

    def ours(kept: TemporaryDirectory = folder) -> Result:
        return reads((pair.source, pair.target) for pair in (table[i] for i in order))

    def by_parquet() -> Result:
        return reads(parquet_row(parquet, i) for i in order)

    def by_files() -> Result:
        return reads(file_row(place / f"{i}.bin") for i in order)

    peers = (
        Peer("C12.parquet", f"Parquet, row groups of {GROUP}", 50, 267, by_parquet, tolerance=0),
        Peer("C12.files", "a raw file for each row", 1.5, 3, by_files, tolerance=0),
    )
    return Race(f"{READS} random reads of rows of 64 KB out of {ROWS}", ours, peers)


def draw_rows() -> list[dict]:
    generator = np.random.default_rng(0)
    about = {"task": "blur", "split": "train", "source_id": "0" * 64}
    size = dict(zip(("channels", "height", "width"), SHAPE, strict=True))

    def latents() -> bytes:
        return generator.standard_normal(SHAPE, np.float32).astype(np.float16).tobytes()

    return [{"pair_id": f"{i:064d}", **about, "source": latents(), "target": latents(), **size} for i in range(ROWS)]


def write_shards(place: Path, rows: list[dict]) -> LatentTable:
    """Our table of four shards."""
    storage, part = Storage(str(place / "latents")), ROWS // 4
    files = {f"shard-{k}.arrow": latents_arrow(rows[k * part : (k + 1) * part]) for k in range(4)}
    files[TEXT] = text_file(np.zeros((1, 4), np.float32))
    for name, data in files.items():
        storage.write(name, data)
    shards = tuple(describe_shard(name, 0 if name == TEXT else part, data, {}) for name, data in files.items())
    write_manifest(storage, Manifest(fingerprint="bench", complete=True, shards=shards))
    return LatentTable(storage)


def write_parquet(path: Path, rows: list[dict]) -> None:
    """Without compression and dictionaries, which cost noise only time."""
    table = pa.Table.from_pylist(rows, schema=LATENTS)
    pq.write_table(table, path, row_group_size=GROUP, compression="none", use_dictionary=False)


def reads(rows: Iterable[tuple[np.ndarray, np.ndarray]]) -> Result:
    """Both sides of every row by the order of reading; nothing is copied."""
    return {f"{i} {side}": torch.from_numpy(x) for i, row in enumerate(rows) for side, x in zip("st", row, strict=True)}


def parquet_row(parquet: pq.ParquetFile, index: int) -> tuple[np.ndarray, np.ndarray]:
    group = parquet.read_row_group(index // GROUP, columns=["source", "target"], use_threads=False)
    source, target = (group.column(name)[index % GROUP].as_buffer() for name in ("source", "target"))
    return np.frombuffer(source, np.float16).reshape(SHAPE), np.frombuffer(target, np.float16).reshape(SHAPE)


def file_row(path: Path) -> tuple[np.ndarray, np.ndarray]:
    source, target = np.frombuffer(path.read_bytes(), np.float16).reshape(2, *SHAPE)
    return source, target
