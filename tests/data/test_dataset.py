"""The dataset's stages: every task from a mixture of sources, the same bytes whoever makes it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.data.annotators.checkpoints import save_hed
from tests.tasks.pictures import labelled
from viral.config import RunConfig, resolve
from viral.data.dataset import find_parts, make_dataset
from viral.data.dataset_stages import ImageMaker, ImageWork, PartPairMaker, Placed, read_templates
from viral.data.labelled_table import labelled_parquet, labelled_row, read_row, rejected_row, with_labels
from viral.data.pair_table import open_pairs
from viral.data.sources import build_sources
from viral.schema import LABELLED
from viral.storage import Storage, read_manifest, write_manifest
from viral.tasks import TASKS

PART = {"source": "photos", "images": 3, "tasks": ("edge",)}
HEAD = {"image_id": "x", "split": "train", "source_id": "s", "licence": "CC0"}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five photographs, one of them cut short, two of them equal."""
    folder = tmp_path_factory.mktemp("photographs")
    for seed in range(5):
        pixels = np.random.default_rng(seed % 3).integers(0, 256, (6, 8, 3)).astype(np.uint8)
        Image.fromarray(pixels).resize((96, 72), Image.Resampling.NEAREST).save(folder / f"{seed}.png")
    (folder / "4.png").write_bytes((folder / "4.png").read_bytes()[:60])
    return folder


@pytest.fixture(scope="module")
def config(photographs: Path, tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> RunConfig:
    """A mixture of scenes, edits and annotated photographs, made by one actor."""
    folder = tmp_path_factory.mktemp("dataset")
    save_hed(folder)
    (folder / "run.yaml").write_text(
        f"""
storage: {folder}/run
data: {{size: 32, rows_per_shard: 3, actors: 1}}
dataset:
  test_share: 0.3
  sources:
    scenes: {{kind: scenes}}
    edits: {{kind: scenes, edits: [recolour, weather], first: 100}}
    photographs: {{kind: images, path: {photographs}}}
  annotators:
    edges: {{kind: hed, model: {folder}}}
  parts:
    scenes: {{source: scenes, images: 4, tasks: [depth, entity, normal_inverse]}}
    edits: {{source: edits, images: 4, tasks: [edit]}}
    photographs: {{source: photographs, images: 9, annotators: [edges], tasks: [edge, colorization]}}
"""
    )
    made = resolve(str(folder / "run.yaml"), [])
    make_dataset(made)
    return made


def _rows(config: RunConfig) -> list[dict]:
    table = open_pairs(Storage(config.storage).join("pairs"))
    return [row for shard in table.manifest.shards for row in table.read(shard).to_pylist()]


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.parquet"))}


def test_every_picture_has_every_task_of_its_part_and_none_is_lost(config: RunConfig) -> None:
    rows = _rows(config)
    counts = {task: sum(row["task"] == task for row in rows) for task in {row["task"] for row in rows}}
    assert counts == {"depth": 4, "entity": 4, "normal_inverse": 4, "edit": 4, "edge": 5, "colorization": 5}
    assert len({row["pair_id"] for row in rows}) == len(rows) == 26
    manifest = read_manifest(Storage(config.storage).join("pairs"))
    assert manifest is not None and manifest.counts_in == {"pictures": 13, "rows": 26}
    assert manifest.rejected == {"truncated or damaged PNG": 2} and manifest.counts_out["good"] == 24
    assert "9 were asked for, the source has 5" in manifest.notes["photographs: pictures"]
    assert sorted(row["task"] for row in rows if row["error"]) == ["colorization", "edge"]


def test_rows_say_where_they_come_from(config: RunConfig) -> None:
    rows = [row for row in _rows(config) if row["error"] is None]
    edge = next(row for row in rows if row["task"] == "edge")
    record = json.loads(edge["provenance"])
    assert record["source"] == "photographs" and len(record["annotators"]["edges"]["sha256"]) == 64
    edits = [row for row in rows if row["task"] == "edit"]
    assert all(row["instruction"] and row["group"] and row["mask"] for row in edits)
    assert sorted({sum(other["group"] == row["group"] for other in edits) for row in edits}) in ([2], [4])


def test_no_source_lies_on_both_sides_of_the_split(config: RunConfig) -> None:
    sides: dict[str, set[str]] = {}
    for row in _rows(config):
        sides.setdefault(row["source_id"], set()).add(row["split"])
    assert all(len(side) == 1 for side in sides.values())
    assert {side for found in sides.values() for side in found} == {"train", "test"}


def test_equal_pictures_lie_on_one_side_and_are_reported(config: RunConfig, photographs: Path) -> None:
    sides = {row["source_id"]: row["split"] for row in _rows(config)}
    assert sides[f"{photographs}/0.png"] == sides[f"{photographs}/3.png"]
    manifest = read_manifest(Storage(config.storage).join("pairs"))
    assert manifest is not None and manifest.notes["alike pictures, exact"] == "1"
    report = Path(config.storage, "images", "duplicates.csv").read_text()
    assert report.count("\n") == 2 and "exact,0," in report


def test_stopped_damaged_and_resumed_with_three_actors_it_is_the_same_dataset(
    config: RunConfig, tmp_path: Path
) -> None:
    whole = _files(Path(config.storage))
    shutil.copytree(config.storage, tmp_path / "run")
    (tmp_path / "run" / "labels" / "photographs" / "shard-00001.parquet").unlink()
    shutil.rmtree(tmp_path / "run" / "images" / "scenes")
    pairs = Storage(str(tmp_path / "run")).join("pairs")
    manifest = read_manifest(pairs)
    assert manifest is not None
    write_manifest(pairs, manifest.model_copy(update={"complete": False, "shards": manifest.shards[:1]}))
    (tmp_path / "run" / "pairs" / "shard-00002.parquet").write_bytes(b"half")
    data = config.data.model_copy(update={"actors": 3})
    make_dataset(config.model_copy(update={"storage": str(tmp_path / "run"), "data": data}))
    assert _files(tmp_path / "run") == whole


def test_a_change_of_scale_keeps_the_pictures_there_were(config: RunConfig) -> None:
    part = next(part for part in find_parts(config) if part.name == "edits")
    few, many = (part.source.items(count, config.seed, frozenset()) for count in (4, 40))
    assert many[:4] == few


def test_hugging_face_reads_both_tables(config: RunConfig, tmp_path: Path) -> None:
    import datasets

    for table, length in (("pairs", 26), ("images/scenes", 4)):
        files = [str(path) for path in sorted(Path(config.storage, table).glob("*.parquet"))]
        loaded = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path))
        assert len(loaded) == length
    assert loaded[0]["image"].size == loaded[0]["normals"].size == (32, 32)


