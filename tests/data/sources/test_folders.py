"""Folders of pictures, masks and pairs: what is there becomes items, what is damaged becomes a reason."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from viral.data.sources import Item, Source, build_sources, split_of

NONE: frozenset[str] = frozenset()


def _source(**described: object) -> Source:
    return build_sources({"it": described})["it"]


def _save(path: Path, seed: int = 0, size: tuple[int, int] = (40, 30)) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def test_a_folder_yields_every_picture_below_it_and_nothing_else(tmp_path: Path) -> None:
    pixels = {name: _save(tmp_path / name, i) for i, name in enumerate(("a.png", "more/b.png", "more/deep/c.png"))}
    (tmp_path / "notes.txt").write_text("none")
    source = _source(kind="images", path=str(tmp_path))
    items = source.items(10, 0, NONE)
    assert {item.id for item in items} == set(pixels) and len({item.source_id for item in items}) == 3
    read = source.reader("cpu")
    assert all(np.array_equal(read(item, 64).image, pixels[item.id]) for item in items)


def test_more_pictures_never_exchange_the_first(tmp_path: Path) -> None:
    for i in range(9):
        _save(tmp_path / f"{i}.png", i)
    source = _source(kind="images", path=str(tmp_path))
    few, many = source.items(4, 5, NONE), source.items(8, 5, NONE)
    assert many[:4] == few and source.items(4, 6, NONE) != few


def test_damaged_pictures_are_items_that_say_why(tmp_path: Path) -> None:
    _save(tmp_path / "cut.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:300])
    (tmp_path / "empty.png").touch()
    source = _source(kind="images", path=str(tmp_path))
    for item in source.items(9, 0, NONE):
        with pytest.raises(ValueError, match="cut.jpg: truncated or damaged|empty.png: empty file"):
            source.reader("cpu")(item, 64)
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match="holds no file named as a picture"):
        _source(kind="images", path=str(tmp_path / "none")).items(1, 0, NONE)


def test_masks_of_colours_become_numbered_entities_and_rims_none(tmp_path: Path) -> None:
    _save(tmp_path / "images" / "x.png")
    colours = np.zeros((30, 40, 3), np.uint8)
    colours[:, :15], colours[:, 20:], colours[3, 17] = (0, 200, 255), (9, 9, 9), (1, 2, 3)
    (tmp_path / "masks").mkdir()
    Image.fromarray(colours).save(tmp_path / "masks" / "x__entities.png")
    described = {"images": str(tmp_path / "images"), "masks": str(tmp_path / "masks"), "suffix": "__entities"}
    source = _source(kind="entities", smallest=0.01, **described)
    entities = source.reader("cpu")(source.items(5, 0, NONE)[0], 64).entities
    assert entities is not None and sorted(np.unique(entities)) == [0, 1, 2]
    assert len(np.unique(entities[:, :15])) == 1 and entities[3, 17] == 0 and (entities[:, 15:20] == 0).all()


@pytest.mark.parametrize(
    ("source", "target", "names"),
    [
        ("in/norain-{id}x2.png", "out/norain-{id}.png", ("in/norain-7x2.png", "out/norain-7.png")),  # Rain200L
        ("Low/low{id}.png", "Normal/normal{id}.png", ("Low/low00007.png", "Normal/normal00007.png")),  # LOLv2
        ("{id}__source.png", "{id}__target.png", ("a__source.png", "a__target.png")),
    ],
)
def test_paired_folders_are_matched_by_what_their_names_share(
    tmp_path: Path, source: str, target: str, names: tuple[str, str]
) -> None:
    before, after = (_save(tmp_path / name, i) for i, name in enumerate(names))
    found = _source(kind="paired", path=str(tmp_path), source=source, target=target, instruction="Remove the rain.")
    (item,) = found.items(5, 0, NONE)
    picture = found.reader("cpu")(item, 64)
    assert np.array_equal(picture.image, before) and picture.target is not None
    assert np.array_equal(picture.target, after) and picture.instruction == "Remove the rain."


def test_a_source_without_its_target_or_of_another_size_says_so(tmp_path: Path) -> None:
    _save(tmp_path / "a_in.png")
    _save(tmp_path / "b_in.png")
    _save(tmp_path / "b_out.png", size=(40, 20))
    source = _source(kind="paired", path=str(tmp_path), source="{id}_in.png", target="{id}_out.png")
    reasons = []
    for item in sorted(source.items(5, 0, NONE), key=lambda item: item.id):
        with pytest.raises(ValueError) as error:
            source.reader("cpu")(item, 64)
        reasons.append(str(error.value))
    assert "a_out.png does not exist" in reasons[0] and "differ in size: 40x30 and 40x20" in reasons[1]
    with pytest.raises(ValueError, match="must hold {id} once"):
        _source(kind="paired", path=str(tmp_path), source="in.png", target="{id}.png").items(1, 0, NONE)


def _lines(folder: Path, *lines: dict) -> None:
    (folder / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_json_lines_yield_the_pairs_they_were_asked_for(tmp_path: Path) -> None:
    for i, name in enumerate(("a.png", "b.png", "c.png", "m.png")):
        _save(tmp_path / name, i)
    _lines(
        tmp_path,
        {"task": "depth", "source": "a.png", "target": "b.png", "id": "1", "licence": "CC0", "group": "g"},
        {"task": "edge", "source": "a.png", "target": "c.png", "id": "2", "mask": "m.png", "instruction": "draw it"},
        {"task": "depth", "source": "c.png", "id": "3"},
    )
    depth, edge = (_source(kind="jsonl", path=str(tmp_path), where={"task": task}) for task in ("depth", "edge"))
    (item,) = depth.items(9, 0, NONE)
    assert item.licence == "CC0" and depth.reader("cpu")(item, 64).about == {"group": "g"}
    (other,) = edge.items(9, 0, NONE)
    picture = edge.reader("cpu")(other, 64)
    assert picture.instruction == "draw it" and picture.changed is not None and picture.changed.any()
    assert item.source_id == other.source_id  # one photograph, so one side of the split


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "manifest.jsonl").write_text('{"source": "a.png"}\n{"source": \n')
    with pytest.raises(ValueError, match="manifest.jsonl, line 2 is no JSON"):
        _source(kind="jsonl", path=str(tmp_path)).items(1, 0, NONE)
    _lines(tmp_path, {"target": "a.png"})
    with pytest.raises(ValueError, match="line 1 has no key source"):
        _source(kind="jsonl", path=str(tmp_path)).items(1, 0, NONE)


def test_the_split_is_a_function_of_the_sources_name_alone() -> None:
    sides = [split_of(f"photo/{i}", 0, 0.2) for i in range(2000)]
    assert sides == [split_of(f"photo/{i}", 0, 0.2) for i in range(2000)]
    assert 0.17 < sides.count("test") / 2000 < 0.23


def test_a_description_that_makes_no_sense_is_named() -> None:
    with pytest.raises(ValueError, match="dataset.sources.it.path: Field required"):
        _source(kind="images")
    with pytest.raises(ValueError, match="dataset.sources.it.*: Extra inputs are not permitted"):
        _source(kind="images", path="x", colour="red")
    with pytest.raises(ValueError, match="dataset.sources.it.*does not match any of the expected tags"):
        _source(kind="imagse", path="x")


def test_items_are_small_and_picklable() -> None:
    import pickle

    item = Item("a", "b", {"file": "c"})
    assert pickle.loads(pickle.dumps(item)) == item
