"""One change made to a folder and a table of pictures, as a command."""

import importlib.util
import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from viral.provenance import read_trace
from viral.schema import EDITS

JOB = Path(__file__).parents[2] / "jobs" / "edit_images.py"
Edit = Callable[..., tuple[int, str]]


@pytest.fixture(scope="session")
def photos(picture: Callable[..., bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five pictures in two folders and two files that are none."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "more & more").mkdir()
    for seed, name in enumerate(("a.png", "b.jpg", "c.webp", "more & more/d#1.png", "more & more/<e>.png")):
        kind = {"jpg": "JPEG", "webp": "WEBP"}.get(name[-3:].strip("."), "WEBP" if name.endswith("webp") else "PNG")
        (folder / name).write_bytes(picture(seed + 10, 40, 32, kind))
    (folder / "empty.png").touch()
    (folder / "torn.png").write_bytes((folder / "a.png").read_bytes()[:300])
    return folder


@pytest.fixture
def edit(
    ray_cluster: None, tiny_base: Path, adapter: Path, parts: dict[str, bytes], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> Edit:  # fmt: skip
    """The command, in this process and in a folder with a.png and a2.png; its exit code and words."""
    spec = importlib.util.spec_from_file_location("edit_images", JOB)
    assert spec is not None and spec.loader is not None
    job = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(job)
    (tmp_path / "a.png").write_bytes(parts["example_source"])
    (tmp_path / "a2.png").write_bytes(parts["example_target"])
    monkeypatch.chdir(tmp_path)
    fixed = ["-o", "out", "--base", str(tiny_base), "--adapter", str(adapter), "--steps", "2", "--rows", "3"]

    def run(pictures: Path, *words: str) -> tuple[int, str]:
        code = 0
        try:
            job.main(["a.png", "a2.png", str(pictures), *fixed, *words])
        except SystemExit as end:
            code = int(end.code or 0)
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return run


def images(place: Path) -> dict[str, int]:
    """Every image below `place`/images and when it was written."""
    found = sorted((place / "images").rglob("*.png"))
    return {str(path.relative_to(place / "images")): path.stat().st_mtime_ns for path in found}


def table(place: Path) -> dict[str, dict]:
    """What became of each picture, by its name."""
    shards = sorted(place.glob("shard-*.parquet"))
    return {row["name"]: row for shard in shards for row in pq.read_table(shard, schema=EDITS).to_pylist()}


def test_every_picture_of_a_folder_is_edited_or_named_with_its_error(edit, photos, tmp_path, tiny_base, adapter, parts):
    from viral.sampling.editor import Editor

    code, said = edit(photos, "--seed", "3")
    assert code == 0
    assert "5 of 7 pictures edited; failed: 1 empty file, 1 truncated or damaged PNG" in said
    rows = table(tmp_path / "out")
    assert {name for name, row in rows.items() if row["error"]} == {"empty.png", "torn.png"}
    assert rows["torn.png"]["error"].startswith("truncated or damaged")
    assert list(images(tmp_path / "out")) == [
        "a.png", "b.png", "c.png", "more & more/<e>.png", "more & more/d#1.png",
    ]  # fmt: skip
    png = (tmp_path / "out/images/b.png").read_bytes()
    opened = [
        Image.open(io.BytesIO(data)).convert("RGB") for data in (*parts.values(), (photos / "b.jpg").read_bytes())
    ]
    alone = Editor.load(str(tiny_base), adapter)([(opened[0], opened[1])], opened[3], steps=2, seed=3).image
    assert Image.open(io.BytesIO(png)).tobytes() == alone.tobytes()
    assert (read_trace(png)["seed"], rows["b.jpg"]["evaluations"], rows["b.jpg"]["seed"]) == (3, 2, 3)


def test_contact_sheet_shows_what_there_is_and_loads_it_when_needed(edit, photos, tmp_path):
    edit(photos)
    page = (tmp_path / "out/index.html").read_text()
    named = [unquote(name) for name in re.findall(r'(?:src|href)="((?:images|strips)/[^"]+)"', page)]
    assert len(named) == 10
    for name in named:
        Image.open(tmp_path / "out" / name).verify()
    assert page.count('loading="lazy"') == 5
    assert "more &amp; more/&lt;e&gt;.png" in page and "<e>" not in page
    assert "torn.png</td><td>truncated" in page
    assert "2 could not be edited" in page


def test_same_command_again_goes_on_and_paints_nothing_twice(edit, photos, tmp_path):
    edit(photos)
    place, before = tmp_path / "out", images(tmp_path / "out")
    manifest, shards = (place / "manifest.json").read_bytes(), sorted(place.glob("shard-*"))
    edit(photos)
    assert images(place) == before
    # As a killed run leaves it: a shard not committed, of whose images all but one are there.
    (place / "manifest.json").unlink()
    shards[0].unlink()
    (place / "images/b.png").unlink()
    edit(photos)
    after = images(place)
    assert list(after) == list(before)
    assert [name for name in after if after[name] != before[name]] == ["b.png"]
    assert (place / "manifest.json").read_bytes() == manifest


def test_new_and_changed_pictures_are_painted_and_others_left(edit, photos, tmp_path, picture):
    folder = Path(shutil.copytree(photos, tmp_path / "photos"))
    edit(folder)
    before = images(tmp_path / "out")
    (folder / "0.png").write_bytes(picture(30))
    (folder / "b.jpg").write_bytes(picture(31, kind="JPEG"))
    (folder / "torn.png").write_bytes(picture(32))
    code, said = edit(folder)
    after = images(tmp_path / "out")
    assert code == 0 and "7 of 8 pictures edited" in said
    assert {name for name in after if after[name] != before.get(name)} == {"0.png", "b.png", "torn.png"}


def test_another_change_paints_all_anew(edit, photos, tmp_path):
    edit(photos)
    before = images(tmp_path / "out")
    edit(photos, "--seed", "4")
    assert all(written != before[name] for name, written in images(tmp_path / "out").items())


def test_table_is_edited_row_by_row_with_a_judge(edit, photos, tmp_path):
    column = [{"bytes": (photos / name).read_bytes(), "path": name} for name in ("a.png", "b.jpg", "torn.png")]
    (tmp_path / "tables").mkdir()
    pq.write_table(pa.table({"photo": [*column, None]}), tmp_path / "tables/t.parquet", row_group_size=2)
    judged = ["--candidates", "3", "--preview-steps", "1", "--judge", "direction", "--column", "photo"]
    code, said = edit(tmp_path / "tables", *judged)
    assert code == 0 and "2 of 4 pictures edited" in said
    rows = table(tmp_path / "out")
    assert [bool(row["error"]) for row in rows.values()] == [False, False, True, True]
    trace = read_trace((tmp_path / "out/images/t/00000001.png").read_bytes())
    assert (trace["seeds"], trace["judge"]) == ([0, 1, 2], "direction in latent statistics")
    assert rows["t/00000001"]["evaluations"] == trace["evaluations"] == 3 * 1 + 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--candidates", "2", "--preview-steps", "2"], "is not between 1 and the 2 steps"),
        (["--rows", "0"], "--rows is 0; it must be at least 1"),
        (["--column", "x"], "no Parquet file and no image"),
    ],
)
def test_command_that_cannot_run_says_why_and_writes_nothing(edit, tmp_path, words, said):
    (tmp_path / "none").mkdir()
    code, printed = edit(tmp_path / "none", *words)
    assert code == 2 and said in printed
    assert not (tmp_path / "out").exists()