def test_a_labelled_picture_survives_the_table() -> None:
    before = labelled()
    row = pq.read_table(pa.BufferReader(labelled_parquet([labelled_row(HEAD, before)])), schema=LABELLED).to_pylist()[0]
    after = read_row(row)
    assert np.array_equal(after.image, before.image) and after.labels == before.labels
    for name in ("depth", "normal", "entity", "pose", "interactive", "detection"):
        one, other = (TASKS[name].pair(picture, np.random.default_rng(3)) for picture in (before, after))
        assert np.abs(one.target.astype(int) - other.target).max() <= 1, name
    assert all(np.array_equal(a.mask, b.mask) for a, b in zip(before.instances, after.instances, strict=True))


def test_labels_are_laid_over_a_picture_and_errors_win() -> None:
    picture = labelled_row(HEAD, labelled())
    bare = {**picture, "depth": None}
    assert with_labels(bare, {**rejected_row(HEAD, ""), "error": None, "depth": picture["depth"]})["depth"]
    assert with_labels(bare, rejected_row(HEAD, "sam failed: x"))["error"] == "sam failed: x"
    assert with_labels(rejected_row(HEAD, "empty file"), picture)["error"] == "empty file"


def test_a_picture_that_cannot_be_read_says_why_and_where_it_was(photographs: Path) -> None:
    source = build_sources({"it": {"kind": "images", "path": str(photographs)}})["it"]
    items = {item.id: item for item in source.items(9, 0, frozenset())}
    placed = [Placed("it", items[name], name, "train", "CC0") for name in ("0.png", "4.png")]
    made = ImageMaker(source, "cpu")(ImageWork(placed, 32))
    good, bad = pq.read_table(pa.BufferReader(made.data), schema=LABELLED).to_pylist()
    assert good["error"] is None and bad["error"].startswith("truncated or damaged PNG")
    assert json.loads(bad["about"]) == {"source": "it", "item": "4.png"}


def test_logos_of_a_folder_are_laid_on_pictures(tmp_path: Path) -> None:
    logo = np.zeros((60, 90, 4), np.uint8)
    logo[10:50, 10:80] = (255, 0, 0, 200)
    Image.fromarray(logo).save(tmp_path / "logo.png")
    task = PartPairMaker(0, {}, str(tmp_path))._tasks["watermark"]
    pair = task.pair(labelled(), np.random.default_rng(0))
    assert pair.mask is not None and pair.params["template"] == 0
    inside = pair.mask > 0
    assert (pair.source.astype(int) - pair.target)[inside].mean(axis=0).argmax() == 0  # red
    assert np.abs(pair.source.astype(int) - pair.target)[~inside].max() <= 12
    Image.fromarray(logo[..., :3]).save(tmp_path / "opaque.png")
    with pytest.raises(ValueError, match="opaque.png is not transparent anywhere"):
        read_templates(Storage(str(tmp_path)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parts": {}}, "dataset.parts is empty"),
        ({"source": "nowhere"}, "dataset.parts.p.source: there is no source 'nowhere'"),
        ({"tasks": ("depth",)}, "its tasks need depth, which neither the source photos nor an annotator"),
        ({"tasks": ("dpeth",)}, "there is no task 'dpeth'"),
        ({"annotators": ("x",)}, "dataset.parts.p.annotators: there is no x"),
        ({"parts": {"p": PART, "q": PART}}, "edge of photos is asked for twice"),
    ],
)
def test_a_mixture_that_makes_no_sense_is_named_before_anything_is_made(change: dict, message: str) -> None:
    part = {**PART, **{k: v for k, v in change.items() if k != "parts"}}
    described = {"sources": {"photos": {"kind": "images", "path": "x"}}, "parts": change.get("parts", {"p": part})}
    with pytest.raises(ValueError, match=message):
        find_parts(RunConfig.model_validate({"dataset": described}))


def test_the_papers_mixture_is_described_whole_and_at_its_counts() -> None:
    config = resolve("jobs/configs/dataset_viral.yaml", [])
    counts = {part.name: part.count(1.0) for part in find_parts(config)}
    assert {counts[name] for name in ("shared", "interactive")} == {100_000}
    assert [counts[name] for name in ("pose", "entity", "detection", "deraining", "low_light", "edit")] == [
        50_000, 20_000, 8_000, 2_000, 2_000, 80_000,
    ]  # fmt: skip
    papers = resolve("jobs/configs/dataset_viral.yaml", ["dataset.sources=jobs/configs/sources/viral.yaml"])
    assert {part.name: list(part.annotators) for part in find_parts(papers)}["shared"] == ["depth", "normals"]
