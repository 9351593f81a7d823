"""An edit from files, as a command."""

import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from PIL import Image

from viral.model.adapter import adapter_sha256
from viral.provenance import read_trace
from viral.shipped import SHIPPED_ADAPTER, SHIPPED_FILL_ADAPTER

JOB = Path(__file__).parents[2] / "jobs" / "edit_image.py"


class Done(NamedTuple):
    """What a command leaves."""

    code: int
    out: str
    err: str


Edit = Callable[..., Done]


@pytest.fixture
def edit(images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Edit:
    """The command, in this process and in the folder of `images`."""
    spec = importlib.util.spec_from_file_location("edit_image", JOB)
    assert spec is not None and spec.loader is not None
    job = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(job)
    monkeypatch.chdir(images)
    monkeypatch.setattr(job, "DEMO", images / "demo")  # this machine may have run one

    def run(*words: str) -> Done:
        code = 0
        try:
            job.main([*words, "-o", "new/out.png"])
        except SystemExit as end:
            code = int(end.code or 0)
        return Done(code, *capsys.readouterr())

    return run


@pytest.fixture
def images(tmp_path: Path, parts: dict[str, bytes]) -> Path:
    """A folder with a.png, a2.png and b.png."""
    for name, data in zip(("a.png", "a2.png", "b.png"), parts.values(), strict=True):
        (tmp_path / name).write_bytes(data)
    return tmp_path


@pytest.fixture
def options(tiny_base: Path, adapter: Path) -> list[str]:
    return ["--base", str(tiny_base), "--adapter", str(adapter), "--steps", "2", "--seed", "3", "--size", "48"]


def test_analogy_is_painted_from_files(images: Path, options: list[str]) -> None:
    words = [sys.executable, str(JOB), "a.png", "a2.png", "b.png", "-o", "new/out.png", *options]
    done = subprocess.run(words, cwd=images, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "wrote new/out.png" in done.stdout
    with Image.open(images / "new/out.png") as image:
        assert image.size == (48, 48)
    trace = read_trace((images / "new/out.png").read_bytes())
    assert (trace["seed"], trace["steps"], trace["base"]) == (3, 2, "tiny")


def test_without_a_demo_the_shipped_adapter_paints(edit: Edit, images: Path) -> None:
    assert edit("a.png", "a2.png", "b.png", "--steps", "1").code == 0
    assert read_trace((images / "new/out.png").read_bytes())["adapter_sha256"] == adapter_sha256(SHIPPED_ADAPTER)


def test_further_pairs_are_further_examples(edit: Edit, images: Path, options: list[str]) -> None:
    assert edit("a.png", "a2.png", "b.png", "a.png", "b.png", *options).code == 0
    assert read_trace((images / "new/out.png").read_bytes())["roles"] == [1, 2, 3, 4, 5]


def test_a_judge_picks_among_candidates(edit: Edit, images: Path, options: list[str]) -> None:
    filtering = ["--candidates", "3", "--preview-steps", "1", "--judge", "direction"]
    done = edit("a.png", "a2.png", "b.png", *options, *filtering)
    trace = read_trace((images / "new/out.png").read_bytes())
    assert done.code == 0 and f"(seed {trace['seed']}, " in done.out
    assert (trace["seeds"], trace["judge"]) == ([3, 4, 5], "direction in latent statistics")
    assert (trace["evaluations"], len(trace["comparisons"])) == (3 * 1 + 2, 2)


def test_a_judge_that_breaks_is_told_of(edit: Edit, options: list[str], chat_server: Any) -> None:
    chat_server.failures = [(400, {}, b"no such model")]
    filtering = ["--candidates", "2", "--preview-steps", "1", "--judge", f"{chat_server.url}#a-model"]
    done = edit("a.png", "a2.png", "b.png", *options, *filtering)
    assert done.code == 0 and "(seed 3, " in done.out
    assert "warning: the judge decided nothing" in done.err and "no such model" in done.err


def test_one_image_is_edited_as_told_by_fill_and_by_a_bare_base(
    edit: Edit, images: Path, fill_base: Path, tiny_base: Path
) -> None:
    for base in (fill_base, tiny_base):
        words = ["b.png", "--instruction", "tint it red", "--base", str(base), "--steps", "1", "--size", "32"]
        assert edit(*words).code == 0
        trace = read_trace((images / "new/out.png").read_bytes())
        assert (trace["base"], trace["adapter_sha256"]) == (base.name, None)


def test_the_small_fill_base_has_its_own_shipped_adapter(edit: Edit, images: Path) -> None:
    assert edit("b.png", "--instruction", "Invert the colours.", "--base", "tiny-fill", "--steps", "1").code == 0
    trace = read_trace((images / "new/out.png").read_bytes())
    assert (trace["base"], trace["adapter_sha256"]) == ("tiny-fill", adapter_sha256(SHIPPED_FILL_ADAPTER))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.unlink(), "b.png is not a file"),
        (lambda path: path.write_bytes(b""), "b.png: empty"),
        (lambda path: path.write_bytes(path.read_bytes()[:300]), "b.png: truncated"),
        (lambda path: path.write_text("hello"), "b.png: not an image"),
    ],
)
def test_bad_image_is_named_and_nothing_is_written(
    edit: Edit, images: Path, adapter: Path, damage: Callable[[Path], object], said: str
) -> None:
    damage(images / "b.png")
    done = edit("a.png", "a2.png", "b.png", "--adapter", str(adapter))
    assert done.code == 2 and said in done.err
    assert not (images / "new").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a.png", "b.png"], "got 2 images; give pairs of examples"),
        (["b.png"], "add example pairs or --instruction"),
        (["a.png", "a2.png", "b.png", "--judge", "cycle"], "add --candidates"),
        (["b.png", "--instruction", "tint it", "--example-guidance", "2"], "no example to follow"),
        (["a.png", "a2.png", "b.png", "--adapter", "."], "card.json is missing"),
        (["a.png", "a2.png", "b.png", "--adapter", "no.safetensors"], "no.safetensors is missing"),
    ],
)
def test_requests_that_make_no_edit_are_refused(edit: Edit, words: list[str], said: str) -> None:
    done = edit(*words)
    assert done.code == 2 and said in done.err


def test_fill_refuses_examples(edit: Edit, fill_base: Path, adapter: Path) -> None:
    done = edit("a.png", "a2.png", "b.png", "--base", str(fill_base), "--adapter", str(adapter))
    assert done.code == 2 and "leave the examples out" in done.err


def test_help_needs_nothing_heavy() -> None:
    code = f"import runpy, sys; sys.argv = ['x', '--help']\ntry: runpy.run_path({str(JOB)!r}, run_name='__main__')\n"
    code += "except SystemExit: pass\nprint(sorted({'torch', 'ray', 'PIL', 'numpy'} & set(sys.modules)))"
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.endswith("[]\n"), done.stdout + done.stderr
    assert time.perf_counter() - start < 5  # on a loaded machine; idle it is a third of a second
