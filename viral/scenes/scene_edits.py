"""Edits of place, light, camera and picture: each takes a scene and words, and returns the scene afterwards."""

import math
from dataclasses import replace

from viral.scenes.scene import Scene
from viral.scenes.thing_edits import NotApplicable

ZOOMS = {"in": 0.68, "out": 1.4}
ORBITS = {"left": -0.5, "right": 0.5}
ELEVATIONS = {"higher up": 0.3, "lower down": -0.3}
PANS = {"left": -0.9, "right": 0.9}
ROLLS = {"left": -0.22, "right": 0.22}
LIGHT_SIDES = {"left": -1.3, "right": 1.3, "front": 0.05, "back": 2.9}
OUTDOORS = ("hills", "mountains", "sea", "town", "forest", "plain")


def ground(scene: Scene, ground: str) -> Scene:
    return replace(scene, ground=ground)


def backdrop(scene: Scene, backdrop: str) -> Scene:
    if scene.indoors:
        raise NotApplicable("the scene is indoors")
    return replace(scene, backdrop=backdrop)


def walls(scene: Scene, colour: str) -> Scene:
    if not scene.indoors:
        raise NotApplicable("the scene has no walls")
    return replace(scene, wall=colour)


def time(scene: Scene, time: str) -> Scene:
    return replace(scene, time=time)


def relight(scene: Scene, side: str) -> Scene:
    if scene.time == "overcast" or scene.weather != "clear":
        raise NotApplicable("under grey light no side is brighter")
    mirror = -1 if scene.camera.mirrored else 1
    return replace(scene, sun=round(scene.camera.azimuth + mirror * LIGHT_SIDES[side], 4))


def weather(scene: Scene, weather: str) -> Scene:
    if scene.indoors:
        raise NotApplicable("there is no weather indoors")
    return replace(scene, weather=weather)


def zoom(scene: Scene, way: str) -> Scene:
    half = math.tan(scene.camera.fov / 2) * ZOOMS[way]
    return _looking(scene, fov=round(2 * math.atan(half), 4))


def _looking(scene: Scene, **changes: float | bool) -> Scene:
    return replace(scene, camera=replace(scene.camera, **changes))


def orbit(scene: Scene, side: str) -> Scene:
    mirror = -1 if scene.camera.mirrored else 1
    azimuth = scene.camera.azimuth + mirror * ORBITS[side]
    if scene.indoors and abs(azimuth) > 0.8:
        raise NotApplicable("a wall is in the way")
    return _looking(scene, azimuth=round(azimuth, 4))


def climb(scene: Scene, height: str) -> Scene:
    elevation = scene.camera.elevation + ELEVATIONS[height]
    if not 0.06 < elevation < (0.75 if scene.backdrop == "room" else 1.3):
        raise NotApplicable("the camera cannot go there")
    return _looking(scene, elevation=round(elevation, 4))


def pan(scene: Scene, side: str) -> Scene:
    mirror = -1 if scene.camera.mirrored else 1
    by, c = mirror * PANS[side], scene.camera
    return _looking(scene, x=round(c.x + by * math.cos(c.azimuth), 4), z=round(c.z - by * math.sin(c.azimuth), 4))


def roll(scene: Scene, side: str) -> Scene:
    return _looking(scene, roll=round(scene.camera.roll + ROLLS[side], 4))


def mirror(scene: Scene) -> Scene:
    return _looking(scene, mirrored=not scene.camera.mirrored)


def style(scene: Scene, style: str) -> Scene:
    return replace(scene, style=style)


def treat(scene: Scene, look: str) -> Scene:
    if look in scene.finish:
        raise NotApplicable(f"the picture is {look} already")
    return replace(scene, finish=(*scene.finish, look))


def focus(scene: Scene) -> Scene:
    return treat(scene, "blurred background")


def splash(scene: Scene, category: str) -> Scene:
    if category not in scene.categories:
        raise NotApplicable(f"there is no {category} in the scene")
    return replace(treat(scene, "colour splash"), splash=category)
