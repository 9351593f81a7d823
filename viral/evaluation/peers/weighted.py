"""Peers whose weights lie in one folder or repository of their own."""

from typing import Any, ClassVar

from viral.config import RunConfig
from viral.data.annotators.weights import FILES, Weights, find_weights
from viral.data_config import Place
from viral.evaluation.peers.peer import Peer
from viral.model.licences import Licence, accept


class Weighted(Peer):
    """A published model that is not ours."""

    files: ClassVar[tuple[str, ...]] = FILES
    model: Place
    """Folder or hub id."""
    revision: str | None = None
    """Branch, tag or commit of a hub id."""

    def weights(self) -> Weights:
        """Its weights on this node, fetched if they are not there."""
        return find_weights(self.model, self.revision, self.files)

    def licences(self, config: RunConfig) -> tuple[Licence, ...]:
        """That of the model."""
        return (accept(self.model, config.model.accept_licences, self.revision),)

    def record(self, config: RunConfig) -> dict[str, Any]:
        """Settings, and the model by commit and sha256."""
        return {**self.settings, **self.weights().record}
