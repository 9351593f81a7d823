"""The batch job, killed at random moments with everything it started, ends as if it had not been."""

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.kills import kill_tree

JOB = Path(__file__).parents[2] / "jobs" / "edit_images.py"
PICTURES, KILLS = 60, 4


def files(place: Path) -> dict[str, bytes]:
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


@pytest.mark.timeout(1800)
def test_killed_batch_ends_with_the_bytes_of_an_undisturbed_one_and_paints_nothing_twice(
    tiny_base: Path, adapter: Path, picture: Callable[..., bytes], parts: dict[str, bytes], tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for seed in range(PICTURES):
        (photos / f"{seed:03d}.png").write_bytes(picture(seed + 100))
    for name, data in zip(("a.png", "a2.png"), parts.values(), strict=False):
        (tmp_path / name).write_bytes(data)

    def start(place: str) -> subprocess.Popen[bytes]:
        model = ["--base", str(tiny_base), "--adapter", str(adapter), "--steps", "60", "--rows", "7"]
        command = [sys.executable, str(JOB), "a.png", "a2.png", "photos", "-o", place, *model]
        return subprocess.Popen(command, cwd=tmp_path, start_new_session=True)

    began = time.monotonic()
    assert start("undisturbed").wait() == 0
    length = time.monotonic() - began
    dice, disturbed, written = random.Random(time.time_ns()), tmp_path / "disturbed", {}
    for _ in range(KILLS):
        process, moment = start("disturbed"), dice.uniform(0.3, 0.95) * length
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            kill_tree(process)
        found = {path.name: path.stat().st_mtime_ns for path in (disturbed / "images").glob("*.png")}
        assert all(found[name] == stamp for name, stamp in written.items())
        print(f"after {moment:.0f} s of about {length:.0f} s: {len(found)} of {PICTURES} images")
        written = found
    assert start("disturbed").wait() == 0
    assert all((disturbed / "images" / name).stat().st_mtime_ns == stamp for name, stamp in written.items())
    assert files(disturbed) == files(tmp_path / "undisturbed")
    assert json.loads((disturbed / "manifest.json").read_text())["counts_out"]["good"] == PICTURES
