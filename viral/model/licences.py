"""Licences of bases and data sets: one that restricts use must be accepted by name before weights load."""

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from viral.model.hub import CARD, snapshot

KEY = "model.accept_licences"


@dataclass(frozen=True)
class Licence:
    """What may be done with weights or data; `name` is what model cards call it, and the word that accepts it."""

    name: str
    title: str
    restricts: str | None = None
    """What it forbids or asks for beyond attribution; None needs no acceptance."""

    def __str__(self) -> str:
        return self.title if self.restricts is None else f"{self.title} ({self.restricts})"


UNDECLARED = Licence("undeclared", "no licence declared")
LICENCES = {
    licence.name: licence
    for licence in (
        Licence("apache-2.0", "Apache-2.0"),
        Licence("mit", "MIT"),
        Licence("bsd-3-clause", "BSD-3-Clause"),
        Licence("cc0-1.0", "CC0-1.0"),
        Licence("cc-by-4.0", "CC BY 4.0"),
        Licence(
            "flux-1-dev-non-commercial-license",
            "FLUX.1 [dev] Non-Commercial License",
            "no commercial use of the weights or of what is trained from them; gated download",
        ),
        Licence("cc-by-nc-nd-4.0", "CC BY-NC-ND 4.0", "no commercial use, no passing on of what is derived from it"),
        Licence("cc-by-nc-4.0", "CC BY-NC 4.0", "no commercial use"),
        Licence(
            "qwen",
            "Tongyi Qianwen License",
            "services of more than 100 million monthly users need a licence of their own",
        ),
        Licence("qwen-research", "Qwen Research License", "research and evaluation only, no commercial use"),
    )
}
FLUX, QWEN = LICENCES["flux-1-dev-non-commercial-license"], LICENCES["apache-2.0"]
KNOWN = {
    "Qwen/Qwen-Image": QWEN,
    "Qwen/Qwen-Image-Edit": QWEN,
    "Qwen/Qwen-Image-Edit-2509": QWEN,
    "Qwen/Qwen-Image-Edit-2511": QWEN,
    "Qwen/Qwen2.5-VL-3B-Instruct": LICENCES["qwen-research"],
    "Qwen/Qwen2.5-VL-7B-Instruct": QWEN,
    "Qwen/Qwen2.5-VL-72B-Instruct": LICENCES["qwen"],
    "black-forest-labs/FLUX.1-Fill-dev": FLUX,
    "black-forest-labs/FLUX.1-dev": FLUX,
    "sanaka87/ICEdit-normal-LoRA": FLUX,
    "sanaka87/ICEdit-MoE-LoRA": FLUX,
    "BAAI/seggpt-vit-large": LICENCES["apache-2.0"],
    "depth-anything/Depth-Anything-V2-Small-hf": LICENCES["apache-2.0"],
    "depth-anything/Depth-Anything-V2-Base-hf": LICENCES["cc-by-nc-4.0"],
    "depth-anything/Depth-Anything-V2-Large-hf": LICENCES["cc-by-nc-4.0"],
    "poloclub/diffusiondb": LICENCES["cc0-1.0"],
    "apple/pico-banana-400k": LICENCES["cc-by-nc-nd-4.0"],
}
"""Bases, adapters and data sets by hub id, known before anything is fetched. ICEdit's adapters are derivatives of
FLUX.1 Fill [dev], whatever their own cards say."""


def accept(base: str | Path, accepted: tuple[str, ...] = (), revision: str | None = None) -> Licence:
    """The licence of a folder or hub id; `ValueError` where it restricts use and is not among the `accepted` names."""
    licence = licence_of(base, revision)
    if licence.restricts is not None and licence.name not in accepted:
        raise ValueError(
            f"{base} is under the {licence.title}: {licence.restricts}. If that suits you, say so with "
            f"{KEY}=[{licence.name}]"
        )
    return licence


def licence_of(base: str | Path, revision: str | None = None) -> Licence:
    """By hub id, which a snapshot's path names too; else by the model card."""
    name = _hub_id(Path(base)) or str(base)
    if name in KNOWN:
        return KNOWN[name]
    folder = Path(base) if Path(base).is_dir() else snapshot(str(base), revision, (CARD,))
    card = folder / CARD
    return licence_of_card(card.read_text()) if card.is_file() else UNDECLARED


def licence_of_card(card: str) -> Licence:
    """The licence in a model card's YAML head: `license_name` says which one where `license` is `other`."""
    head = re.match(r"\A---\s*\n(.*?)\n---\s*$", card, re.DOTALL | re.MULTILINE)
    facts = yaml.safe_load(head[1]) if head else None
    if not isinstance(facts, dict) or "license" not in facts:
        return UNDECLARED
    name = str(facts["license_name"] if facts["license"] == "other" and "license_name" in facts else facts["license"])
    return LICENCES.get(name, Licence(name, f"licence '{name}'", "its terms are not known here, read them"))


def _hub_id(folder: Path) -> str | None:
    """owner/name of a folder inside the hub's cache, .../models--owner--name/snapshots/<commit>."""
    found = re.search(r"/models--(.+?)--(.+?)/snapshots/[^/]+/?$", str(folder.absolute()))
    return f"{found[1]}/{found[2]}" if found else None
