"""Sources by the configuration that names their kind."""

from collections.abc import Mapping
from typing import Annotated, Any

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from viral.data.sources.coco import Coco
from viral.data.sources.corpus import Corpus
from viral.data.sources.folder import EntityFolder, ImageFolder
from viral.data.sources.paired import JsonLines, PairedFolders
from viral.data.sources.quadruplets import Quadruplets
from viral.data.sources.scenes import Scenes
from viral.data.sources.siblings import Siblings
from viral.data.sources.source import Source
from viral.data.sources.split import SplitPhotographs
from viral.data.sources.text_to_image import TextToImage
from viral.storage import Storage

Kinds = (
    Scenes | ImageFolder | EntityFolder | PairedFolders | JsonLines | Coco | Corpus | TextToImage | Quadruplets
    | SplitPhotographs | Siblings
)  # fmt: skip
_SOURCE: TypeAdapter = TypeAdapter(Annotated[Kinds, Field(discriminator="kind")])


def build_sources(described: Mapping[str, dict[str, Any]] | str) -> dict[str, Source]:
    """The sources of `dataset.sources`; `ValueError` names a key or value that is wrong."""
    return build("dataset.sources", described, _SOURCE)


def build(key: str, described: Mapping[str, dict[str, Any]] | str, kinds: TypeAdapter) -> dict[str, Any]:
    """One object for each description, of the kind that it names."""
    return {name: built(f"{key}.{name}", raw, kinds) for name, raw in read_described(key, described).items()}


def read_described(key: str, described: Mapping[str, dict[str, Any]] | str) -> Mapping[str, dict[str, Any]]:
    """The descriptions themselves, or those in the YAML file that is named instead."""
    if not isinstance(described, str):
        return described
    folder, _, name = described.rpartition("/")
    content = yaml.safe_load(Storage(folder or ".").read(name))
    if not isinstance(content, dict):
        raise ValueError(f"{key}: {described} holds no mapping from names to descriptions")
    return content


def built(key: str, raw: Any, kinds: TypeAdapter) -> Any:
    """The object of one description; `ValueError` names a key or value that is wrong."""
    try:
        return kinds.validate_python(raw)
    except ValidationError as error:
        lines = [
            f"{key}.{'.'.join(map(str, item['loc'][1:] or item['loc']))}: {item['msg']}" for item in error.errors()
        ]
        raise ValueError("\n".join(lines)) from None
