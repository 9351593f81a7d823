import json
from html.parser import HTMLParser

import pytest

from viral.config import RunConfig
from viral.evaluation.curve import loss_curve
from viral.evaluation.report import ReportFacts, write_report
from viral.evaluation.summary import EvaluationSummary
from viral.storage import Storage

Evaluated = tuple[RunConfig, EvaluationSummary]
FACTS = ReportFacts(
    run_id="0123abcd", mlflow_uri="http://127.0.0.1:5001", version="3", alias="champion", seconds={"training": 61}
)


class _Page(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.tags: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "poster")]
        if tag == "img":
            self.images.append(dict(attrs))


@pytest.fixture
def page(evaluated: Evaluated) -> str:
    config, _ = evaluated
    lines = [json.dumps({"step": step, "loss": 1 / step}) for step in range(1, 20)]
    Storage(config.storage).join("train").write("metrics.jsonl", "\n".join(lines).encode())
    write_report(config, FACTS)
    return Storage(config.storage).read("report.html").decode()


def test_the_page_shows_every_task_with_every_kind_of_picture(evaluated: Evaluated, page: str) -> None:
    alts = [image["alt"] or "" for image in _Page(page).images]
    for task in evaluated[1].tasks:
        assert f"<h2>{task.title}</h2>" in page
        for what in ("example source", "example target", "query", "before training", "output", "truth"):
            assert [alt for alt in alts if alt.startswith(task.title) and alt.endswith(what)]


def test_the_page_fetches_nothing(page: str) -> None:
    found = _Page(page)
    outside = [at for at in found.references if not at.startswith(("data:image/png;base64,", "#"))]
    assert outside == [FACTS.mlflow_uri]  # a link, not a resource
    assert not found.tags & {"script", "link", "iframe", "object", "embed"}
    assert "url(" not in page and "@import" not in page


def test_every_picture_says_what_it_is(page: str) -> None:
    assert all(image.get("alt") for image in _Page(page).images)


def test_the_summary_has_the_figures_of_the_page(evaluated: Evaluated, page: str) -> None:
    config, summary = evaluated
    written = json.loads(Storage(config.storage).read("summary.json"))
    assert written["facts"]["run_id"] in page and written["training"]["steps"] == 19
    assert [task["scores"] for task in written["evaluation"]["tasks"]] == [task.scores for task in summary.tasks]


def test_the_page_has_the_loss_curve_and_the_times(page: str) -> None:
    assert "<svg" in page and "1 min 1 s" in page


def test_the_licence_of_every_scored_photograph_is_listed(page: str) -> None:
    assert "CC0" in page


def test_a_report_without_an_evaluation_names_the_job_to_run(tmp_path) -> None:
    with pytest.raises(ValueError, match="evaluate_adapter"):
        write_report(RunConfig(storage=str(tmp_path)), ReportFacts())


def test_a_curve_without_points_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        loss_curve([], [])
