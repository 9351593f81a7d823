"""Where an annotator's weights lie, and what names them for good: the revision and the sha256."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from viral.model.hub import local_folder, snapshot

FILES = ("*.safetensors", "*.json", "*.txt", "*.model", "*.pth", "*.pt", "*.bin")


@dataclass(frozen=True)
class Weights:
    """The files of one model in a local folder."""

    folder: Path
    model: str
    """Folder or hub id as it was configured."""
    revision: str | None
    """The commit, for a model of the hub."""
    sha256: str
    """Over names and contents of the files that were asked for."""

    @property
    def record(self) -> dict[str, str | None]:
        """What is kept with everything these weights made."""
        return {"model": self.model, "revision": self.revision, "sha256": self.sha256}


def find_weights(model: str, revision: str | None = None, files: tuple[str, ...] = FILES) -> Weights:
    """The weights in a folder or of a hub id; `ValueError` says what is missing and how to get it."""
    folder = local_folder(model) or snapshot(model, revision, files)
    paths = sorted({path for pattern in files for path in folder.glob(pattern)})
    if not any(path.suffix in (".safetensors", ".pth", ".pt", ".bin") for path in paths):
        there = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
        raise ValueError(f"{model} holds no weights like {', '.join(files)}; there is {there}")
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    commit = folder.name if folder.parent.name == "snapshots" else None
    return Weights(folder, model, commit, digest.hexdigest())
