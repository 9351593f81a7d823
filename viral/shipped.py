"""The models that ship with the package, by the names under which a configuration asks for them.

Loads neither torch nor ray, as `viral.config` does not.
"""

from pathlib import Path

SHIPPED_BASE = Path(__file__).parent / "base"
SHIPPED_ADAPTER = Path(__file__).parent / "adapter"
SHIPPED_FILL = Path(__file__).parent / "fill"
SHIPPED_FILL_ADAPTER = Path(__file__).parent / "fill_adapter"
SHIPPED_BASES = {"tiny": SHIPPED_BASE, "tiny-fill": SHIPPED_FILL}
SHIPPED_ADAPTERS = {"tiny": SHIPPED_ADAPTER, "tiny-fill": SHIPPED_FILL_ADAPTER}
"""By the name of their base."""


def own_or_shipped_adapter(folder: Path, base: str = "tiny") -> Path:
    """The folder where it holds an adapter or none ships for the base, else the one that ships."""
    return folder if (folder / "card.json").is_file() else SHIPPED_ADAPTERS.get(base, folder)
