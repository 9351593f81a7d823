"""What every peer is: a description of a method, from which each actor builds what answers cases."""

from abc import ABC, abstractmethod
from typing import Any

from viral.config import RunConfig
from viral.data_config import Config
from viral.evaluation.protocols.method import Method
from viral.model.licences import Licence


class Peer(Config, ABC):
    """A method that a table can have a row of. Its fields are its configuration."""

    @abstractmethod
    def licences(self, config: RunConfig) -> tuple[Licence, ...]:
        """What its weights are under; `ValueError` for one that restricts use and was not accepted."""

    @abstractmethod
    def record(self, config: RunConfig) -> dict[str, Any]:
        """What its answers depend on besides the cases, JSON-able: weights by their hash, settings."""

    @abstractmethod
    def load(self, name: str, config: RunConfig, device: str) -> Method:
        """The method under the name of its row, on every actor once; `ValueError` says how to get what is missing."""

    @property
    def settings(self) -> dict[str, Any]:
        """Its own fields, for `record`."""
        return self.model_dump(mode="json")
