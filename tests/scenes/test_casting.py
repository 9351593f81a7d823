"""The projective intervals against marching along the rays, for every shape, from an eye and along sunlight."""

import numpy as np
import pytest

from viral.scenes.camera import view_of
from viral.scenes.casting import Bundle, Caster, Rays, corners, first_hits
from viral.scenes.scene import Camera
from viral.scenes.solids import ROUND, Part, Solids, ball, block, collect, dome, tube
from viral.scenes.surfaces import normals
from viral.scenes.world import _bundle

SIZE = 24
SHAPES = {
    "ball": ball((0.1, 0.6, 0), (0.5, 0.3, 0.7), turn=(20, 40, 10)),
    "upper dome": dome((0, 0.3, 0), (0.7, 0.9, 0.5)),
    "lower dome": dome((0, 0.9, 0), (0.7, 0.8, 0.5), upper=False),
    "cylinder": tube((-0.4, 0.2, 0.3), (0.5, 1.1, -0.2), 0.3, 0.3),
    "frustum": tube((0, 0, 0), (0, 1.2, 0), 0.7, 0.2),
    "steep cone": tube((0, 0, 0), (0, 0.4, 0), 0.9, 0.02),
    "box": block((0, 0.6, 0), (0.6, 0.4, 0.3), turn=(15, 30, 45)),
    "roof": block((0, 0.6, 0), (0.6, 0.6, 0.8), taper=(1, 0)),
    "pyramid": block((0, 0.6, 0), (0.8, 0.6, 0.8), taper=(1, 1)),
}
CAMERAS = {
    "level": Camera(0.3, 0.1, 4.0),
    "above": Camera(-1.0, 1.2, 3.0),
    "steep": Camera(2.0, 1.5, 4.0, roll=0.4, mirrored=True),
}


def place(part: Part) -> Solids:
    return collect([part], np.eye(3, 4)[None])


def inside(solids: Solids, points: np.ndarray) -> np.ndarray:
    """Whether world points (..., 3) are within the one solid, from its definition."""
    inverse = solids.inverse[:, 0].reshape(3, 4).astype(np.float64)
    x, y, z = np.moveaxis(points @ inverse[:, :3].T + inverse[:, 3], -1, 0)
    shape = solids.shape[:, 0].astype(np.float64)
    if solids.kind[0] == ROUND:
        alpha, beta, gamma, lo, hi, _ = shape
        return (x * x + z * z + alpha * y * y + beta * y + gamma < 0) & (y > lo) & (y < hi)
    lean = (y + 1) / 2
    return (np.abs(x) < 1 - shape[0] * lean) & (np.abs(z) < 1 - shape[1] * lean) & (np.abs(y) < 1)


def pixel_rays(pad: float = 0.5) -> Rays:
    y, x = np.indices((SIZE, SIZE), np.float32) + np.float32(pad)
    return Rays(x.ravel(), y.ravel(), np.arange(SIZE * SIZE + 1), SIZE)


@pytest.mark.parametrize("camera", CAMERAS.values(), ids=CAMERAS)
@pytest.mark.parametrize("part", SHAPES.values(), ids=SHAPES)
def test_rays_of_the_eye_stop_where_marching_stops(part: Part, camera: Camera) -> None:
    solids, view, rays = place(part), view_of(camera), pixel_rays()
    bundle = _bundle(view, SIZE)
    which, r = first_hits(Caster(solids, corners(solids), bundle, SIZE, 0.4), rays)
    direction = rays.x[:, None] * bundle.right[:3] + rays.y[:, None] * bundle.down[:3] + bundle.base[:3]
    steps = np.arange(1.0, 6.5, 0.005)
    within = inside(solids, view.position + steps[:, None, None] * direction)
    met = within.any(0)
    assert met.sum() > 20
    assert (met & (which < 0)).sum() == 0
    assert ((which >= 0) & ~met).sum() <= 0.03 * met.sum() + 2  # rays that graze between two steps
    marched = steps[within.argmax(0)]
    both = met & (which >= 0)
    assert np.all(1 / r[both] <= marched[both] + 1e-3)
    assert np.all(1 / r[both] >= marched[both] - 0.005 - 1e-3)


@pytest.mark.parametrize("part", SHAPES.values(), ids=SHAPES)
def test_sunlight_stops_where_marching_stops(part: Part) -> None:
    solids, rays = place(part), pixel_rays()
    sun = np.array([0.2, 0.93, 0.31]) / np.linalg.norm([0.2, 0.93, 0.31])
    across = np.array([sun[2], 0, -sun[0]]) / np.hypot(sun[0], sun[2])
    up = np.cross(sun, across)
    homogeneous = lambda v, w: np.array([*v, w])
    base = -1.5 * across - 1.5 * up - np.array([0, 1.0, 0])
    bundle = Bundle(
        homogeneous(across * 3 / SIZE, 0), homogeneous(up * 3 / SIZE, 0), homogeneous(sun, 0), homogeneous(base, 1)
    )
    which, r = first_hits(Caster(solids, corners(solids), bundle, SIZE, 0.5), rays)
    start = rays.x[:, None] * bundle.right[:3] + rays.y[:, None] * bundle.down[:3] + base
    steps = np.arange(4, 0, -0.005)
    within = inside(solids, start + steps[:, None, None] * sun)
    met = within.any(0) & (which >= 0)
    assert met.sum() > 20
    assert (within.any(0) & (which < 0) & (steps[within.argmax(0)] > 0.02)).sum() == 0
    assert np.all(np.abs(r[met] - steps[within.argmax(0)][met]) < 0.007)


def test_an_open_cup_shows_its_inner_wall() -> None:
    cup, lidded = (place(tube((0, 0, 0), (0, 1, 0), 0.5, 0.5, open_=flag)) for flag in (True, False))
    bundle = _bundle(view_of(Camera(0.0, 0.9, 4.0, y=0.5)), SIZE)
    middle = Rays(
        np.array([12.0], np.float32), np.array([8.0], np.float32), np.arange(SIZE * SIZE + 1) > 8 * SIZE + 12, SIZE
    )
    middle = middle._replace(starts=middle.starts.astype(int))
    depth = [
        1 / first_hits(Caster(solids, corners(solids), bundle, SIZE, 0.5), middle)[1][0] for solids in (cup, lidded)
    ]
    assert depth[0] > depth[1] + 0.2


@pytest.mark.parametrize("part", SHAPES.values(), ids=SHAPES)
def test_normals_are_the_gradient_of_the_shape(part: Part) -> None:
    """Stepping out along the normal leaves the solid, stepping in enters it."""
    solids, view, rays = place(part), view_of(CAMERAS["level"]), pixel_rays()
    bundle = _bundle(view, SIZE)
    which, r = first_hits(Caster(solids, corners(solids), bundle, SIZE, 0.4), rays)
    on = np.flatnonzero(which >= 0)
    direction = (rays.x[:, None] * bundle.right[:3] + rays.y[:, None] * bundle.down[:3] + bundle.base[:3])[on]
    points = view.position + direction / r[on, None]
    triple = lambda a: tuple(a.T.astype(np.float32))
    n = np.stack(normals(solids, which[on], triple(points), triple(direction)), 1)
    assert np.allclose(np.linalg.norm(n, axis=1), 1, atol=1e-5)
    assert np.all((n * direction).sum(1) < 1e-6)
    assert inside(solids, points - 0.004 * n).mean() > 0.97
    assert not inside(solids, points + 0.004 * n).any()
