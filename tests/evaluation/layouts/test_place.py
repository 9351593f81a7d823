from pathlib import Path

from viral.config import RunConfig
from viral.evaluation.layouts.emu import read_emu, write_emu
from viral.evaluation.layouts.place import WRITTEN, layout_of


def config(tmp_path: Path, **protocol: object) -> RunConfig:
    return RunConfig.model_validate(
        {"storage": str(tmp_path), "data": {"size": 32}, "protocol": {"cases": 2, **protocol}}
    )


def test_a_layout_is_drawn_once_and_again_where_it_is_not_whole(tmp_path: Path) -> None:
    place = layout_of(config(tmp_path), "emu", write_emu)
    file = place.join("data")
    first, stamp = file.read("test-00000-of-00001.parquet"), file.stamp("test-00000-of-00001.parquet")
    assert layout_of(config(tmp_path), "emu", write_emu) == place and file.stamp("test-00000-of-00001.parquet") == stamp
    place.delete(WRITTEN)
    layout_of(config(tmp_path), "emu", write_emu)
    assert file.read("test-00000-of-00001.parquet") == first and file.stamp("test-00000-of-00001.parquet") != stamp


def test_another_run_draws_other_scenes(tmp_path: Path) -> None:
    one = layout_of(config(tmp_path), "emu", write_emu)
    other = layout_of(config(tmp_path).model_copy(update={"seed": 1}), "emu", write_emu)
    assert one != other and {c.source_id for c in read_emu(one, 9, 0)}.isdisjoint(
        {c.source_id for c in read_emu(other, 9, 0)}
    )


def test_a_folder_of_ones_own_is_read_where_it_lies(tmp_path: Path) -> None:
    place = layout_of(config(tmp_path, layout=str(tmp_path / "emu")), "emu", write_emu)
    assert str(place) == str(tmp_path / "emu") and not place.is_folder
