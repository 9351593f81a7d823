"""Photographs: all files accounted for, scenes on one side of the split, nothing downloaded."""

import socket
from pathlib import Path

import pytest

from viral.config import RunConfig, resolve
from viral.data.photographs import count_reasons, photo_files, photographs


def _config(folder: Path, *overrides: str) -> RunConfig:
    return resolve(None, [f"images={folder}", "data.size=32", *overrides])


def test_the_shipped_photographs_need_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("no download may happen")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    survey = photographs(RunConfig())
    assert len(survey.photographs) == 8 and not survey.rejected
    sources = {photo.source_id: photo.split for photo in survey.photographs}
    assert len(sources) == 7 and sorted(sources.values()) == ["test"] * 3 + ["train"] * 4
    assert [photo.source_id for photo in survey.photographs].count("motorcycle") == 2
    assert all(photo.licence for photo in survey.photographs)


def test_every_file_is_a_photograph_or_has_a_reason(photo_folder: Path) -> None:
    config = _config(photo_folder)
    survey = photographs(config)
    assert len(survey.photographs) + len(survey.rejected) == 12 and len(photo_files(config).files) == 11
    assert count_reasons(survey.rejected) == {
        "empty file": 1,
        "not an image of a known kind": 1,
        "not named as an image": 1,
        "same pixels as another photograph": 1,
        "smaller than data.size": 1,
        "truncated or damaged JPEG": 1,
    }
    assert survey.rejected["small.png"].startswith("smaller than data.size: 20x20")


def test_a_photograph_stays_on_its_side_when_others_come(photo_folder: Path, tmp_path: Path) -> None:
    split = {photo.source_id: photo.split for photo in photographs(_config(photo_folder)).photographs}
    for path in photo_folder.rglob("photo[0-4].png"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    fewer = {photo.source_id: photo.split for photo in photographs(_config(tmp_path)).photographs}
    assert len(fewer) == 5 and sum(fewer[source] != split[source] for source in fewer) <= 1


def test_a_folder_without_images_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("hello")
    with pytest.raises(
        ValueError, match=r"holds no photograph among its 1 files; give a folder with files named \*\.bmp"
    ):
        photographs(_config(tmp_path))
    with pytest.raises(ValueError, match="nowhere is not a folder"):
        photographs(_config(tmp_path / "nowhere"))


def test_too_few_photographs_are_told_with_the_reasons(photo_folder: Path) -> None:
    with pytest.raises(ValueError, match="gives 6 distinct photographs, at least 8 are needed") as error:
        photographs(_config(photo_folder, "data.test_sources=7"))
    assert "empty.jpg: empty file (0 bytes)" in str(error.value)


def test_a_file_that_changes_meanwhile_is_told(tmp_path: Path, photo_folder: Path) -> None:
    (tmp_path / "a.png").write_bytes((photo_folder / "photo0.png").read_bytes())
    (file,) = photo_files(_config(tmp_path)).files
    (tmp_path / "a.png").write_bytes(b"other")
    with pytest.raises(ValueError, match="changed while it was being read"):
        file.read()
