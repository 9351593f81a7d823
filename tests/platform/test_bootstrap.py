"""bootstrap.sh prepares a machine, tells what is missing, and changes nothing the second time."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A home directory with a checkout whose dependencies are installed: what `make setup` looks at is newer."""
    checkout = tmp_path / "viral"
    (checkout / ".venv" / "bin").mkdir(parents=True)
    for name in ("Makefile", "platform", "pyproject.toml", "requirements.lock"):
        (checkout / name).symlink_to(ROOT / name)
    (checkout / ".venv" / ".ready").touch()
    token = tmp_path / ".config" / "viral" / "ray_token"
    token.parent.mkdir(parents=True)
    token.write_text("0" * 64)
    token.chmod(0o644)
    return tmp_path


def bootstrap(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    # Without its address the systemd of whoever runs the tests is out of reach.
    kept = {"PATH": os.environ["PATH"], "HOME": str(home)}
    script = ["bash", str(home / "viral/platform/bootstrap.sh"), *words]
    return subprocess.run(script, env=kept, capture_output=True, text=True, timeout=60)


def listing(home: Path) -> dict[str, tuple[int, int]]:
    files = [path for path in home.rglob("*") if path.is_file() and not path.is_symlink()]
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_mode) for path in files}


@pytest.mark.parametrize("role", ["head", "worker"])
def test_second_time_changes_nothing(machine: Path, role: str) -> None:
    first = bootstrap(machine, role)
    assert first.returncode == 0, first.stderr
    assert (machine / ".config/viral/ray_token").stat().st_mode & 0o777 == 0o600
    before = listing(machine)
    second = bootstrap(machine, role)
    assert (second.returncode, second.stdout) == (0, first.stdout)
    assert listing(machine) == before
    assert any("viral-mlflow.service" in name for name in before) == (role == "head")


def test_missing_token_is_told_with_a_way_out(machine: Path) -> None:
    (machine / ".config/viral/ray_token").unlink()
    done = bootstrap(machine, "worker")
    assert done.returncode == 1
    assert "ray_token is missing; make it once with `openssl rand -hex 32`" in done.stderr


def test_role_has_to_be_said(machine: Path) -> None:
    assert "head | worker" in bootstrap(machine, "leader").stderr
