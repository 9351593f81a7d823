import hashlib
import subprocess
import sys
from dataclasses import replace

import numpy as np

from viral.scenes import Labelled, Scene, apply, changed_region, render, sample_scene
from viral.scenes.camera import view_of
from viral.scenes.things import frame, shapes

SIZE = 64


def rays(scene: Scene, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The eye and the direction (y, x, 3) of every pixel's middle, of unit depth, by the pinhole's definition."""
    view = view_of(scene.camera)
    y, x = (np.indices((size, size)) + 0.5) / size * 2 - 1
    right, up, back = view.axes
    return view.position, view.mirror * x[..., None] * view.half * right - y[..., None] * view.half * up - back


def sphere(scene: Scene) -> tuple[np.ndarray, float]:
    part, place = shapes(scene.things[0]).parts[0], frame(scene.things[0])
    return place[:, :3] @ np.array(part.centre) + place[:, 3], float(part.axes[0][0]) * scene.things[0].scale


def test_depth_and_normals_of_a_ball_are_the_analytic_ones(ball_scene: Scene) -> None:
    seen = render(ball_scene, SIZE)
    (centre, radius), (eye, d) = sphere(ball_scene), rays(ball_scene, SIZE)
    a, b = (d * d).sum(2), (d * (eye - centre)).sum(2)
    root = b * b - a * (((eye - centre) ** 2).sum() - radius**2)
    depth = (-b - np.sqrt(np.maximum(root, 0))) / a
    mask = seen.mask(10)
    assert mask.sum() > 100
    assert ((root > 0) != mask).sum() <= 2
    assert np.allclose(seen.depth[mask], depth[mask], atol=2e-3)
    world = (eye + depth[..., None] * d - centre) / radius
    normals = world @ view_of(ball_scene.camera).axes.T
    assert np.allclose(seen.normals[mask], normals[mask], atol=2e-2)


def test_normals_point_right_up_and_towards_the_viewer(ball_scene: Scene) -> None:
    seen = render(ball_scene, SIZE)
    rows, columns = np.nonzero(seen.mask(10))
    n = seen.normals[rows, columns]
    assert np.corrcoef(n[:, 0], columns)[0, 1] > 0.95
    assert np.corrcoef(n[:, 1], -rows)[0, 1] > 0.95
    assert n[:, 2].mean() > 0.5


def test_a_mirrored_scene_has_mirrored_labels(ball_scene: Scene) -> None:
    seen, mirrored = render(ball_scene, SIZE), render(apply(ball_scene, "mirror", {}), SIZE)
    assert (seen.instances[:, ::-1] != mirrored.instances).sum() <= 4
    same = seen.instances[:, ::-1] == mirrored.instances
    flipped = seen.normals[:, ::-1] * np.array([-1, 1, 1])
    assert np.abs(flipped - mirrored.normals)[same].max() < 0.02
    assert np.abs(seen.image[:, ::-1].astype(int) - mirrored.image).mean() < 2


def test_masks_partition_the_picture_and_boxes_are_tight(seen: list[tuple[Scene, Labelled]]) -> None:
    for scene, labels in seen:
        assert sum(entity.area for entity in labels.entities) == SIZE * SIZE
        assert {entity.id for entity in labels.entities} == set(np.unique(labels.instances).tolist())
        for entity in labels.entities:
            rows, columns = np.nonzero(labels.mask(entity.id))
            assert entity.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert entity.area == len(rows)
        known = {thing.id: thing.category for thing in scene.things}
        assert all(known[entity.id] == entity.category for entity in labels.things)


def test_the_sky_alone_has_no_depth_and_no_normal(seen: list[tuple[Scene, Labelled]]) -> None:
    for _, labels in seen:
        sky = labels.mask(0)
        assert np.array_equal(np.isinf(labels.depth), sky)
        length = np.linalg.norm(labels.normals, axis=2)
        assert np.allclose(length, ~sky, atol=1e-4)


def test_normals_agree_with_differences_of_depth(seen: list[tuple[Scene, Labelled]]) -> None:
    """On flat stretches of one thing the cross product of neighbouring surface points is the normal."""
    angles = []
    for scene, labels in seen:
        _, d = rays(scene, SIZE)
        points = (d * np.where(np.isinf(labels.depth), 0, labels.depth)[..., None]) @ view_of(scene.camera).axes.T
        across, down = points[1:-1, 2:] - points[1:-1, :-2], points[2:, 1:-1] - points[:-2, 1:-1]
        normal = np.cross(down, across) * view_of(scene.camera).mirror
        inner = labels.normals[1:-1, 1:-1]
        bend = [(np.roll(labels.normals, s, a)[1:-1, 1:-1] * inner).sum(2) for s in (1, -1) for a in (0, 1)]
        own = [
            np.roll(labels.instances, s, a)[1:-1, 1:-1] == labels.instances[1:-1, 1:-1] for s in (1, -1) for a in (0, 1)
        ]
        smooth = np.all(own, axis=0) & (np.min(bend, axis=0) > 0.98) & (labels.instances[1:-1, 1:-1] != 0)
        normal = normal[smooth] / np.linalg.norm(normal[smooth], axis=1, keepdims=True)
        angles.append(np.degrees(np.arccos(np.clip((normal * inner[smooth]).sum(1), -1, 1))))
    angles = np.concatenate(angles)
    assert len(angles) > 20000
    assert np.median(angles) < 0.5
    assert np.percentile(angles, 97) < 8


def test_seen_keypoints_lie_on_their_person_and_inside_the_picture() -> None:
    people = 0
    for seed in range(6):
        labels = render(sample_scene(seed, ("person",)), 96)
        for entity in labels.things:
            assert (entity.keypoints is not None) == (entity.category == "person")
            if entity.keypoints is None:
                continue
            people += 1
            for x, y, v in entity.keypoints:
                inside = 0 <= x < 96 and 0 <= y < 96
                assert (v > 0) == inside
                if v == 2:
                    assert labels.instances[int(y), int(x)] == entity.id
    assert people >= 6


def test_left_joints_of_a_person_who_faces_the_camera_are_on_the_right_of_the_picture() -> None:
    scene = sample_scene(0, ("person",), extras=0)
    person = replace(scene.things[0], yaw=scene.camera.azimuth, pose="standing")
    (entity,) = render(replace(scene, things=(person,)), 96).things
    assert entity.keypoints is not None
    x, y = entity.keypoints[:, 0], entity.keypoints[:, 1]
    assert x[5] > x[6] and x[11] > x[12]
    assert y[0] < y[5] < y[11] < y[13] < y[15]


def test_weather_and_style_leave_the_labels_alone(ball_scene: Scene) -> None:
    plain = render(ball_scene, SIZE)
    for kind, params in (("weather", {"weather": "snow"}), ("style", {"style": "mosaic"}), ("tone", {"look": "sepia"})):
        other = render(apply(ball_scene, kind, params), SIZE)
        assert np.array_equal(plain.depth, other.depth)
        assert np.array_equal(plain.normals, other.normals)
        assert np.array_equal(plain.instances, other.instances)
        assert changed_region(plain, other).any()


def test_the_shadow_lies_away_from_the_sun(ball_scene: Scene) -> None:
    for sun, side in ((0.7 - 1.3, 1), (0.7 + 1.3, -1)):
        scene = replace(ball_scene, sun=sun, camera=replace(ball_scene.camera, roll=0.0))
        bare = render(replace(scene, things=()), SIZE).image.astype(int)
        seen = render(scene, SIZE)
        dark = (bare - seen.image).sum(2) > 60
        dark &= ~seen.mask(10)
        assert dark.sum() > 15
        columns = np.nonzero(dark)[1]
        assert side * (columns.mean() - np.nonzero(seen.mask(10))[1].mean()) > 0


def digest(seeds: range) -> str:
    total = hashlib.sha256()
    for seed in seeds:
        labels = render(sample_scene(seed), 48)
        for array in (labels.image, labels.depth, labels.normals, labels.instances):
            total.update(np.ascontiguousarray(array).tobytes())
        total.update(repr(labels.entities).encode() + labels.caption.encode())
    return total.hexdigest()


def test_a_seed_gives_the_same_bytes_in_another_process() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_renderer; print(test_renderer.digest(range(40, 43)))"
    )
    other = subprocess.run(
        [sys.executable, "-c", code, __file__.rpartition("/")[0]], capture_output=True, text=True, check=True
    )
    assert other.stdout.strip() == digest(range(40, 43))
