import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
JOBS = sorted((ROOT / "jobs").glob("*.py"))


def test_platform_is_the_standard_librarys() -> None:
    import platform

    assert ROOT not in Path(platform.__file__).parents
    for folder in ("platform", "jobs", "serve", "tests"):
        assert not (ROOT / folder / "__init__.py").exists()


def test_no_job_is_named_like_a_module() -> None:
    assert not [job.stem for job in JOBS if find_spec(job.stem)]


def test_no_file_is_longer_than_400_lines() -> None:
    files = [p for folder in ("viral", "jobs", "serve", "platform") for p in (ROOT / folder).rglob("*.py")]
    assert not [p for p in files if len(p.read_text().splitlines()) > 400]


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.stem)
def test_help_needs_no_heavy_import(job: Path) -> None:
    code = (
        f"import sys, runpy; sys.argv = ['{job.name}', '--help']\n"
        f"try: runpy.run_path(r'{job}', run_name='__main__')\n"
        "except SystemExit as end: assert end.code in (0, None), end.code\n"
        "heavy = {'torch', 'ray', 'mlflow', 'diffusers'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
