"""Where labelled pictures come from, all behind one interface: `Source` lists items, its reader makes them pictures.

A source is described in `dataset.sources` by its `kind` and the fields of the class of that kind:
`scenes`, `images`, `entities`, `paired`, `jsonl`, `coco`, `corpus`, `text_to_image`, `quadruplets`,
`split`.
"""

from viral.data.sources.registry import build_sources
from viral.data.sources.source import Item, Reader, Source, split_of

__all__ = ["Item", "Reader", "Source", "build_sources", "split_of"]
