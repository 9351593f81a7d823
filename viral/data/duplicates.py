"""Pictures that look alike, whatever they are called: none of them may lie on the other side of the split."""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import groupby
from typing import Literal

import cv2
import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Bool, UInt8
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from viral.storage import Manifest, Storage
from viral.tasks import Image

DUPLICATES = "duplicates.csv"
SIDE, KEPT = 64, 16
BITS = KEPT * KEPT
ALIKE = 48
"""Bits that the hashes of two pictures differ in at most for them to count as alike."""
NEIGHBOURS = 8
"""Other looks that one is compared with, the nearest."""
HASH_BYTES = BITS // 8


@dataclass(frozen=True)
class Look:
    """What is compared of one picture."""

    image_id: str
    source_id: str
    split: str
    pixels: str
    """sha256 of its pixels."""
    look: str
    """Its perceptual hash, in hex digits."""


@dataclass(frozen=True)
class Link:
    """Two pictures of different sources that look alike."""

    one: Look
    other: Look
    bits: int

    @property
    def kind(self) -> Literal["exact", "perceptual"]:
        """Exact where every pixel is equal."""
        return "exact" if self.one.pixels == self.other.pixels else "perceptual"


def perceptual_hash(image: Image) -> str:
    """pHash of 256 bits in hex digits: which of the luma's lowest frequencies lie above their median."""
    luma = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(luma, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    lowest = cv2.dct(small)[:KEPT, :KEPT].ravel()
    lowest[0] = 0  # brightness
    return np.packbits(lowest > np.median(lowest[1:])).tobytes().hex()


def read_looks(storage: Storage, images: Manifest) -> Iterator[Look]:
    """What is to be compared of the good rows of a table in `schema.LABELLED`."""
    names = [field.name for field in fields(Look)]
    for shard in images.shards:
        table = pq.read_table(storage.open(shard.name), columns=names)
        yield from (Look(**row) for row in table.filter(pc.is_valid(table["look"])).to_pylist())


def write_links(storage: Storage, links: Sequence[Link]) -> None:
    """Put `duplicates.csv` in place: alike pictures, where each lay, and on which side both are now."""
    moved, sink = moved_sources(links), io.StringIO()
    table = csv.writer(sink, lineterminator="\n")
    table.writerow(["kind", "bits", "source", "split", "other source", "other split", "both are now"])
    for link in links:
        sides = (link.one.source_id, link.one.split, link.other.source_id, link.other.split)
        now = "test" if link.one.source_id in moved else link.one.split
        table.writerow([link.kind, link.bits, *sides, now])
    storage.write(DUPLICATES, sink.getvalue().encode())


def find_links(looks: Sequence[Look]) -> list[Link]:
    """Enough pairs of sources with alike pictures to join all that have some, sorted."""
    looks = sorted(looks, key=lambda look: (look.look, look.pixels, look.source_id, look.image_id))
    same = [list(group) for _, group in groupby(looks, key=lambda look: look.look)]
    links = [Link(group[0], other, 0) for group in same for other in group[1:]]
    firsts = [group[0] for group in same]
    links += [Link(firsts[i], firsts[j], bits) for i, j, bits in _near([look.look for look in firsts])]
    strangers = (link for link in links if link.one.source_id != link.other.source_id)
    return list({(link.one.source_id, link.other.source_id): link for link in strangers}.values())


def join_sources(links: Sequence[Link]) -> dict[str, str]:
    """By source, the least name among those it is joined with; sources without a look-alike are left out."""
    names = sorted({look.source_id for link in links for look in (link.one, link.other)})
    number = {name: i for i, name in enumerate(names)}
    edges = [(number[link.one.source_id], number[link.other.source_id]) for link in links]
    rows, columns = np.array(edges).reshape(-1, 2).T
    graph = coo_matrix((np.ones(len(rows), np.int8), (rows, columns)), shape=(len(names), len(names)))
    label = connected_components(graph, directed=False)[1]
    least: dict[int, str] = {}
    for name in names:
        least.setdefault(int(label[number[name]]), name)
    return {name: least[int(label[number[name]])] for name in names}


def moved_sources(links: Sequence[Link]) -> frozenset[str]:
    """Sources that go to the test side: who looks like one that is kept apart is kept apart as well.

    So more pictures never take one away from the test side.
    """
    joined = join_sources(links)
    splits = {look.source_id: look.split for link in links for look in (link.one, link.other)}
    tested = {joined[source] for source, split in splits.items() if split == "test"}
    return frozenset(source for source, split in splits.items() if split == "train" and joined[source] in tested)


def count_links(links: Sequence[Link]) -> dict[str, int]:
    """Pairs of alike pictures by kind, and how many would lie across the split."""
    kinds = Counter(link.kind for link in links)
    across = sum(link.one.split != link.other.split for link in links)
    return {"exact": kinds["exact"], "perceptual": kinds["perceptual"], "across the split": across}


def _near(hashes: Sequence[str]) -> list[tuple[int, int, int]]:
    """Numbers of distinct hashes that differ in at most `ALIKE` bits, and in how many."""
    import torch

    from viral.data.neighbours import nearest_within

    if len(hashes) < 2:
        return []
    bits = torch.from_numpy(np.where(_bits(hashes), 1, -1).astype(np.float32))
    count = min(NEIGHBOURS, len(hashes) - 1)
    found = nearest_within(bits, torch.zeros(len(bits), dtype=torch.long), count)
    differ = ((1 - found.similarity) * (BITS / 2)).round().long().numpy()
    rows, columns = np.nonzero(differ <= ALIKE)
    others = found.ids.numpy()[rows, columns]
    near = zip(np.minimum(rows, others), np.maximum(rows, others), differ[rows, columns], strict=True)
    return sorted({(int(i), int(j), int(bits)) for i, j, bits in near})


def _bits(hashes: Sequence[str]) -> Bool[np.ndarray, "n b"]:
    packed: UInt8[np.ndarray, "n h"] = np.frombuffer(bytes.fromhex("".join(hashes)), np.uint8)
    return np.unpackbits(packed.reshape(-1, HASH_BYTES), axis=1).astype(bool)
