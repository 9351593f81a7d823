"""Edit corpora in Parquet: a picture, the edited one and the instruction in each row, under whatever column names."""

from typing import Any, Literal

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from viral.data.images import decode
from viral.data.sources.source import Item, Needs, Reader, Source, choose
from viral.data_config import Config
from viral.model.licences import LICENCES
from viral.storage import Storage
from viral.tasks import Labelled


class Columns(Config):
    """Names of a corpus' columns; of several names the first that is there."""

    source: tuple[str, ...]
    target: tuple[str, ...]
    instruction: tuple[str, ...]
    mask: tuple[str, ...] = ()
    photograph: tuple[str, ...] = ()
    """Column that is equal in the rows of one photograph; without it, every row counts as another one."""


CORPORA = {
    "magicbrush": Columns(
        source=("source_img",), target=("target_img",), instruction=("instruction",), mask=("mask_img",),
        photograph=("img_id",),
    ),
    "omniedit": Columns(
        source=("src_img",), target=("edited_img",), instruction=("edited_prompt_list", "edit_prompt"),
    ),
    "gpt_image_edit": Columns(
        source=("input", "input_image", "source_image"), target=("output", "output_image", "target_image"),
        instruction=("instruction", "edit_prompt", "prompt"),
    ),
    "pico_banana": Columns(
        source=("source_image", "input_image", "local_input_image"), target=("output_image", "edited_image"),
        instruction=("summarized_text", "text", "instruction"),
    ),
}  # fmt: skip
TERMS = {"pico_banana": LICENCES["cc-by-nc-nd-4.0"], "magicbrush": LICENCES["cc-by-4.0"], "omniedit": LICENCES["mit"]}


class Corpus(Source):
    """Parquet files of one corpus."""

    kind: Literal["corpus"]
    path: str
    """Folder of the Parquet files."""
    layout: Literal["magicbrush", "omniedit", "gpt_image_edit", "pico_banana"] | None = None
    columns: Columns | None = None
    """The columns of a corpus that has none of these layouts."""

    @property
    def gives(self) -> frozenset[str]:
        return frozenset({"target", "instruction"})

    def items(self, count: int, seed: int, needs: Needs) -> list[Item]:
        """Every row of every file, by its number; pictures stay unread. A file that cannot be read is an item that says
        so; `ValueError` where none can."""
        names = [name for name in Storage(self.path).walk() if name.endswith(".parquet")]
        if not names:
            raise ValueError(f"{self.path} holds no Parquet file")
        rows: list[Item] = []
        broken: list[Item] = []
        for name in names:
            try:
                rows += self._rows(name)
            except ValueError as error:
                reason = str(error).removeprefix(f"{self.path}/{name} ").removeprefix(f"{Storage(self.path)}/{name} ")
                broken.append(Item(name, f"{self.path}/{name}", {"broken": f"the file {reason}"}))
                if len(broken) == len(names):
                    raise
        return choose(rows, count, seed) + broken

    def reader(self, device: str) -> Reader:
        """Reads a row; a file's row group is kept until another one is asked for."""
        return _RowReader(self)

    def names(self, schema: pa.Schema, address: str) -> dict[str, str]:
        """Which column holds what; `ValueError` names what there is instead."""
        layout = self.columns or CORPORA.get(self.layout or "")
        if layout is None:
            raise ValueError(f"a corpus needs layout ({', '.join(CORPORA)}) or columns (source, target, instruction)")
        found = {}
        for key, names in layout:
            name = next((name for name in names if name in schema.names), None)
            if name is not None:
                found[key] = name
            elif key in ("source", "target", "instruction"):
                raise ValueError(f"{address} has no column {' or '.join(names)} for the {key}; it has {schema.names}")
        return found

    def _rows(self, name: str) -> list[Item]:
        file = open_parquet(Storage(self.path), name)
        named = self.names(file.schema_arrow, f"{self.path}/{name}")
        licence = str(TERMS[self.layout]) if self.layout in TERMS and self.licence == "as given" else None
        keys: list[Any] = [f"{name}#{row}" for row in range(file.metadata.num_rows)]
        if "photograph" in named:
            keys = file.read(columns=[named["photograph"]]).column(0).to_pylist()
        return [
            Item(f"{name}#{row}", f"{self.path}/{key}", {"file": name, "row": row}, licence)
            for row, key in enumerate(keys)
        ]


class _RowReader:
    def __init__(self, corpus: Corpus) -> None:
        self._corpus, self._folder = corpus, Storage(corpus.path)
        self._at: tuple[str, int] | None = None
        self._group: list[dict[str, Any]] = []

    def __call__(self, item: Item, size: int) -> Labelled:
        if "broken" in item.data:
            raise ValueError(item.data["broken"])
        name, row = item.data["file"], item.data["row"]
        file = open_parquet(self._folder, name)
        starts = np.cumsum([0, *(file.metadata.row_group(i).num_rows for i in range(file.num_row_groups))])
        group = int(np.searchsorted(starts, row, side="right")) - 1
        named = self._corpus.names(file.schema_arrow, f"{self._folder}/{name}")
        if self._at != (name, group):
            self._group = file.read_row_group(group, columns=sorted(set(named.values()))).to_pylist()
            self._at = (name, group)
        found = {key: self._group[row - starts[group]][column] for key, column in named.items()}
        source, target = (np.asarray(decode(_bytes(found[key], key), key)) for key in ("source", "target"))
        if source.shape != target.shape:
            target = _resized(target, source.shape)
        words = found["instruction"]
        words = words[0] if isinstance(words, list) and words else words
        return Labelled(source, target=target, instruction=str(words).strip() if words else None)


def open_parquet(folder: Storage, name: str) -> pq.ParquetFile:
    """A Parquet file; `ValueError` names one that is none, or is damaged."""
    try:
        return pq.ParquetFile(folder.open(name))
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{folder}/{name} is damaged or no Parquet file ({error}); take it away") from None


def _resized(target: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Edit models give other sizes than they were given; up to 2 % of another aspect is taken as rounding."""
    (height, width), (there, across) = shape[:2], target.shape[:2]
    if abs(width / height * there / across - 1) > 0.02:
        raise ValueError(f"source and target differ in shape: {width}x{height} and {across}x{there}")
    return cv2.resize(target, (width, height), interpolation=cv2.INTER_AREA if across > width else cv2.INTER_CUBIC)


def _bytes(value: Any, key: str) -> bytes:
    data = value["bytes"] if isinstance(value, dict) else value
    if not isinstance(data, bytes) or not data:
        raise ValueError(f"{key}: the row holds no image bytes; a path or an address is not enough")
    return data
