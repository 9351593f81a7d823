"""One change made to a folder and a table of pictures, as a command."""

import importlib.util
import io
import re
import shutil
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from viral.model.adapter import adapter_sha256
from viral.provenance import read_trace
from viral.schema import EDITS
from viral.shipped import SHIPPED_FILL_ADAPTER

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


@pytest.fixture(scope="module")
def command(ray_cluster: None) -> Edit:
    """The command in this process; its exit code and words."""
    spec = importlib.util.spec_from_file_location("edit_images", JOB)
    assert spec is not None and spec.loader is not None
    job = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(job)

    def run(*words: object) -> tuple[int, str]:
        code, said = 0, io.StringIO()
        with redirect_stdout(said), redirect_stderr(said):
            try:
                job.main(["--rows", "3", *map(str, words)])
            except SystemExit as end:
                code = int(end.code or 0)
        return code, said.getvalue()

    return run


@pytest.fixture(scope="module")
def edit(command: Edit, tiny_base: Path, adapter: Path, example: list[Path]) -> Edit:
    """The command with an example, from pictures to an output folder."""
    fixed = ["--base", tiny_base, "--adapter", adapter, "--steps", "2", "--actors", "1"]
    return lambda pictures, output, *words: command(*example, pictures, "-o", output, *fixed, *words)


