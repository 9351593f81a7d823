"""What can be known of the images without building them: what they copy is there, what they install is locked."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "platform" / "images"


def test_copied_files_exist() -> None:
    copied = [
        line.split()[-2] for file in IMAGES.glob("*.Dockerfile") for line in file.read_text().splitlines()
        if line.startswith("COPY ")
    ]  # fmt: skip
    assert copied
    assert all((ROOT / name).exists() for name in copied)


def test_mlflow_is_the_locked_one() -> None:
    (image,) = re.findall(r"mlflow==([\d.]+)", (IMAGES / "mlflow.Dockerfile").read_text())
    (locked,) = re.findall(r"^mlflow==([\d.]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert image == locked


def test_build_context_leaves_out_what_is_large_or_private() -> None:
    left_out = (IMAGES / "viral.Dockerfile.dockerignore").read_text().split()
    assert {".git", ".venv", "runs"} <= set(left_out)
