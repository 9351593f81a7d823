"""Peers by the description that names their kind."""

from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from viral.data.sources.registry import built
from viral.evaluation.peers.analogy import Analogy
from viral.evaluation.peers.base import Base
from viral.evaluation.peers.diptych import Diptych
from viral.evaluation.peers.free import Free
from viral.evaluation.peers.function import Function
from viral.evaluation.peers.grid import Grid
from viral.evaluation.peers.peer import Peer
from viral.evaluation.peers.predictions import Predictions
from viral.evaluation.peers.seggpt import SegGpt
from viral.evaluation.peers.specialist import Specialist

Kinds = Analogy | Base | Diptych | Free | Function | Grid | Predictions | SegGpt | Specialist
_PEER: TypeAdapter = TypeAdapter(Annotated[Kinds, Field(discriminator="kind")])


def build_peer(name: str, **described: Any) -> Peer:
    """The peer of a description, as `protocol.methods.NAME` has it; `ValueError` names a key or value that is wrong."""
    return built(f"protocol.methods.{name}", described, _PEER)
