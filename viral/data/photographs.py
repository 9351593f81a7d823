"""The photographs that pairs are rendered from: those of a folder, or those that two of our dependencies ship."""

import hashlib
import importlib.util
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from jaxtyping import UInt8

from viral.config import RunConfig
from viral.data.images import SUFFIXES, decode, short_reason
from viral.storage import Storage

_CC_BY = "CC BY 2.0"
SHIPPED = (
    # package, file in it, source, licence as the package states it
    ("skimage", "data/astronaut.png", "astronaut", "public domain (NASA)"),
    ("skimage", "data/chelsea.png", "chelsea", "CC0 (Stefan van der Walt)"),
    ("skimage", "data/coffee.png", "coffee", "CC0 (Rachel Michetti)"),
    ("skimage", "data/rocket.jpg", "rocket", "public domain (SpaceX)"),
    ("skimage", "data/motorcycle_left.png", "motorcycle", "Middlebury 2014 stereo benchmark"),
    ("skimage", "data/motorcycle_right.png", "motorcycle", "Middlebury 2014 stereo benchmark"),
    ("sklearn", "datasets/images/china.jpg", "china", f"{_CC_BY} (flickr.com/photos/danielbuechele/6061409035)"),
    ("sklearn", "datasets/images/flower.jpg", "flower", f"{_CC_BY} (flickr.com/photos/vultilion/6056698931)"),
)


DETAIL = 32
"""Cells a side of the map that tells where a photograph shows something."""


@dataclass(frozen=True)
class PhotoFile:
    """A file that may hold a photograph, as any node can read it."""

    name: str
    package: str | None
    """Where `name` is looked up: in an installed package, else it is a path in `folder`."""
    folder: str
    sha256: str
    source_id: str | None
    """The scene, where it is known beforehand."""
    licence: str

    def read(self) -> bytes:
        """The file's bytes; `ValueError` if it is gone or no longer what was surveyed."""
        data = _read(self.package, self.folder, self.name)
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise ValueError(f"{self.folder}/{self.name} changed while it was being read; run the same command again")
        return data


@dataclass(frozen=True)
class Photograph:
    """A photograph that decodes, its scene and the side of the split on which all its crops lie."""

    file: PhotoFile
    pixels_sha256: str
    source_id: str
    split: str
    width: int
    height: int
    detail: bytes = bytes(DETAIL * DETAIL)
    """`DETAIL` rows of as many cells: how much the luma varies in each, 0 to 255."""

    @property
    def licence(self) -> str:
        return self.file.licence


@dataclass(frozen=True)
class Survey:
    """The usable photographs in a stable order, and why each other file is not one."""

    photographs: tuple[Photograph, ...]
    rejected: dict[str, str]
    """Reason by file name."""


@dataclass(frozen=True)
class Listing:
    """The files that may hold a photograph, and the reason for each that is not looked into."""

    files: tuple[PhotoFile, ...]
    rejected: dict[str, str]


def check_images(config: RunConfig) -> None:
    """`ValueError` if `config.images` is no folder or holds no file named as an image; reads none of them."""
    if config.images is not None:
        _named_as_images(config.images, Storage(config.images).walk())


def photo_files(config: RunConfig) -> Listing:
    """Every file of `config.images` with its sha256, without decoding it; `ValueError` if none is named as an image."""
    if config.images is None:
        return Listing(shipped_files(), {})
    folder = Storage(config.images)
    names = folder.walk()
    images = _named_as_images(config.images, names)
    others = {name: f"not named as an image: {' '.join(sorted(SUFFIXES))}" for name in names if name not in set(images)}
    return Listing(tuple(_folder_file(folder, name) for name in images), others)


def shipped_files() -> tuple[PhotoFile, ...]:
    """The photographs that come with our dependencies."""
    return tuple(_shipped_file(*row) for row in SHIPPED)


def photographs(config: RunConfig, listing: Listing | None = None) -> Survey:
    """The photographs of `config.images` (none: the shipped ones), split by scene.

    `ValueError` if fewer than data.test_sources + 1 scenes are usable, with the reasons for the other files.
    """
    listing = listing if listing is not None else photo_files(config)
    found: list[Photograph] = []
    rejected = dict(listing.rejected)
    for file in listing.files:
        photo = _examine(file, config.data.size, {p.pixels_sha256: p.file.name for p in found})
        if isinstance(photo, str):
            rejected[file.name] = photo
        else:
            found.append(photo)
    return Survey(_split(config, found, rejected), rejected)


