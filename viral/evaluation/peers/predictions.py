"""Answers that were made elsewhere: a folder of pictures by the id of their case."""

import hashlib
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any, Literal

from viral.config import RunConfig
from viral.data.images import SUFFIXES, decode
from viral.data_config import Place
from viral.evaluation.peers.function import declared
from viral.evaluation.peers.peer import Peer
from viral.evaluation.peers.pictures import sized_as
from viral.evaluation.protocols.case import Case, Image
from viral.evaluation.protocols.method import Method
from viral.model.licences import Licence
from viral.storage import Storage


class Predictions(Peer):
    """A file CASE_ID.png (or another kind of picture) for each case that was answered."""

    kind: Literal["predictions"]
    folder: Place
    """Folder or address of an object store."""
    licence: str | None = None
    """What they are under, for the table."""

    def licences(self, config: RunConfig) -> tuple[Licence, ...]:
        """As declared."""
        return (declared(self.licence),)

    def record(self, config: RunConfig) -> dict[str, Any]:
        """Settings, and the files by one hash over names and contents."""
        digest, place = hashlib.sha256(), Storage(self.folder)
        for name in sorted(_files(place).values()):
            digest.update(name.encode() + hashlib.sha256(place.read(name)).digest())
        return {**self.settings, "sha256": digest.hexdigest()}

    def load(self, name: str, config: RunConfig, device: str) -> "PredictionsMethod":
        """The list of files; `ValueError` where there is no picture."""
        return PredictionsMethod(name, Storage(self.folder))


class PredictionsMethod(Method):
    """Answers the cases that have a file."""

    def __init__(self, name: str, place: Storage) -> None:
        super().__init__(name)
        self._place, self._files = place, _files(place)

    def answer(self, cases: Sequence[Case]) -> list[Image | None]:
        """One by one; `ValueError` names a file that is damaged."""
        return [self._read(self._files[case.case_id], case) if case.case_id in self._files else None for case in cases]

    def _read(self, name: str, case: Case) -> Image:
        return sized_as(decode(self._place.read(name), name), case.query)


def _files(place: Storage) -> dict[str, str]:
    """Name of each picture by its case, folders and all."""
    pictures = [name for name in place.walk() if PurePosixPath(name).suffix.lower() in SUFFIXES]
    files = {name.removesuffix(PurePosixPath(name).suffix): name for name in pictures}
    if not files:
        raise ValueError(f"{place} holds no picture; put CASE_ID.png there for each case that was answered")
    if len(files) < len(pictures):
        raise ValueError(f"{place} holds two pictures for one case; leave one of each name")
    return files
