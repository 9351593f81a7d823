"""The jobs round the pairs, as somebody types them: publish, export, compare."""

import runpy
import sys
from pathlib import Path

import pytest

from tests.data.tables import mixed
from viral.data.versions import list_versions
from viral.storage import Storage

JOBS = Path(__file__).parents[2] / "jobs"


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs a job with settings on a storage with pairs; what it printed."""
    mixed(Storage(str(tmp_path)).join("pairs"))

    def run(name: str, *settings: str) -> str:
        monkeypatch.setattr(sys, "argv", [name, f"storage={tmp_path}", *settings])
        runpy.run_path(str(JOBS / f"{name}.py"), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_pairs_are_published_then_exported_and_compared_by_the_versions_name(job, tmp_path: Path) -> None:
    assert "9 pairs; look at index.html" in job("publish_dataset")
    (first,) = list_versions(Storage(str(tmp_path)))
    mixed(Storage(str(tmp_path)).join("pairs"), lambda shards: shards[1].pop())
    assert "- 1 removed" in job("compare_datasets", f"export.since={first}")
    job("publish_dataset")
    (second,) = set(list_versions(Storage(str(tmp_path)))) - {first}
    said = job("compare_datasets", f"export.since={second[:6]}", f"export.version={first[:6]}")
    assert said.startswith(f"# From version {second} to {first}") and "- 1 added" in said
    said = job("export_dataset", f"export.version={first[:6]}", "export.form=webdataset", f"export.to={tmp_path}/out")
    assert said == f"4 files in {tmp_path}/out\n"
    assert first in (tmp_path / "out" / "README.md").read_text()


def test_a_version_that_is_not_there_is_named(job, capsys: pytest.CaptureFixture[str]) -> None:
    for name, settings in (("export_dataset", ["export.version=abc"]), ("compare_datasets", [])):
        with pytest.raises(SystemExit, match="2"):
            job(name, *settings)
        assert "error: " in capsys.readouterr().err
