"""What decides the data: settings of pictures, tasks, sources, versions, mined and synthesised quadruplets."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

EMBEDDED_CLIP = Path(__file__).parent / "embedded_clip"


def absolute(place: str) -> str:
    """A folder or file with its whole path, as workers start in a folder of their own; any other name as it is."""
    return str(Path(place).expanduser().resolve()) if Path(place).expanduser().exists() else place


Place = Annotated[str, AfterValidator(absolute)]
"""A folder or file, or a hub id."""


class Config(BaseModel):
    """A closed, frozen section: an unknown key is an error that names it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class DataConfig(Config):
    size: int = Field(64, ge=16, multiple_of=16)
    """Side of a training image in pixels."""
    tasks: tuple[str, ...] = ("edge", "colorization", "low_light", "watermark", "negative")
    """Names in `viral.tasks.TASKS` to make pairs for."""
    train_crops: int = Field(160, ge=1)
    """Crops of all training photographs together; every task is rendered on each."""
    test_crops: int = Field(48, ge=1)
    """Crops of all photographs kept apart, scored by the evaluation."""
    test_sources: int = Field(3, ge=1)
    """Photographs kept apart at the least; a fifth of them where that is more."""
    rows_per_shard: int = Field(128, ge=1)
    """Rows of one shard: the unit of retry and of commit."""
    actors: int = Field(2, ge=1)
    """Ray Data actors per stage."""


"""Cards that estimates can be made for; what each can do stands in `viral.model.cards`."""


class TaskConfig(Config):
    """A task of your own: one function, and what the platform has to know of it."""

    render: str
    """`module:function` or `folder/file.py:function`, called with a `viral.tasks.Labelled` and a numpy Generator; gives
    the target's pixels, or a `viral.tasks.Rendering`."""
    title: str | None = None
    metric: str = "psnr"
    """Name in `viral.evaluation.metrics.METRICS`."""
    higher_is_better: bool = True
    needs: tuple[str, ...] = ()
    """Labels that the function reads: depth, normals, entities, boxes, masks, keypoints, caption."""
    meets: Literal["any", "category", "mined"] = "any"
    """Which two pairs make an analogy: any two, two of one `Rendering.group`, or only mined ones."""
    weight: float = Field(1.0, ge=0)
    """How often training draws it, relative to the others."""
    trains: bool = True
    instruction: str | None = None


class PartConfig(Config):
    """One part of the dataset's mixture: so many pictures of one source, each rendered for all its tasks."""

    source: str
    """Name in `dataset.sources`."""
    images: int = Field(ge=1)
    """Pictures at `dataset.scale` 1."""
    tasks: tuple[str, ...]
    annotators: tuple[str, ...] = ()
    """Names in `dataset.annotators`, in the order in which they work; left out where the source gives the labels."""


class DatasetConfig(Config):
    """What `jobs/annotate_dataset.py` makes: pictures from sources, labels by annotators, pairs of every task."""

    scale: float = Field(1.0, gt=0)
    """Share of each part's pictures that is made; at least 4 of a part."""
    test_share: float = Field(0.02, gt=0, lt=1)
    """Share of the pictures' sources that is kept apart to be scored (ours; the paper says "small")."""
    sources: dict[str, dict[str, Any]] | str = {}
    """By name, what `viral.data.sources` documents for each kind; or a YAML file that holds this."""
    annotators: dict[str, dict[str, Any]] | str = {}
    """By name, what `viral.data.annotators` documents for each kind; or a YAML file that holds this."""
    parts: dict[str, PartConfig] = {}
    watermarks: str | None = None
    """Folder of RGBA logos to lay on pictures, such as CLWD's; none draws lines of letters."""
    gpus: float = Field(0.0, ge=0)
    """GPUs of one actor that generates pictures or annotates them; a half lets two share one."""


class ExportConfig(Config):
    """Which version of the pairs `jobs/export_dataset.py` and `jobs/compare_datasets.py` take."""

    version: str | None = None
    """Name of a version under `storage`/versions, or its beginning; none is the pairs as they are."""
    since: str | None = None
    """The older version that it is compared with."""
    form: Literal["huggingface", "webdataset", "folder"] = "huggingface"
    """Parquet in Hugging Face's layout, tar files, or image files with lists."""
    to: str | None = None
    """Folder or object-store address (none: `storage`/export/<form>)."""


class MiningConfig(Config):
    """How `jobs/mine_quadruplets.py` finds pairs that share an edit."""

    embedder: str = "embedded"
    """open_clip model: `embedded` (shipped; it knows the scene world alone), a folder or hub id (VIRAL's paper:
    ViT-L/14, e.g. laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K)."""
    clusters: int | None = Field(None, ge=1)
    """Clusters of K-Means (ours: the root of half the pairs, 8 to 512; the paper: by the scale of the data)."""
    neighbours: int = Field(4, ge=1)
    """Nearest pairs of its cluster that are tried for each pair, the nearest that passes being taken (the paper: 1)."""
    most_alike: float = 0.95
    """Largest cosine of the two source pictures (ours)."""
    least_words: float = 0.8
    """Least cosine of the two instructions (ours)."""
    least_crossed: float = 0.0
    """Least cosine of either pair's step in the pictures with the other's instruction (ours)."""

    def model(self) -> str:
        """Folder or hub id of the embedder."""
        return str(EMBEDDED_CLIP) if self.embedder == "embedded" else self.embedder


class SynthesisConfig(Config):
    """What `jobs/synthesize_quadruplets.py` makes of an edit corpus."""

    source: str = "edits"
    """Name in `dataset.sources` of pairs with instructions."""
    quadruplets: int = Field(40000, ge=1)
    """Quadruplets at `dataset.scale` 1 (VIRAL's paper has 40K, mined and synthesised together)."""
    writer: dict[str, Any] = {"kind": "rules"}
    """Who writes captions of other scenes, by `viral.data.writers`: rules, or a language model as talker."""
    studio: dict[str, Any] = {"kind": "scenes"}
    """What paints and edits them, by `viral.data.studios`: scenes, or diffusion models."""


class FindingsConfig(Config):
    """Which of the questions that `jobs/run_findings.py` knows it answers, and how surely."""

    only: tuple[str, ...] = ()
    """Their names (none: all, in their order)."""
    seeds: int = Field(3, ge=0)
    """Trainings of each arm, whose seeds differ; with 0 the page is written from what is there."""
    fill: str = "tiny-fill"
    """The FLUX.1 Fill that the question of ICEdit's placements trains on, as `base` names it."""


class ProtocolConfig(Config):
    """How `jobs/evaluate_adapter.py --protocol NAME` asks and scores."""

    cases: int = Field(24, ge=1)
    """Cases of each task; of a table on disk at most so many of each of its groups."""
    sources: dict[str, dict[str, Any]] = {}
    """Real pairs by task, as `dataset.sources` describes them; tasks that are not named come from unseen scenes."""
    layout: str | None = None
    """Folder of the benchmark that a protocol reads, in its own layout; none draws one from the scene world."""
    methods: dict[str, dict[str, Any]] = {}
    """Further rows by name, described by their `kind` as `viral.evaluation.peers` documents."""
