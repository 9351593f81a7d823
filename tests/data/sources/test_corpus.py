"""Edit corpora in Parquet, under the columns that their publishers gave them."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from viral.data.sources.corpus import CORPORA, Corpus

NONE: frozenset[str] = frozenset()


def _png(seed: int, size: tuple[int, int] = (40, 30)) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3)).astype(np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _write(path: Path, rows: list[dict]) -> None:
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=2)


@pytest.mark.parametrize("layout", CORPORA)
@pytest.mark.parametrize("as_struct", [True, False])
def test_each_corpus_is_read_by_its_own_columns(tmp_path: Path, layout: str, as_struct: bool) -> None:
    columns = CORPORA[layout]
    words = ["make it red", "turn it red"] if layout == "omniedit" else "make it red"
    rows = []
    for i in range(5):
        images = {columns.source[0]: _png(i), columns.target[0]: _png(10 + i)}
        images = {key: {"bytes": data, "path": None} for key, data in images.items()} if as_struct else images
        rows.append({**images, columns.instruction[0]: words, "img_id": f"photo{i // 2}", "other": i})
    _write(tmp_path / "part.parquet", rows)
    source = Corpus(kind="corpus", path=str(tmp_path), layout=layout)
    items = source.items(9, 0, NONE)
    assert len(items) == 5
    for item in items:
        picture = source.reader("cpu")(item, 64)
        with Image.open(io.BytesIO(_png(item.data["row"]))) as image:
            assert np.array_equal(picture.image, np.asarray(image))
        assert picture.target is not None and picture.instruction == "make it red"
    assert len({item.source_id for item in items}) == (3 if layout == "magicbrush" else 5)


def test_a_corpus_of_ones_own_names_its_columns(tmp_path: Path) -> None:
    _write(tmp_path / "a.parquet", [{"before": _png(0), "after": _png(1), "words": "blur it"}])
    columns = {"source": ["before"], "target": ["after"], "instruction": ["words"]}
    source = Corpus(kind="corpus", path=str(tmp_path), columns=columns)
    assert source.reader("cpu")(source.items(1, 0, NONE)[0], 64).instruction == "blur it"


def test_a_foreign_schema_and_a_damaged_file_are_named(tmp_path: Path) -> None:
    _write(tmp_path / "a.parquet", [{"picture": _png(0)}])
    source = Corpus(kind="corpus", path=str(tmp_path), layout="magicbrush")
    with pytest.raises(ValueError, match=r"a.parquet has no column source_img for the source; it has \['picture'\]"):
        source.items(1, 0, NONE)
    (tmp_path / "a.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(ValueError, match="a.parquet is damaged or no Parquet file"):
        source.items(1, 0, NONE)
    with pytest.raises(ValueError, match="needs layout .* or columns"):
        _write(tmp_path / "a.parquet", [{"picture": _png(0)}])
        Corpus(kind="corpus", path=str(tmp_path)).items(1, 0, NONE)


def test_a_file_that_cannot_be_read_is_one_item_that_says_so(tmp_path: Path) -> None:
    row = {"source_img": _png(0), "target_img": _png(1), "instruction": "blur it", "img_id": "1"}
    _write(tmp_path / "a.parquet", [row] * 3)
    _write(tmp_path / "b.parquet", [{"picture": _png(0)}])
    (tmp_path / "c.parquet").write_bytes(b"PAR1 no more")
    source = Corpus(kind="corpus", path=str(tmp_path), layout="magicbrush")
    items = source.items(2, 0, NONE)
    assert [item.id for item in items[2:]] == ["b.parquet", "c.parquet"] and len(items) == 4
    read = source.reader("cpu")
    assert read(items[0], 64).instruction == "blur it"
    for item, reason in zip(items[2:], ("the file has no column source_img", "the file is damaged"), strict=True):
        with pytest.raises(ValueError, match=f"^{reason}"):
            read(item, 64)


def test_a_row_without_bytes_or_of_another_shape_says_so_and_rounding_is_forgiven(tmp_path: Path) -> None:
    rows = [
        {"src_img": None, "edited_img": _png(0), "edited_prompt_list": ["x"]},
        {"src_img": _png(0), "edited_img": _png(1, (30, 40)), "edited_prompt_list": ["x"]},
        {"src_img": _png(0, (80, 60)), "edited_img": _png(1, (41, 31)), "edited_prompt_list": ["x"]},
    ]
    _write(tmp_path / "a.parquet", rows)
    source = Corpus(kind="corpus", path=str(tmp_path), layout="omniedit")
    items = sorted(source.items(9, 0, NONE), key=lambda item: item.data["row"])
    read = source.reader("cpu")
    with pytest.raises(ValueError, match="source: the row holds no image bytes"):
        read(items[0], 64)
    with pytest.raises(ValueError, match="differ in shape: 40x30 and 30x40"):
        read(items[1], 64)
    picture = read(items[2], 64)
    assert picture.target is not None and picture.target.shape == picture.image.shape == (60, 80, 3)


def test_terms_that_restrict_use_come_with_every_row(tmp_path: Path) -> None:
    _write(tmp_path / "a.parquet", [{"source_image": _png(0), "output_image": _png(1), "text": "x"}])
    (item,) = Corpus(kind="corpus", path=str(tmp_path), layout="pico_banana").items(1, 0, NONE)
    assert item.licence is not None and "CC BY-NC-ND 4.0" in item.licence
