"""Pictures to pretrain on: crops of photographs whose licence allows it, and simple shapes drawn by ourselves."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from viral.data.degradations import Picture

COLOURS = {
    "red": (0.85, 0.15, 0.15),
    "green": (0.15, 0.7, 0.2),
    "blue": (0.15, 0.3, 0.9),
    "yellow": (0.95, 0.85, 0.15),
    "purple": (0.6, 0.2, 0.75),
    "orange": (0.95, 0.55, 0.1),
    "cyan": (0.2, 0.8, 0.85),
    "white": (0.95, 0.95, 0.95),
}
SHAPES = ("circle", "square", "triangle")


@dataclass(frozen=True)
class Photograph:
    """One photograph and where it comes from, for the model card."""

    pixels: np.ndarray
    sha256: str
    name: str
    licence: str
    origin: str


def photographs(folder: Path) -> list[Photograph]:
    """The photographs of `folder` whose licence allows publication.

    With a `manifest.jsonl`, the rows of task "photo" and licence_class "permissive"; else every image file, whose
    licence the caller vouches for.
    """
    manifest = folder / "manifest.jsonl"
    if manifest.is_file():
        rows = [json.loads(line) for line in manifest.read_text().splitlines()]
        rows = [row for row in rows if row["task"] == "photo" and row["licence_class"] == "permissive"]
        pages = _pages(folder / "coco_meta.json")
        found = [
            _read(folder / row["source"], row["id"], row["licence"], pages.get(row["source"], row["origin"]))
            for row in rows
        ]
    else:
        files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in {".jpg", ".jpeg", ".png", ".webp"})
        found = [_read(path, path.stem, "as given", str(path.relative_to(folder))) for path in files]
    if not found:
        raise ValueError(f"no photograph under {folder}; give PHOTOS a folder of images whose licence allows training")
    return found


def _pages(meta: Path) -> dict[str, str]:
    """The address at which each photograph was published, by file, for those of COCO: who took it is said there."""
    if not meta.is_file():
        return {}
    return {image["file"]: image["flickr_url"] for image in json.loads(meta.read_text())["images"]}


def _read(path: Path, name: str, licence: str, origin: str) -> Photograph:
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    return Photograph(pixels, hashlib.sha256(path.read_bytes()).hexdigest(), name, licence, origin)


def crop(photo: Photograph, size: int, rng: np.random.Generator) -> Picture:
    """A random square of the photograph at `size` pixels, mirrored or recoloured at random."""
    height, width = photo.pixels.shape[:2]
    largest = min(height, width)
    side = int(np.exp(rng.uniform(np.log(min(size, largest)), np.log(largest))))
    top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
    square = photo.pixels[top : top + side, left : left + side]
    picture = cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    if rng.random() < 0.5:
        picture = picture[:, ::-1]
    if rng.random() < 0.4:
        gains = rng.uniform(0.75, 1.25, 3).astype(np.float32)
        picture = np.clip(picture ** np.float32(rng.uniform(0.75, 1.35)) * gains, 0, 1)
    return np.ascontiguousarray(picture)


@dataclass(frozen=True)
class Shape:
    """One flat shape: kind, colour name, centre and radius as fractions of the side."""

    kind: str
    colour: str
    x: float
    y: float
    radius: float


def random_shapes(rng: np.random.Generator) -> list[Shape]:
    """Two to four shapes of distinct kinds or colours."""
    pairs = [(kind, colour) for kind in SHAPES for colour in COLOURS]
    chosen = rng.choice(len(pairs), size=int(rng.integers(2, 5)), replace=False)
    return [
        Shape(*pairs[i], float(rng.uniform(0.18, 0.82)), float(rng.uniform(0.18, 0.82)), float(rng.uniform(0.09, 0.24)))
        for i in chosen
    ]


def background(size: int, rng: np.random.Generator) -> Picture:
    """A smooth two-colour gradient with faint bands."""
    angle, frequency = rng.uniform(0, 2 * np.pi), rng.uniform(0, 6)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    ramp = (np.cos(angle) * x + np.sin(angle) * y) % 1.0
    bands = 0.06 * np.sin(2 * np.pi * frequency * (x * np.sin(angle) + y * np.cos(angle)))
    start, end = rng.uniform(0.05, 0.95, 3), rng.uniform(0.05, 0.95, 3)
    return np.clip(start + (end - start) * ramp[..., None] + bands[..., None], 0, 1).astype(np.float32)


def draw(shapes: list[Shape], ground: Picture) -> Picture:
    """The shapes over the ground, antialiased, later ones in front."""
    scale, size = 4, len(ground)
    canvas = cv2.resize(ground, (size * scale, size * scale), interpolation=cv2.INTER_LINEAR)
    for shape in shapes:
        centre = np.array([shape.x, shape.y]) * size * scale
        radius, colour = shape.radius * size * scale, COLOURS[shape.colour]
        if shape.kind == "circle":
            cv2.circle(canvas, tuple(int(v) for v in centre), int(radius), colour, -1)
        else:
            corners = 4 if shape.kind == "square" else 3
            turns = np.arange(corners) / corners * 2 * np.pi + (np.pi / 4 if corners == 4 else -np.pi / 2)
            points = centre + radius * np.stack([np.cos(turns), np.sin(turns)], 1)
            cv2.fillPoly(canvas, [points.astype(np.int32)], colour)
    return cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA)


@dataclass(frozen=True)
class Pictures:
    """Draws pictures: photographs mostly, drawn shapes for the rest."""

    photos: list[Photograph]
    size: int = 64
    drawn_share: float = 0.25

    def __call__(self, rng: np.random.Generator) -> Picture:
        if rng.random() < self.drawn_share:
            return draw(random_shapes(rng), background(self.size, rng))
        return crop(self.photos[rng.integers(len(self.photos))], self.size, rng)
