"""The card of a dataset: Hugging Face's front matter, counts, filters, and what the licences ask for."""

import json
from collections.abc import Mapping
from functools import cache

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from viral.data.census import Census
from viral.data.pair_table import CONFIGURATION
from viral.data.terms import all_consequences, consequences, hub_name
from viral.schema import PAIRS
from viral.storage import Manifest, Storage
from viral.tasks import describe_task

CARD = "README.md"
Files = Mapping[str, Mapping[str, str]]
"""By configuration and split, the pattern of the files that hold it."""
_COUNTS = ("train", "test", "doubtful", "alone", "rejected")
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def write_card(place: Storage, name: str, manifest: Manifest, census: Census, files: Files) -> None:
    """Put the card of version `name` into `place`, where `files` say how `datasets` loads it."""
    place.write(CARD, make_card(name, manifest, census, files).encode())


def make_card(name: str, manifest: Manifest, census: Census, files: Files) -> str:
    """The card as Markdown."""
    notes = dict(manifest.notes)
    recipe = json.loads(notes.pop(CONFIGURATION, "{}"))
    dataset = recipe.get("dataset", {})
    page = _template().render(
        name=name,
        recipe=recipe,
        parts=dataset.get("parts", {}),
        sources=dataset.get("sources", {}),
        notes=notes,
        tasks=[(count, describe_task(count.task)) for count in census.tasks],
        total={key: sum(getattr(count, key) for count in census.tasks) for key in _COUNTS},
        rejections=census.rejections,
        doubts=census.doubts,
        licences=[(licence, rows, consequences(licence)) for licence, rows in census.licences.items()],
        asked=all_consequences(census.licences),
        annotators=census.annotators,
        columns=PAIRS,
    )
    return f"---\n{_front(census, files)}---\n\n{page}\n"


def _front(census: Census, files: Files) -> str:
    """What Hugging Face reads: licence, task, size, and where each configuration's files are."""
    pairs = sum(count.train + count.test for count in census.tasks)
    licence = hub_name(census.licences)
    head = {
        "pretty_name": "Image pairs of visual tasks",
        "license": licence,
        **({"license_name": "each-row-under-its-own"} if licence == "other" else {}),
        "task_categories": ["image-to-image"],
        "tags": ["visual-analogy", "in-context-learning", *(count.task for count in census.tasks)],
        "size_categories": [next((name for most, name in _SIZES if pairs < most), "n>1M")],
        "configs": [
            {"config_name": name, "data_files": [{"split": split, "path": path} for split, path in found.items()]}
            for name, found in files.items()
        ],
    }
    return yaml.safe_dump(head, sort_keys=False, allow_unicode=True)


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("viral.data", "."), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["cell"] = lambda text: str(text).replace("|", "\\|").replace("\n", " ")
    return environment.get_template("dataset_card.md.jinja")
