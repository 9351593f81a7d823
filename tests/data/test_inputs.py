"""What there is to edit, found in folders and tables."""

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from viral.data.inputs import find_inputs


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (8, 8), shade).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five images in two folders, two of one stem, and a file that is none."""
    (tmp_path / "more").mkdir()
    for shade, name in enumerate(("cat.jpg", "cat.webp", "dog.PNG", "more/cat.jpg", "more/é #1.png")):
        (tmp_path / name).write_bytes(png(shade))
    (tmp_path / "notes.txt").write_text("not looked into")
    return tmp_path


def named(address: Path | str, rows: int = 2) -> dict[str, bytes]:
    """Output name and bytes of all pictures."""
    plan = find_inputs(str(address), "image", rows).plan
    return {picture.output: data for item in plan for picture, data in item.work.read()}


def test_every_image_of_a_folder_has_an_output_of_its_own(folder):
    found = named(folder)
    assert list(found) == ["cat.jpg.png", "cat.webp.png", "dog.png", "more/cat.png", "more/é #1.png"]
    assert list(found.values()) == [png(shade) for shade in range(5)]


def test_batches_hold_as_many_files_as_asked_for(folder):
    inputs = find_inputs(str(folder), "image", 2)
    assert [item.rows for item in inputs.plan] == [2, 2, 1]
    assert inputs.rows == 5


def test_files_that_change_change_the_state_and_others_do_not(folder):
    before = find_inputs(str(folder), "image", 2).state
    (folder / "notes.txt").write_text("still not looked into")
    assert find_inputs(str(folder), "image", 2).state == before
    (folder / "cat.jpg").write_bytes(png(200) + b"more")
    assert find_inputs(str(folder), "image", 2).state != before


def test_file_that_has_gone_since_has_no_bytes(folder):
    inputs = find_inputs(str(folder), "image", 5)
    (folder / "cat.jpg").unlink()
    assert next(inputs.plan[0].work.read())[1] == b""


@pytest.mark.parametrize("as_struct", [True, False])
def test_row_groups_of_a_table_are_batches(tmp_path, as_struct):
    images = [png(0), None, png(2), png(3), png(4)]
    column = [{"bytes": data, "path": None} for data in images] if as_struct else images
    pq.write_table(pa.table({"id": range(5), "image": column}), tmp_path / "t.parquet", row_group_size=2)
    for address in (tmp_path, tmp_path / "t.parquet"):
        assert [item.rows for item in find_inputs(str(address), "image", 64).plan] == [2, 2, 1]
        found = named(address)
        assert list(found) == [f"t/{row:08d}.png" for row in range(5)]
        assert list(found.values()) == [data or b"" for data in images]


@pytest.mark.parametrize(
    ("column", "said"), [("picture", "has no column 'picture' but id, image"), ("id", "column 'id' is int64")]
)
def test_column_without_images_is_named(tmp_path, column, said):
    pq.write_table(pa.table({"id": [1], "image": [png(0)]}), tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=said):
        find_inputs(str(tmp_path), column, 2)


def test_place_without_pictures_or_with_both_kinds_is_refused(tmp_path, folder):
    pq.write_table(pa.table({"image": [png(0)]}), folder / "t.parquet")
    with pytest.raises(ValueError, match="both images and Parquet"):
        find_inputs(str(folder), "image", 2)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no Parquet file and no image"):
        find_inputs(str(tmp_path / "empty"), "image", 2)
    with pytest.raises(ValueError, match="is not a folder"):
        find_inputs(str(tmp_path / "nowhere"), "image", 2)
    with pytest.raises(ValueError, match="does not exist"):
        find_inputs(str(tmp_path / "nowhere.parquet"), "image", 2)
