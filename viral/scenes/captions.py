"""Scenes in words, and scenes from words."""

import re
from dataclasses import replace

from viral.scenes.layout import sample_scene
from viral.scenes.palette import COLOURS
from viral.scenes.scene import BACKDROPS, POSES, STYLES, TIMES, Scene, Thing
from viral.scenes.stage import GROUND_COLOURS
from viral.scenes.things import CATEGORIES, plural

COUNTS = ("no", "a", "two", "three", "four", "five", "six", "seven", "eight", "nine")
GROUND_WORDS = {
    "asphalt": "an asphalt road", "planks": "a wooden floor", "tiles": "a tiled floor", "carpet": "a carpet",
    "earth": "bare earth",
}  # fmt: skip
"""Where the name alone does not read well."""
BACKDROP_WORDS = {
    "hills": "with hills behind", "mountains": "below mountains", "sea": "by the sea", "town": "in a town",
    "forest": "at a forest", "plain": "on a wide plain", "room": "in a room", "studio": "in a studio",
}  # fmt: skip
TIME_WORDS = {
    "noon": "at noon", "morning": "in the morning", "sunset": "at sunset", "night": "at night",
    "overcast": "under grey light",
}  # fmt: skip
WEATHER_WORDS = {"clear": "", "rain": "in the rain", "snow": "in falling snow", "fog": "in fog"}


def article(word: str) -> str:
    return ("an " if word[0] in "aeiou" else "a ") + word


def describe(thing: Thing) -> str:
    """One thing without its article: "striped red ball", "person in blue, waving"."""
    pattern = "" if thing.texture == "plain" else thing.texture + " "
    if thing.category == "person":
        return f"person in {pattern}{thing.colour}, {thing.pose}"
    return f"{pattern}{thing.colour} {thing.category}"


def _counted(words: list[str]) -> list[str]:
    phrases = []
    for word in dict.fromkeys(words):
        count = words.count(word)
        if count == 1:
            phrases.append(article(word))
        else:
            noun = next(name for name in CATEGORIES if re.search(rf"\b{name}\b", word))
            phrases.append(COUNTS[min(count, 9)] + " " + re.sub(rf"\b{noun}\b", plural(noun), word))
    return phrases


def caption(scene: Scene) -> str:
    """One sentence that names every thing with its colour, the place, the time and the weather."""
    phrases = _counted([describe(thing) for thing in scene.things]) or ["nothing"]
    listed = phrases[0] if len(phrases) == 1 else "; ".join(phrases[:-1]) + " and " + phrases[-1]
    where = [f"on {GROUND_WORDS.get(scene.ground, scene.ground)}", BACKDROP_WORDS[scene.backdrop]]
    if scene.indoors:
        where.append(f"with {scene.wall} walls")
    where += [TIME_WORDS[scene.time], WEATHER_WORDS[scene.weather]]
    return f"{article(scene.style)} of {listed} {' '.join(word for word in where if word)}"


def _named(text: str, words: dict[str, str], otherwise: str) -> str:
    """The key whose words occur in the text."""
    return next((key for key, phrase in words.items() if phrase and phrase in text), otherwise)


def _read_things(text: str) -> list[tuple[str, str, str, str]]:
    """Category, colour, texture and pose of every thing that the text names, as often as it counts."""
    nouns = {plural(name): name for name in CATEGORIES} | {name: name for name in CATEGORIES}
    any_of = lambda names: "|".join(sorted(names, key=len, reverse=True))
    textures = "striped|checkered|dotted|marble|zigzag|brick|wooden"
    people = (
        rf"(?P<pc>person|people) in (?:(?P<pt>{textures}) )?(?P<pk>{any_of(COLOURS)})(?:, (?P<pp>{any_of(POSES)}))?"
    )
    others = rf"(?:(?P<t>{textures}) )?(?:(?P<k>{any_of(COLOURS)}) )?(?P<c>{any_of(nouns)})"
    found = []
    for match in re.finditer(rf"\b(?P<n>{any_of(COUNTS)}|an|one|the)? ?(?:{people}|{others})\b", text):
        g = match.groupdict(default="")
        count = COUNTS.index(g["n"]) if g["n"] in COUNTS else 1
        one = (nouns[g["pc"] or g["c"]], g["pk"] or g["k"], g["pt"] or g["t"], g["pp"])
        found += [one] * count
    return found


def read_caption(text: str, seed: int) -> Scene:
    """A scene that shows what `text` names: things, colours, place, time, weather and style; the rest is drawn.

    Raises ValueError when the text names no thing of the vocabulary.
    """
    text = text.lower()
    things = _read_things(text)
    if not things:
        raise ValueError(f"the text names none of {', '.join(CATEGORIES)}: {text!r}")
    backdrop = _named(text, BACKDROP_WORDS, next((b for b in BACKDROPS if re.search(rf"\b{b}\b", text)), ""))
    ground = _named(text, {name: f"on {GROUND_WORDS.get(name, name)}" for name in GROUND_COLOURS}, "")
    scene = sample_scene(seed, tuple(name for name, *_ in things), backdrop, ground, extras=0)
    told = [
        replace(thing, colour=c or thing.colour, texture=t or "plain", pose=p or thing.pose)
        for thing, (_, c, t, p) in zip(scene.things, things, strict=True)
    ]
    wall = re.search(rf"with ({'|'.join(COLOURS)}) walls", text)
    return replace(
        scene,
        things=tuple(told),
        wall=wall[1] if wall else scene.wall,
        time=_named(text, TIME_WORDS, next((t for t in TIMES if t in text), scene.time)),
        weather=_named(text, WEATHER_WORDS, "clear"),
        style=next((style for style in STYLES if style in text), "photo"),
    )
