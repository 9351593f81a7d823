"""One analogy from files, as a command."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from viral.provenance import read_trace

JOB = Path(__file__).parents[2] / "jobs" / "edit_image.py"


def edit(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(JOB), *words], cwd=folder, capture_output=True, text=True, timeout=300)


@pytest.fixture
def images(tmp_path, parts):
    """A folder with a.png, a2.png and b.png."""
    for name, data in zip(("a.png", "a2.png", "b.png"), parts.values(), strict=True):
        (tmp_path / name).write_bytes(data)
    return tmp_path


def test_analogy_is_painted_from_files(images, tiny_base, adapter):
    options = ["--base", str(tiny_base), "--adapter", str(adapter), "--steps", "2", "--seed", "3", "--size", "48"]
    done = edit(images, "a.png", "a2.png", "b.png", "-o", "new/out.png", *options)
    assert done.returncode == 0, done.stderr
    assert "wrote new/out.png" in done.stdout
    with Image.open(images / "new/out.png") as image:
        assert image.size == (48, 48)
    trace = read_trace((images / "new/out.png").read_bytes())
    assert (trace["seed"], trace["steps"], trace["base"]) == (3, 2, "tiny")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.unlink(), "b.png is not a file"),
        (lambda path: path.write_bytes(b""), "b.png: empty"),
        (lambda path: path.write_bytes(path.read_bytes()[:300]), "b.png: truncated"),
        (lambda path: path.write_text("hello"), "b.png: not an image"),
    ],
)
def test_bad_image_is_named_and_nothing_is_written(images, adapter, damage, said):
    damage(images / "b.png")
    done = edit(images, "a.png", "a2.png", "b.png", "-o", "out.png", "--adapter", str(adapter))
    assert done.returncode == 2
    assert said in done.stderr and "Traceback" not in done.stderr
    assert not (images / "out.png").exists()


def test_folder_without_an_adapter_is_refused(images):
    done = edit(images, "a.png", "a2.png", "b.png", "-o", "out.png", "--adapter", ".")
    assert done.returncode == 2
    assert "card.json" in done.stderr and "Traceback" not in done.stderr


def test_help_needs_nothing_heavy(tmp_path):
    code = f"import runpy, sys; sys.argv = ['x', '--help']\ntry: runpy.run_path({str(JOB)!r}, run_name='__main__')\n"
    code += "except SystemExit: pass\nprint(sorted({'torch', 'ray', 'PIL', 'numpy'} & set(sys.modules)))"
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.endswith("[]\n"), done.stdout + done.stderr
    assert time.perf_counter() - start < 5  # on a loaded machine; idle it is a third of a second
