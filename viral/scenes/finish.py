"""What happens to a rendered picture: rain and snow before the lens, treatments of the image, and its style."""

import cv2
import numpy as np
from jaxtyping import UInt8

from viral.scenes.scene import Scene
from viral.scenes.styles import STYLE_FILTERS, Picture, grey, outlines


def finish(
    scene: Scene, picture: Picture, depth: np.ndarray, normals: np.ndarray, instances: np.ndarray
) -> UInt8[np.ndarray, "y x 3"]:
    """The picture as it is shown."""
    if scene.weather in ("rain", "snow"):
        picture = _fall(scene, picture)
    for treatment in scene.finish:
        picture = np.clip(_treated(scene, treatment, picture, depth, instances), 0, 1).astype(np.float32)
    if scene.style != "photo":
        picture = STYLE_FILTERS[scene.style](picture, outlines(depth, normals, instances))
    return np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)


def _fall(scene: Scene, picture: Picture) -> Picture:
    """Streaks of rain, or flakes of snow of three sizes."""
    size = len(picture)
    rng = np.random.default_rng([scene.seed, 21])
    veil = np.zeros((size, size), np.float32)
    if scene.weather == "rain":
        drops = (rng.random((size, size)) > 0.991).astype(np.float32)
        length = max(3, size // 12)
        kernel = np.zeros((length, length), np.float32)
        lean = int(rng.integers(-length // 3, length // 3 + 1))
        cv2.line(kernel, (length // 2 - lean // 2, 0), (length // 2 + lean - lean // 2, length - 1), 1.0, 1)
        veil = np.clip(cv2.filter2D(drops, -1, kernel), 0, 1) * np.float32(0.38)
    else:
        for radius, count in ((0.003, 160), (0.006, 50), (0.011, 12)):
            for x, y in rng.random((count, 2)) * size:
                cv2.circle(veil, (int(x * 16), int(y * 16)), int(radius * size * 16) + 4, 0.8, -1, cv2.LINE_AA, 4)
    return picture + (np.float32(0.92) - picture) * veil[:, :, None]


def _treated(scene: Scene, treatment: str, picture: Picture, depth: np.ndarray, instances: np.ndarray) -> np.ndarray:
    if treatment in TONES:
        return TONES[treatment](picture)
    if treatment == "blurred":
        return cv2.GaussianBlur(picture, (0, 0), len(picture) / 55)
    if treatment == "grainy":
        grain = np.random.default_rng([scene.seed, 22]).normal(0, 0.09, picture.shape[:2])
        return picture + grain[:, :, None].astype(np.float32)
    if treatment == "blurred background":
        return _shallow(picture, scene.camera.distance, depth)
    if treatment == "colour splash":
        kept = np.isin(instances, [thing.id for thing in scene.things if thing.category == scene.splash])
        return np.where(kept[:, :, None], picture, grey(picture)[:, :, None])
    raise ValueError(f"unknown finish {treatment!r}; known: {', '.join(FINISHES)}")


def _shallow(picture: Picture, distance: float, depth: np.ndarray) -> np.ndarray:
    """Only what is not much farther than the point looked at stays sharp."""
    far = np.clip(np.where(np.isinf(depth), 9, depth / distance) - 1.15, 0, 0.5)[:, :, None] * 2
    soft = cv2.GaussianBlur(picture, (0, 0), len(picture) / 40)
    return picture + (soft - picture) * far.astype(np.float32)


def _mixed(picture: Picture, rgb: tuple[float, float, float]) -> np.ndarray:
    return grey(picture)[:, :, None] * np.array(rgb, np.float32)


TONES = {
    "black and white": lambda p: np.repeat(grey(p)[:, :, None], 3, 2),
    "sepia": lambda p: _mixed(p, (1.08, 0.88, 0.62)) + np.float32(0.03),
    "negative": lambda p: 1 - p,
    "dark": lambda p: p * np.float32(0.4),
    "bright": lambda p: np.sqrt(p) * np.float32(0.95) + np.float32(0.08),
    "faded": lambda p: p * np.float32(0.45) + np.float32(0.38),
    "vivid": lambda p: grey(p)[:, :, None] + (p - grey(p)[:, :, None]) * np.float32(1.9),
    "warm": lambda p: p * np.array((1.18, 1.0, 0.68), np.float32),
    "cold": lambda p: p * np.array((0.7, 0.95, 1.22), np.float32),
}
FINISHES = (*TONES, "blurred", "grainy", "blurred background", "colour splash")