def held_apart(config: RunConfig, sources: set[str], whose: str, reasons: str = "") -> set[str]:
    """The sources to score on, never trained on: the first by a hash, so that one added later moves few others.

    `ValueError`, beginning with `whose`, where none would be left to train on.
    """
    apart = max(config.data.test_sources, len(sources) // 5)
    if len(sources) <= apart:
        raise ValueError(
            f"{whose} {len(sources)} distinct photographs, at least {apart + 1} are needed, as {apart} are held apart "
            f"to be scored; add photographs or lower data.test_sources{reasons}"
        )
    ordered = sorted(sources, key=lambda source: hashlib.sha256(f"{config.seed}/{source}".encode()).digest())
    return set(ordered[:apart])


def count_reasons(rejected: dict[str, str]) -> dict[str, int]:
    """How many files each kind of reason took, sorted."""
    return dict(sorted(Counter(short_reason(reason) for reason in rejected.values()).items()))


def _examine(file: PhotoFile, size: int, seen: dict[str, str]) -> Photograph | str:
    """The photograph of a file, still without its side of the split, or why it is none."""
    try:
        image = decode(file.read(), file.name)
    except ValueError as error:
        return str(error).removeprefix(f"{file.name}: ")
    if min(image.size) < size:
        return f"smaller than data.size: {image.width}x{image.height}, {size} pixels a side are needed"
    pixels_sha256 = hashlib.sha256(np.array(image.size).tobytes() + image.tobytes()).hexdigest()
    if pixels_sha256 in seen:
        return f"same pixels as another photograph: {seen[pixels_sha256]}"
    detail = detail_map(np.asarray(image.convert("L")))
    return Photograph(file, pixels_sha256, file.source_id or pixels_sha256[:16], "train", *image.size, detail)


def detail_map(luma: UInt8[np.ndarray, "y x"]) -> bytes:
    """Mean size of the luma's gradient in each of `DETAIL` x `DETAIL` cells, 0 to 255, row by row."""
    # At one scale for all photographs: noise of single pixels is not detail, and fine structure of large ones is lost.
    small = cv2.resize(luma, (8 * DETAIL, 8 * DETAIL), interpolation=cv2.INTER_AREA).astype(np.float32)
    across, down = (cv2.Sobel(small, cv2.CV_32F, *order) for order in ((1, 0), (0, 1)))
    return (
        cv2.resize(np.hypot(across, down), (DETAIL, DETAIL), interpolation=cv2.INTER_AREA)
        .clip(0, 255)
        .astype(np.uint8)
        .tobytes()
    )


def _split(config: RunConfig, found: list[Photograph], rejected: dict[str, str]) -> tuple[Photograph, ...]:
    reasons = "".join(f"\n  {name}: {reason}" for name, reason in list(rejected.items())[:20])
    whose = f"images: {config.images or 'the shipped photographs'} gives"
    sources = {photo.source_id for photo in found}
    apart = held_apart(config, sources, whose, f"\nnot usable:{reasons}" if reasons else "")
    return tuple(replace(photo, split="test" if photo.source_id in apart else "train") for photo in found)


def _named_as_images(folder: str, names: list[str]) -> list[str]:
    images = [name for name in names if PurePosixPath(name).suffix.lower() in SUFFIXES]
    if not images:
        raise ValueError(
            f"images: {folder} holds no photograph among its {len(names)} files; give a folder with files named "
            f"*{', *'.join(sorted(SUFFIXES))}"
        )
    return images


def _shipped_file(package: str, name: str, source_id: str, licence: str) -> PhotoFile:
    sha256 = hashlib.sha256(_read(package, "", name)).hexdigest()
    return PhotoFile(name, package, "", sha256, source_id, licence)


def _folder_file(folder: Storage, name: str) -> PhotoFile:
    return PhotoFile(name, None, folder.uri, hashlib.sha256(folder.read(name)).hexdigest(), None, "as given")


def _read(package: str | None, folder: str, name: str) -> bytes:
    if package is None:
        return Storage(folder).read(name)
    found = importlib.util.find_spec(package)
    assert found is not None and found.origin is not None, f"{package} is a dependency"
    return (Path(found.origin).parent / name).read_bytes()
