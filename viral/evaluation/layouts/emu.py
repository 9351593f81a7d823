"""Emu Edit's test set: an image, an instruction, and what input and output show in words; nobody has the output.

Parquet files with `test` in their names and the columns idx, image (bytes and path), instruction, input_caption,
output_caption, task and hash, where `hash` names the image.
"""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from viral.data.images import pixels_of
from viral.evaluation.layouts.drawing import editable_scene, encode
from viral.evaluation.layouts.place import choose
from viral.evaluation.protocols.case import Case
from viral.scenes import caption, render
from viral.storage import Storage

TASK = "emu"
NUMBER = 2
KINDS = {
    "add": ("add",), "remove": ("remove",), "background": ("backdrop", "ground", "walls"), "color": ("recolour",),
    "global": ("time", "weather"), "local": ("replace", "retexture", "pose"), "style": ("style",),
}  # fmt: skip
"""Emu Edit's kinds of task, but for text, by the edits of scenes that change a caption."""
COLUMNS = pa.schema(
    [
        ("idx", pa.int64()),
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        *[(name, pa.string()) for name in ("instruction", "input_caption", "output_caption", "task", "hash")],
    ]
)


def read_emu(place: Storage, count: int, seed: int) -> Iterator[Case]:
    """At most `count` edits as cases without a truth, always the same, painted from one noise as ICEdit does.

    `ValueError` where no file is a test set.
    """
    files = [name for name in place.walk() if name.endswith(".parquet") and "test" in name]
    if not files:
        raise ValueError(f"{place} holds no Parquet file with `test` in its name; give the folder of the test set")
    ids = [(name, idx) for name in files for idx in pq.read_table(place.open(name), columns=["idx"])["idx"].to_pylist()]
    chosen = set(choose(ids, count, seed))
    for name in files:
        for batch in pq.ParquetFile(place.open(name)).iter_batches(64, columns=COLUMNS.names):
            kept = [i for i, idx in enumerate(batch["idx"].to_pylist()) if (name, idx) in chosen]
            yield from (_case(row, seed) for row in batch.take(kept).to_pylist())


def _case(row: dict, seed: int) -> Case:
    return Case(
        case_id=str(row["idx"]),
        task=TASK,
        source_id=f"emu/{row['hash']}",
        examples=(),
        query=pixels_of(row["image"]["bytes"]),
        truth=None,
        seed=seed,
        instruction=row["instruction"],
        caption=row["output_caption"],
        labels={"source_caption": row["input_caption"], "kind": row["task"]},
    )


def write_emu(place: Storage, count: int, size: int, seed: int) -> None:
    """`count` scenes, each with an edit of the next kind of task."""
    rows = [_row(number, size, seed) for number in range(count)]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=COLUMNS), sink)
    place.join("data").write("test-00000-of-00001.parquet", sink.getvalue().to_pybytes())


def _row(number: int, size: int, seed: int) -> dict:
    task = list(KINDS)[number % len(KINDS)]
    scene, edit, _ = editable_scene(NUMBER, seed, number, KINDS[task])
    shown = render(scene, size)
    return {
        "idx": number,
        "image": {"bytes": encode(shown.image), "path": f"{number}.png"},
        "instruction": edit.instruction,
        "input_caption": shown.caption,
        "output_caption": caption(edit.scene_after),
        "task": task,
        "hash": str(scene.seed),
    }
