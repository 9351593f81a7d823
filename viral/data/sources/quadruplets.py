"""Quadruplets as a source of pairs: the two of each meet one another and nobody else."""

from typing import Any, Literal

import pyarrow.parquet as pq

from viral.data.images import pixels_of
from viral.data.sources.corpus import open_parquet
from viral.data.sources.source import Item, Needs, Reader, Source, choose
from viral.storage import Storage
from viral.tasks import Labelled

SIDES = {"a": ("a", "a_prime"), "b": ("b", "b_prime")}


class Quadruplets(Source):
    """A table that was mined or synthesised: `storage`/quadruplets/mined, say; two pairs of every good row."""

    kind: Literal["quadruplets"]
    path: str
    """Folder of the table's Parquet files."""

    @property
    def gives(self) -> frozenset[str]:
        return frozenset({"target", "instruction"})

    def items(self, count: int, seed: int, needs: Needs) -> list[Item]:
        """Whole quadruplets, so that no pair is left alone; an odd `count` leaves one out."""
        names = [name for name in Storage(self.path).walk() if name.endswith(".parquet")]
        if not names:
            raise ValueError(f"{self.path} holds no Parquet file; run jobs/mine_quadruplets.py")
        rows = [Item(one["quadruplet_id"], "", one) for name in names for one in self._good(name)]
        return [self._item(one.data, side) for one in choose(rows, count // 2, seed) for side in SIDES]

    def reader(self, device: str) -> Reader:
        """Reads a pair; a file's row group is kept until another one is asked for."""
        return _SideReader(self.path)

    def _good(self, name: str) -> list[dict[str, Any]]:
        told = ["quadruplet_id", "licence", "a_source_id", "b_source_id", "error"]
        rows = open_parquet(Storage(self.path), name).read(columns=told).to_pylist()
        return [{**row, "file": name, "row": number} for number, row in enumerate(rows) if row["error"] is None]

    def _item(self, row: dict[str, Any], side: str) -> Item:
        data = {"file": row["file"], "row": row["row"], "side": side}
        return Item(f"{row['quadruplet_id']}/{side}", row[f"{side}_source_id"], data, row["licence"])


class _SideReader:
    def __init__(self, path: str) -> None:
        self._folder, self._name = Storage(path), ""
        self._rows: list[dict[str, Any]] = []

    def __call__(self, item: Item, size: int) -> Labelled:
        if item.data["file"] != self._name:
            self._name = item.data["file"]
            self._file: pq.ParquetFile = open_parquet(self._folder, self._name)
            self._rows = self._file.read().to_pylist()
        row, side = self._rows[item.data["row"]], item.data["side"]
        source, target = (pixels_of(row[name]["bytes"]) for name in SIDES[side])
        about = {"group": row["quadruplet_id"], "method": row["method"]}
        return Labelled(source, target=target, instruction=row[f"{side}_instruction"], about=about)
