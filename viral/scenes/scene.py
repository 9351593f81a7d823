"""What a scene is: plain frozen values, small enough to write into a table row."""

from dataclasses import dataclass

TIMES = ("noon", "morning", "sunset", "night", "overcast")
WEATHERS = ("clear", "rain", "snow", "fog")
STYLES = ("photo", "pencil sketch", "cartoon", "pixel art", "watercolour", "mosaic")
GROUNDS = ("grass", "sand", "asphalt", "snow", "earth", "water", "cobbles", "planks", "tiles", "carpet")
BACKDROPS = ("hills", "mountains", "sea", "town", "forest", "plain", "room", "studio")
INDOORS = ("room", "studio")
POSES = (
    "standing", "walking", "running", "arms raised", "arms spread", "waving", "pointing", "kicking", "bowing",
    "kneeling", "sitting", "hands on hips",
)  # fmt: skip
TEXTURES = ("plain", "striped", "checkered", "dotted", "marble", "zigzag", "brick", "wooden")


@dataclass(frozen=True)
class Thing:
    """One object on the ground; lengths in metres of a world where houses are small and cups are large."""

    id: int
    """Unique in its scene, from 10 on; below are sky, ground and scenery. Edits keep it."""
    category: str
    colour: str
    x: float
    z: float
    yaw: float = 0.0
    """Radians about the vertical; at 0 the front looks along +z."""
    scale: float = 1.0
    lift: float = 0.0
    """Height of its lowest point above the ground."""
    tilt: float = 0.0
    """Radians about its own front axis."""
    texture: str = "plain"
    variant: int = 0
    """Seed of its proportions and lesser colours."""
    pose: str = "standing"
    """Of people; others ignore it."""


@dataclass(frozen=True)
class Camera:
    """Looks at a point from a distance; angles in radians, lengths in metres."""

    azimuth: float
    elevation: float
    distance: float
    x: float = 0.0
    y: float = 0.5
    z: float = 0.0
    """The point looked at."""
    fov: float = 0.8
    """Of the whole side of the square picture."""
    roll: float = 0.0
    mirrored: bool = False


@dataclass(frozen=True)
class Scene:
    """Everything that a render depends on besides its size."""

    seed: int
    """Of the small accidents: clouds, hills, pictures on the wall, rain drops."""
    things: tuple[Thing, ...]
    camera: Camera
    ground: str
    backdrop: str
    wall: str = "white"
    """Colour of a room's walls or of the studio's backdrop."""
    time: str = "noon"
    sun: float = 0.8
    """Azimuth of the light, as the camera's: where they are equal, the light comes from behind the camera."""
    weather: str = "clear"
    style: str = "photo"
    finish: tuple[str, ...] = ()
    """Treatments of the whole picture, of `finish.FINISHES`, in order."""
    splash: str = ""
    """The category that keeps its colours under the finish "colour splash"."""

    @property
    def indoors(self) -> bool:
        return self.backdrop in INDOORS

    @property
    def categories(self) -> tuple[str, ...]:
        """Categories that occur, each once, in order of first occurrence."""
        return tuple(dict.fromkeys(thing.category for thing in self.things))
