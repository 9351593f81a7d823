"""What answers the cases of a protocol: our editors, answers that cost nothing, peers."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from viral.evaluation.protocols.case import Case, Image


class Method(ABC):
    """A row of a table, loaded and ready."""

    def __init__(self, name: str) -> None:
        self.name = name
        """What the row is called."""

    @abstractmethod
    def answer(self, cases: Sequence[Case]) -> list[Image | None]:
        """One picture per case, of its query's size; none where the method has nothing to say.

        The same cases give the same pictures: noise comes from each case's own seed.
        """
