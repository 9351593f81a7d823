"""OmniConsistency: pictures and their stylised twins, in 20 styles.

One file of JSON lines per style, `STYLE.jsonl`, each line {"src": ..., "tar": ..., "prompt": ...} with paths from the
layout's folder, as the authors' trainer reads its data; neither paper prints the layout. VIRAL takes 20 of the styles
without naming them; here all that there are files of.
"""

import json
from collections.abc import Iterator
from dataclasses import replace

from viral.data.sources.source import read_picture
from viral.evaluation.layouts.drawing import encode, unseen_scene
from viral.evaluation.layouts.place import choose
from viral.evaluation.peers.pictures import pillow, sized_as
from viral.evaluation.protocols.case import Case, Image
from viral.evaluation.protocols.known_pairs import number_of
from viral.scenes import render
from viral.storage import Storage

TASK = "style"
NUMBER = 4
DRAWN: dict[str, tuple[str, tuple[str, ...]]] = {
    **{name: (name, ()) for name in ("pencil sketch", "cartoon", "pixel art", "watercolour", "mosaic")},
    **{
        name: ("photo", (name,))
        for name in ("black and white", "sepia", "negative", "faded", "vivid", "warm", "cold", "grainy", "blurred")
    },
    "night film": ("photo", ("dark", "grainy")),
    "old postcard": ("photo", ("sepia", "faded")),
    "x-ray": ("photo", ("black and white", "negative")),
    "comic strip": ("cartoon", ("vivid",)),
    "grey mosaic": ("mosaic", ("black and white",)),
    "cold watercolour": ("watercolour", ("cold",)),
}
"""Styles of scenes: how they are drawn, and what is done to the picture before."""


def read_omniconsistency(place: Storage, count: int, seed: int) -> Iterator[Case]:
    """At most `count` pictures to be stylised, as many of each style as can be, by another pair of the style."""
    pairs = {name.removesuffix(".jsonl"): _lines(place, name) for name in place.list() if name.endswith(".jsonl")}
    if not pairs:
        raise ValueError(f"{place} holds no STYLE.jsonl; give a folder with one such file per style")
    order = {style: choose(lines, len(lines), seed) for style, lines in sorted(pairs.items()) if len(lines) > 1}
    asked = [(rank, style) for style, lines in order.items() for rank in range(len(lines))]
    for rank, style in sorted(asked)[:count]:
        query = order[style][rank]
        others = [pair for pair in order[style] if pair[0] != query[0]]
        yield _case(place, style, query, others[number_of("example", seed, style, query[0]) % len(others)], seed)


def _lines(place: Storage, name: str) -> list[tuple[str, str]]:
    """Paths of the pictures before and after."""
    lines = [json.loads(line) for line in place.read(name).decode().splitlines() if line.strip()]
    return [(line["src"], line["tar"]) for line in lines]


def _case(place: Storage, style: str, query: tuple[str, str], example: tuple[str, str], seed: int) -> Case:
    source, target = _read(place, query)
    return Case(
        case_id=f"{style}/{query[0]}",
        task=TASK,
        source_id=f"omniconsistency/{query[0]}",
        examples=(_read(place, example),),
        query=source,
        truth=target,
        seed=number_of("noise", seed, style, query[0]),
        labels={"style": style, "example": example[0]},
    )


def _read(place: Storage, pair: tuple[str, str]) -> tuple[Image, Image]:
    """Both pictures, the target at the source's size."""
    source, target = (read_picture(place, path) for path in pair)
    return source, sized_as(pillow(target), source)


def write_omniconsistency(place: Storage, count: int, size: int, seed: int) -> None:
    """Scenes as photographs and in each of 20 styles, two or more of each, so that `count` questions can be asked."""
    each = max(2, -(-count // len(DRAWN)))
    for i, (style, (drawn, finish)) in enumerate(DRAWN.items()):
        lines, folder = [], style.replace(" ", "_")
        for number in range(each):
            scene = unseen_scene(NUMBER, seed, i * each + number)
            for side, shown in (("src", scene), ("tar", replace(scene, style=drawn, finish=finish))):
                place.join(folder, side).write(f"{number}.png", encode(render(shown, size).image))
            paths = {side: f"{folder}/{side}/{number}.png" for side in ("src", "tar")}
            lines.append(json.dumps({**paths, "prompt": f"Turn the picture into the style {style}."}))
        place.write(f"{style}.jsonl", "\n".join(lines).encode())
