import json

import pytest

from viral.config import RunConfig
from viral.evaluation.protocols.report import best, groups, number
from viral.evaluation.protocols.run import place_of
from viral.evaluation.protocols.table import ProtocolTable

Ran = tuple[RunConfig, ProtocolTable]


@pytest.fixture
def page(ran: Ran) -> str:
    return place_of(ran[0], ran[1].name).read("report.html").decode()


@pytest.fixture
def markdown(ran: Ran) -> str:
    return place_of(ran[0], ran[1].name).read("report.md").decode()


def test_published_rows_are_marked_as_not_comparable(page: str, markdown: str) -> None:
    for text in (page, markdown):
        assert text.count("published elsewhere, on other data: not comparable") == 1
        assert text.index("not comparable") < text.index("StableNormal") and "21.352" in text


def test_the_markdown_is_one_table_with_a_cell_for_every_column(markdown: str, ran: Ran) -> None:
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(ran[1].rows) + 1 + len(ran[1].published)
    assert {line.count("|") for line in lines} == {len(ran[1].headings) + 2}


def test_the_page_needs_no_other_file(page: str) -> None:
    assert page.count("data:image/png;base64,") > 10 and 'src="gallery' not in page and "<script" not in page


def test_every_task_shows_its_best_median_and_worst(ran: Ran, markdown: str) -> None:
    files = place_of(ran[0], ran[1].name).join("gallery").list()
    assert files == sorted(f"{task}-{rank}.png" for task in ("depth", "normal") for rank in ("best", "median", "worst"))
    assert all(f"(gallery/{name})" in markdown for name in files)


def test_the_bound_is_never_the_best_of_a_column(ran: Ran) -> None:
    assert "vae" not in best(ran[1]).values() and set(best(ran[1])) == {heading.key for heading in ran[1].headings}


def test_the_data_holds_the_whole_table(ran: Ran) -> None:
    data = json.loads(place_of(ran[0], ran[1].name).read("table.json"))
    assert ProtocolTable.model_validate(data) == ran[1]


def test_columns_of_one_task_stand_under_one_title(ran: Ran) -> None:
    assert [(title, len(found)) for title, found in groups(ran[1].headings)] == [("Depth", 2), ("Surface normals", 2)]


def test_numbers_have_three_digits_that_count() -> None:
    told = {0.12345: "0.123", 28.591: "28.6", 12345.6: "12346", -0.5: "\u22120.5", 2e-5: "0.0000"}
    assert {value: number(value) for value in told} == told
