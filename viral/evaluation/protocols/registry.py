"""All protocols by name."""

from viral.evaluation.protocols.icedit_tables import ICEDIT_TABLES
from viral.evaluation.protocols.proof import PROOF
from viral.evaluation.protocols.protocol import Protocol
from viral.evaluation.protocols.viral_tables import VIRAL_TABLES

_TABLES: tuple[Protocol, ...] = (*VIRAL_TABLES, *ICEDIT_TABLES, *PROOF)

PROTOCOLS: dict[str, Protocol] = {protocol.name: protocol for protocol in _TABLES}


def find_protocol(name: str) -> Protocol:
    """The protocol of this name; `ValueError` where there is none."""
    if name not in PROTOCOLS:
        raise ValueError(f"there is no protocol {name!r}; choose from {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
