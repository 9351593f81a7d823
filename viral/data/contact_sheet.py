"""What a batch of edits made, at a glance: one HTML file whose images a browser loads as they are scrolled to."""

import base64
from collections.abc import Sequence
from functools import cache
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from viral.data.edits import IMAGES, STRIPS, strip, strip_of
from viral.sampling.editor import Pair
from viral.storage import Storage

SHEET = "index.html"
MOST = 2000
"""Pictures, and failures, that a sheet shows at most: beyond, a browser becomes slow."""


def write_sheet(storage: Storage, edits: pa.Table, examples: Sequence[Pair], instruction: str | None = None) -> None:
    """Put the contact sheet of `edits`, a table in `schema.EDITS`, into `storage` beside the images.

    It shows the examples, and the instruction, that they were made after.
    """
    good, bad = edits.filter(pc.is_null(edits["error"])), edits.filter(pc.is_valid(edits["error"]))
    page = _template().render(
        good=len(good),
        failed=len(bad),
        shown=[_shown(row) for row in _spread(good).to_pylist()],
        failures=bad.slice(0, MOST).to_pylist(),
        instruction=instruction,
        examples=[f"data:image/jpeg;base64,{base64.b64encode(strip(pair)).decode()}" for pair in examples],
    )
    storage.write(SHEET, page.encode())


def _shown(row: dict) -> dict[str, str]:
    return {
        "name": row["name"],
        "image": quote(f"{IMAGES}/{row['output']}"),
        "strip": quote(f"{STRIPS}/{strip_of(row['output'])}"),
    }


def _spread(table: pa.Table) -> pa.Table:
    """At most `MOST` rows, evenly from the whole table."""
    most = min(MOST, len(table))
    return table.take([i * len(table) // most for i in range(most)])


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("viral.data", "."), undefined=StrictUndefined, autoescape=True, trim_blocks=True
    )
    return environment.get_template("contact_sheet.html.jinja")
