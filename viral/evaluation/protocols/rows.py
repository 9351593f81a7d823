"""The rows of a table: which methods are run under which names, and which cannot be."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from viral.config import RunConfig, fingerprint
from viral.evaluation.peers.peer import Peer
from viral.evaluation.peers.registry import build_peer
from viral.evaluation.protocols.protocol import Protocol
from viral.model.architecture import is_fill

KNOWN: dict[str, tuple[str, dict[str, Any]]] = {
    "ours": ("Ours", {"kind": "analogy", "adapter": "ours"}),
    "filtered_direction": ("Ours, early filter by direction", {
        "kind": "analogy", "adapter": "ours", "filter": {"judge": "direction"},
    }),
    "filtered_cycle": ("Ours, early filter by cycle", {
        "kind": "analogy", "adapter": "ours", "filter": {"judge": "cycle"},
    }),
    "filtered_consensus": ("Ours, early filter by consensus", {
        "kind": "analogy", "adapter": "ours", "filter": {"judge": "consensus"},
    }),
    "guided": ("Ours, example guidance 2", {"kind": "analogy", "adapter": "ours", "example_guidance": 2.0}),
    "base": ("Frozen base, no example", {"kind": "base"}),
    "base_told": ("Frozen base, told what the pair shows", {"kind": "base", "words": "derived"}),
    "copy_query": ("Copy the query", {"kind": "free", "answer": "copy_query"}),
    "copy_example": ("Copy the example's target", {"kind": "free", "answer": "copy_example"}),
    "mean": ("Mean target", {"kind": "free", "answer": "mean"}),
    "copy_query_vae": ("Copy the query, through the VAE", {"kind": "free", "answer": "copy_query", "vae": True}),
    "copy_example_vae": ("Copy the target, through the VAE", {"kind": "free", "answer": "copy_example", "vae": True}),
    "mean_vae": ("Mean target, through the VAE", {"kind": "free", "answer": "mean", "vae": True}),
    "vae": ("The truth through the VAE (bound)", {"kind": "free", "answer": "truth", "vae": True}),
}  # fmt: skip
"""Titles and descriptions of the rows that every protocol may name; any other name is that of an adapter."""
TOLD: dict[str, tuple[str, dict[str, Any]]] = {
    "ours": ("Ours, told in words", {"kind": "icedit"}),
    "base": ("Frozen base, told in words", {"kind": "icedit", "adapter": None}),
}
"""What stands in for rows of `KNOWN` where the run's base is a FLUX.1 Fill, which is shown no examples."""
FREE = ("copy_query", "copy_example", "mean")
"""Answers that cost nothing."""


@dataclass(frozen=True)
class Row:
    """A method of a table, described; `missing` says why it cannot be run."""

    name: str
    title: str
    peer: Peer | None = None
    key: str | None = None
    """What its answers depend on, as a fingerprint."""
    licence: str | None = None
    missing: str | None = None


def rows_of(config: RunConfig, protocol: Protocol, means: str) -> list[Row]:
    """The protocol's own rows, of which those that lack an adapter or weights say so, then the configuration's, whose
    `ValueError` is the user's to hear. `means` is the place of the mean targets.
    """
    known = KNOWN | TOLD if is_fill(config.base_folder(), config.model) else KNOWN
    rows = [_tried(config, name, _described(name, known, protocol.peers, means)) for name in protocol.methods]
    return rows + [_row(config, name, described) for name, described in config.protocol.methods.items()]


def _described(
    name: str, known: Mapping[str, tuple[str, dict[str, Any]]], peers: Mapping[str, Mapping[str, Any]], means: str
) -> dict[str, Any]:
    if name in peers:
        return dict(peers[name])
    title, described = known.get(name, (f"Adapter {name}", {"kind": "analogy", "adapter": name}))
    return {"title": title, **described, **({"means": means} if described.get("answer") == "mean" else {})}


def _tried(config: RunConfig, name: str, described: dict[str, Any]) -> Row:
    try:
        return _row(config, name, described)
    except ValueError as error:
        return Row(name, described.get("title", name), missing=str(error))


def _row(config: RunConfig, name: str, described: dict[str, Any]) -> Row:
    """`title` in a description is what the row is called."""
    if not re.fullmatch(r"[\w.-]+", name):
        raise ValueError(f"protocol.methods: {name!r} also names files, so letters, digits, _ . - alone; use `title`")
    peer = build_peer(name, **{key: value for key, value in described.items() if key != "title"})
    licences = dict.fromkeys(map(str, peer.licences(config)))
    key = fingerprint("answers", peer.record(config))
    return Row(name, described.get("title", name), peer, key, ", ".join(licences) or None)