@pytest.fixture(scope="module")
def example(picture: Callable[..., bytes], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A and A'."""
    files = [tmp_path_factory.mktemp("example") / name for name in ("a.png", "a2.png")]
    for seed, file in enumerate(files):
        file.write_bytes(picture(seed))
    return files


@pytest.fixture(scope="module")
def edited(edit: Edit, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """All photos, edited once with seed 3: the folder, and what was said."""
    place = tmp_path_factory.mktemp("edited")
    code, said = edit(photos, place, "--seed", "3", "--actors", "2")
    assert code == 0, said
    return place, said


@pytest.fixture
def copies(edited: tuple[Path, str], photos: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Photos and output to change, with the times of the originals."""
    return Path(shutil.copytree(photos, tmp_path / "photos")), Path(shutil.copytree(edited[0], tmp_path / "out"))


def images(place: Path) -> dict[str, int]:
    """Every image below `place`/images and when it was written."""
    found = sorted((place / "images").rglob("*.png"))
    return {str(path.relative_to(place / "images")): path.stat().st_mtime_ns for path in found}


def table(place: Path) -> dict[str, dict]:
    """What became of each picture, by its name."""
    shards = sorted(place.glob("shard-*.parquet"))
    return {row["name"]: row for shard in shards for row in pq.read_table(shard, schema=EDITS).to_pylist()}


def test_every_picture_of_a_folder_is_edited_or_named_with_its_error(edited, photos, tiny_base, adapter, example):
    from viral.sampling.editor import Editor

    place, said = edited
    assert "5 of 7 pictures edited; failed: 1 empty file, 1 truncated or damaged PNG" in said
    rows = table(place)
    assert {name for name, row in rows.items() if row["error"]} == {"empty.png", "torn.png"}
    assert rows["torn.png"]["error"].startswith("truncated or damaged")
    assert list(images(place)) == ["a.png", "b.png", "c.png", "more & more/<e>.png", "more & more/d#1.png"]
    png = (place / "images/b.png").read_bytes()
    a, a2, b = (Image.open(path).convert("RGB") for path in (*example, photos / "b.jpg"))
    alone = Editor.load(str(tiny_base), adapter)([(a, a2)], b, steps=2, seed=3).image
    assert Image.open(io.BytesIO(png)).tobytes() == alone.tobytes()
    assert (read_trace(png)["seed"], rows["b.jpg"]["evaluations"], rows["b.jpg"]["seed"]) == (3, 2, 3)


def test_contact_sheet_shows_what_there_is_and_loads_it_when_needed(edited):
    page = (edited[0] / "index.html").read_text()
    named = [unquote(name) for name in re.findall(r'(?:src|href)="((?:images|strips)/[^"]+)"', page)]
    assert len(named) == 10
    for name in named:
        Image.open(edited[0] / name).verify()
    assert page.count('loading="lazy"') == 5
    assert "more &amp; more/&lt;e&gt;.png" in page and "<e>" not in page
    assert "torn.png</td><td>truncated" in page
    assert "2 could not be edited" in page


def test_same_command_again_goes_on_and_paints_nothing_twice(edit, copies):
    folder, place = copies
    before, manifest = images(place), (place / "manifest.json").read_bytes()
    edit(folder, place, "--seed", "3")
    assert images(place) == before
    # As a killed run leaves it: a shard not committed, of whose images all but one are there.
    (place / "manifest.json").unlink()
    min(place.glob("shard-*")).unlink()
    (place / "images/b.png").unlink()
    edit(folder, place, "--seed", "3")
    after = images(place)
    assert list(after) == list(before)
    assert [name for name in after if after[name] != before[name]] == ["b.png"]
    assert (place / "manifest.json").read_bytes() == manifest


def test_new_and_changed_pictures_are_painted_and_others_left(edit, copies, picture):
    folder, place = copies
    before = images(place)
    (folder / "0.png").write_bytes(picture(30))
    (folder / "b.jpg").write_bytes(picture(31, kind="JPEG"))
    (folder / "torn.png").write_bytes(picture(32))
    code, said = edit(folder, place, "--seed", "3")
    after = images(place)
    assert code == 0 and "7 of 8 pictures edited" in said
    assert {name for name in after if after[name] != before.get(name)} == {"0.png", "b.png", "torn.png"}


def test_another_change_paints_all_anew(edit, copies):
    folder, place = copies
    before = images(place)
    edit(folder, place, "--seed", "4")
    assert all(written != before[name] for name, written in images(place).items())


def test_table_is_edited_row_by_row_with_a_judge(edit, photos, tmp_path):
    column = [{"bytes": (photos / name).read_bytes(), "path": name} for name in ("a.png", "b.jpg", "torn.png")]
    (tmp_path / "tables").mkdir()
    pq.write_table(pa.table({"photo": [*column, None]}), tmp_path / "tables/t.parquet", row_group_size=2)
    judged = ["--candidates", "3", "--preview-steps", "1", "--judge", "direction", "--column", "photo"]
    judged += ["--example-guidance", "2"]
    code, said = edit(tmp_path / "tables", tmp_path / "out", *judged)
    assert code == 0 and "2 of 4 pictures edited" in said
    rows = table(tmp_path / "out")
    assert [bool(row["error"]) for row in rows.values()] == [False, False, True, True]
    trace = read_trace((tmp_path / "out/images/t/00000001.png").read_bytes())
    assert (trace["seeds"], trace["judge"]) == ([0, 1, 2], "direction in latent statistics")
    assert rows["t/00000001"]["evaluations"] == trace["evaluations"] == 2 * (3 * 1 + 2)


def test_pictures_are_edited_as_told_by_the_small_fill_base_and_its_adapter(command, photos, tmp_path):
    told = ["--instruction", "Invert the <colours>.", "--base", "tiny-fill", "--steps", "1", "--actors", "1"]
    code, said = command(photos, "-o", tmp_path, *told)
    assert code == 0 and "5 of 7 pictures edited" in said, said
    trace = read_trace((tmp_path / "images/b.png").read_bytes())
    assert (trace["base"], trace["adapter_sha256"]) == ("tiny-fill", adapter_sha256(SHIPPED_FILL_ADAPTER))
    page = (tmp_path / "index.html").read_text()
    assert "pictures edited as told" in page and "<q>Invert the &lt;colours&gt;.</q>" in page


def test_what_is_neither_shown_nor_told_is_refused(command, photos, example, tmp_path):
    code, said = command(photos, "-o", tmp_path / "out")
    assert code == 2 and "add example pairs or --instruction" in said
    code, said = command(*example, photos, "-o", tmp_path / "out", "--base", "tiny-fill", "--instruction", "tint it")
    assert code == 2 and "give an instruction and no examples" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--adapter", "nowhere"], "nowhere holds no adapter"),
        (["--candidates", "2", "--preview-steps", "2"], "is not between 1 and the 2 steps"),
        (["--rows", "0"], "--rows is 0; it must be at least 1"),
        (["--column", "x"], "no Parquet file and no image"),
    ],
)
def test_command_that_cannot_run_says_why_and_writes_nothing(edit, tmp_path, words, said):
    (tmp_path / "none").mkdir()
    code, printed = edit(tmp_path / "none", tmp_path / "out", *words)
    assert code == 2 and said in printed
    assert not (tmp_path / "out").exists()
