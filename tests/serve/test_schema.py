"""The OpenAPI document tells the truth: whatever is made from it, or against it, is answered as it says."""

import subprocess
import sys
from pathlib import Path

import httpx

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")


def test_answers_are_those_of_the_document(server: httpx.Client, tmp_path: Path):
    report = tmp_path / "report.xml"
    words = [
        SCHEMATHESIS, "run", f"{server.base_url}/openapi.json", "--checks=all",
        # A body that fits the document may still be refused: no schema says what an image is.
        "--exclude-checks=positive_data_acceptance", "--phases=examples,coverage,fuzzing", "--max-examples=12",
        "--seed=0", "--generation-deterministic", "--no-color", "--report=junit", f"--report-junit-path={report}",
    ]  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True, timeout=500, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert report.read_text().count("<testcase") == 8, "an operation was not tried"
