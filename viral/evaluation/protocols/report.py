"""The report of a protocol: Markdown, and one HTML file that needs no other, in the style of the papers' tables."""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from viral.data.images import encode_png
from viral.evaluation.perceptual import STAND_IN
from viral.evaluation.protocols.answer_table import AnswerTable
from viral.evaluation.protocols.case import Image
from viral.evaluation.protocols.case_table import CaseTable
from viral.evaluation.protocols.gallery import strips
from viral.evaluation.protocols.protocol import Score
from viral.evaluation.protocols.table import Heading, ProtocolTable
from viral.storage import Storage

HTML, MARKDOWN, DATA, GALLERY = "report.html", "report.md", "table.json", "gallery"


@dataclass(frozen=True)
class Shown:
    """What there is to report on."""

    table: ProtocolTable
    cases: CaseTable
    answers: AnswerTable
    scores: Sequence[Score]


def write_report(place: Storage, shown: Shown) -> None:
    """Write the table as data, as Markdown and as a page, and the gallery's pictures."""
    gallery, table = place.join(GALLERY), shown.table
    rows = strips(table, shown.scores, shown.cases, shown.answers)
    for strip in rows:
        gallery.write(strip.file, strip.png())
    for name in set(gallery.list()) - {strip.file for strip in rows}:
        gallery.delete(name)
    facts = {
        "table": table,
        "groups": groups(table.headings),
        "best": best(table),
        "compared": [row for row in table.rows if any(cell.behind for cell in row.cells.values())],
        "tasks": [(title, list(found)) for title, found in groupby(rows, lambda strip: strip.title)],
        "stand_in": STAND_IN,
    }
    place.write(MARKDOWN, _template("report.md.jinja", False).render(**facts).encode())
    place.write(HTML, _template("report.html.jinja", True).render(**facts).encode())
    place.write(DATA, (table.model_dump_json(indent=1) + "\n").encode())


def groups(headings: Iterable[Heading]) -> list[tuple[str, list[Heading]]]:
    """Neighbouring columns under one title."""
    return [(title, list(found)) for title, found in groupby(headings, lambda heading: heading.title)]


def best(table: ProtocolTable) -> dict[str, str]:
    """The method with the best figure of each column, bounds left out."""
    found = {}
    for heading in table.headings:
        sign = 1 if heading.higher_is_better else -1
        values = {
            row.method: sign * row.cells[heading.key].value
            for row in table.rows
            if not row.bound and heading.key in row.cells and row.cells[heading.key].value is not None
        }
        if values:
            found[heading.key] = max(values, key=lambda method: values[method])
    return found


def number(value: float) -> str:
    """Three digits that count, four behind the point at most, with a true minus."""
    form = ".0f" if abs(value) >= 1000 else ".3g" if abs(value) >= 0.001 or value == 0 else ".4f"
    return f"{value:{form}}".replace("-", "\u2212")


@cache
def _environment(escape: bool) -> Environment:
    environment = Environment(
        loader=PackageLoader("viral.evaluation.protocols", "."), autoescape=escape, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(number=number, uri=_uri)
    return environment


def _template(name: str, escape: bool):
    return _environment(escape).get_template(name)


def _uri(picture: Image) -> Markup:
    return Markup(f"data:image/png;base64,{base64.b64encode(encode_png(picture)).decode()}")
