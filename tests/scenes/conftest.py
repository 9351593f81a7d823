"""A scene of one ball, and scenes to look at."""

import pytest

from viral.scenes import Camera, Labelled, Scene, Thing, render, sample_scene

SIZE = 64


@pytest.fixture(scope="session")
def ball_scene() -> Scene:
    ball = Thing(10, "ball", "red", x=0.3, z=-0.2, scale=1.2, variant=3, lift=0.4)
    camera = Camera(azimuth=0.7, elevation=0.4, distance=4.0, roll=0.1)
    return Scene(1, (ball,), camera, "grass", "plain", sun=1.9)


@pytest.fixture(scope="session")
def scenes() -> list[Scene]:
    """Scenes of all kinds, by their seeds from 0 on."""
    return [sample_scene(seed) for seed in range(250)]


@pytest.fixture(scope="session")
def seen(scenes: list[Scene]) -> list[tuple[Scene, Labelled]]:
    """Two dozen scenes of all kinds and their renders."""
    return [(scene, render(scene, SIZE)) for scene in scenes[:24]]
