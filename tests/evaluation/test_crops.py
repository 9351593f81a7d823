"""Which example a scored crop is shown with."""

from pathlib import Path

import numpy as np
import pytest

from viral.data.latents import TEXT, LatentTable, latents_arrow, text_file
from viral.evaluation.crops import choose_crops
from viral.storage import Manifest, Storage, describe_shard, write_manifest

# split and group of each row
ROWS = [("train", "cat"), ("train", "dog"), ("train", "cat"), ("test", "cat"), ("test", "dog"), ("test", "lone")] + [
    ("test", "kept apart")
] * 2


def _table(place: Path, rows: list[tuple[str, str | None]]) -> LatentTable:
    latent = np.zeros((16, 2, 2), np.float16).tobytes()
    described = [
        {
            "pair_id": f"{i}", "task": "edit", "split": split, "source_id": f"{i}", "source": latent, "target": latent,
            "channels": 16, "height": 2, "width": 2, "group": group,
        }
        for i, (split, group) in enumerate(rows)
    ]  # fmt: skip
    storage, files = (
        Storage(str(place)),
        {"shard-00000.arrow": latents_arrow(described), TEXT: text_file(np.zeros((1, 4)))},
    )
    for name, data in files.items():
        storage.write(name, data)
    shards = tuple(describe_shard(name, len(rows) if name != TEXT else 1, data, {}) for name, data in files.items())
    write_manifest(storage, Manifest(fingerprint="f", complete=True, shards=shards))
    return LatentTable(storage)


def test_pairs_of_a_group_are_shown_an_example_of_their_group_from_training(tmp_path: Path) -> None:
    table = _table(tmp_path, ROWS)
    examples = [{crop.row: crop.example for crop in choose_crops(table, "edit", seed)} for seed in range(20)]
    assert {found[3] for found in examples} == {0, 2} and {found[4] for found in examples} == {1}


def test_a_group_that_is_kept_apart_whole_is_its_own_example_and_a_lone_pair_is_left_out(tmp_path: Path) -> None:
    crops = {crop.row: crop.example for crop in choose_crops(_table(tmp_path, ROWS), "edit", 0)}
    assert crops.keys() == {3, 4, 6, 7} and (crops[6], crops[7]) == (7, 6)


@pytest.mark.parametrize(("rows", "count"), [([("train", None)] * 3 + [("test", None)] * 2, 2), ([("test", None)], 0)])
def test_pairs_without_a_group_meet_any_pair_trained_on(
    tmp_path: Path, rows: list[tuple[str, str | None]], count: int
) -> None:
    crops = choose_crops(_table(tmp_path, rows), "edit", 0)
    assert len(crops) == count and all(rows[crop.example][0] == "train" for crop in crops)
