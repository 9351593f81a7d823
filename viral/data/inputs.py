"""Pictures to work through, of any number: a folder of files, or a table of Parquet."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from viral.data.images import SUFFIXES
from viral.data.shards import ShardWork
from viral.storage import Storage

TABLE = ".parquet"


@dataclass(frozen=True)
class Picture:
    """One input, not read yet: what it is called, and what the file that is made of it shall be called."""

    name: str
    output: str


@dataclass(frozen=True)
class FileBatch:
    """Files of a folder."""

    storage: Storage
    pictures: tuple[Picture, ...]

    def read(self) -> Iterator[tuple[Picture, bytes]]:
        """Each picture with its encoded bytes; none where its file has gone."""
        for picture in self.pictures:
            yield picture, self.storage.read(picture.name) if self.storage.exists(picture.name) else b""


@dataclass(frozen=True)
class RowGroup:
    """A row group of a Parquet file: what can be read of it without the rest."""

    storage: Storage
    file: str
    group: int
    first: int
    """Number of its first row in the file."""
    column: str

    def read(self) -> Iterator[tuple[Picture, bytes]]:
        """Each row's picture with its encoded bytes; none where the row has no image."""
        with self.storage.open(self.file) as file:
            column = pq.ParquetFile(file).read_row_group(self.group, columns=[self.column])[self.column]
        for number, image in enumerate(column.to_pylist(), self.first):
            name = f"{self.file.removesuffix(TABLE)}/{number:08d}"
            yield Picture(name, f"{name}.png"), _encoded(image)


Batch = FileBatch | RowGroup


@dataclass(frozen=True)
class Inputs:
    """Everything there is to work through, and what tells whether it has changed."""

    plan: tuple[ShardWork, ...]
    state: tuple[Any, ...]

    @property
    def rows(self) -> int:
        return sum(item.rows for item in self.plan)


def find_inputs(address: str, column: str, rows: int) -> Inputs:
    """The pictures at `address`: a folder or object store of images or of Parquet files, or one Parquet file.

    A batch has at most `rows` files, or is a row group of a table whose images are in `column`: encoded bytes, or a
    struct with them, as Hugging Face `datasets` writes. `ValueError` for a place without pictures.
    """
    if address.endswith(TABLE):
        place, _, file = address.rpartition("/")
        return _tables(Storage(place or "."), [file], column)
    storage = Storage(address)
    names = storage.walk()
    tables = [name for name in names if name.endswith(TABLE)]
    images = [name for name in names if PurePosixPath(name).suffix.lower() in SUFFIXES]
    if bool(tables) == bool(images):
        known = ", ".join(sorted(SUFFIXES))
        what = "both images and Parquet files" if tables else f"no Parquet file and no image ({known})"
        raise ValueError(f"{storage} holds {what}; give a folder of one kind, or the path of one Parquet file")
    return _tables(storage, tables, column) if tables else _files(storage, images, rows)


def _files(storage: Storage, names: list[str], rows: int) -> Inputs:
    pictures = [Picture(name, output) for name, output in zip(names, _outputs(names), strict=True)]
    batches = [FileBatch(storage, tuple(pictures[i : i + rows])) for i in range(0, len(pictures), rows)]
    plan = tuple(ShardWork(_shard(i), len(batch.pictures), batch) for i, batch in enumerate(batches))
    return Inputs(plan, tuple((name, *storage.stamp(name)) for name in names))


def _tables(storage: Storage, files: list[str], column: str) -> Inputs:
    plan: list[ShardWork] = []
    for name in files:
        with storage.open(name) as file:
            table = pq.ParquetFile(file)
            _check_column(table.schema_arrow, column, f"{storage}/{name}")
            counts = [table.metadata.row_group(group).num_rows for group in range(table.num_row_groups)]
        for group, count in enumerate(counts):
            batch = RowGroup(storage, name, group, sum(counts[:group]), column)
            plan.append(ShardWork(_shard(len(plan)), count, batch))
    return Inputs(tuple(plan), tuple((name, *storage.stamp(name)) for name in files))


def _outputs(names: list[str]) -> list[str]:
    """cat.jpg becomes cat.png; where there is a cat.webp too, both keep their endings before it."""
    stems = Counter(str(PurePosixPath(name).with_suffix("")) for name in names)
    return [
        f"{stem if stems[stem] == 1 else name}.png"
        for name in names
        for stem in [str(PurePosixPath(name).with_suffix(""))]
    ]


def _check_column(schema: pa.Schema, column: str, where: str) -> None:
    if column not in schema.names:
        raise ValueError(f"{where} has no column {column!r} but {', '.join(schema.names)}; name one of encoded images")
    kind = schema.field(column).type
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        kind = kind.field("bytes").type
    if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        raise ValueError(f"{where}: column {column!r} is {kind}; name one of encoded images")


def _encoded(image: Any) -> bytes:
    return (image["bytes"] if isinstance(image, dict) else image) or b""


def _shard(number: int) -> str:
    return f"shard-{number:06d}{TABLE}"
