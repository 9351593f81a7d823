"""A compact copy loads like the adapter it was made from, to the precision of bfloat16."""

import shutil
from pathlib import Path

import pytest
import torch

from tests.model.test_adapter import bare, saved, velocity
from viral.model.adapter import load_adapter
from viral.model.adapter_files import DIFFUSERS, EXPERTS, ROUTER, read_card
from viral.model.compact import write_compact

__all__ = ["saved"]


@torch.no_grad()
def test_copy_paints_alike_in_half_the_bytes(tiny_base: Path, saved: tuple[Path, torch.Tensor], tmp_path: Path) -> None:
    folder, expected = saved
    card = write_compact(folder, tmp_path / "compact")
    model, without = bare(tiny_base), velocity(bare(tiny_base))
    assert load_adapter(model, tmp_path / "compact") == card == read_card(tmp_path / "compact")
    assert list(card.files) == [DIFFUSERS, EXPERTS, ROUTER]
    off = (velocity(model) - expected).norm() / (expected - without).norm()
    assert 0 < off < 0.02
    for name in (EXPERTS, ROUTER):
        assert (tmp_path / "compact" / name).stat().st_size < 0.75 * (folder / name).stat().st_size


def test_damaged_adapter_and_a_copy_onto_itself_are_refused(saved: tuple[Path, torch.Tensor], tmp_path: Path) -> None:
    folder, _ = saved
    with pytest.raises(ValueError, match="onto itself"):
        write_compact(folder, folder)
    with pytest.raises(ValueError, match="card.json is missing"):
        write_compact(tmp_path, tmp_path / "compact")
    cut = shutil.copytree(folder, tmp_path / "cut")
    (cut / EXPERTS).write_bytes((cut / EXPERTS).read_bytes()[:-1])
    with pytest.raises(ValueError, match=f"{EXPERTS} is damaged"):
        write_compact(cut, tmp_path / "compact")
    assert not (tmp_path / "compact").exists()
