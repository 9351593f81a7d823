"""A job that is interrupted, at any moment, leaves no process behind."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
SMALL = [
    "data.tasks=[negative]", "data.train_crops=24", "data.test_crops=24", "train.steps=200", "train.save_every=50",
    "tracking.port=5651", "serve.port=8651",
]  # fmt: skip
ENDED_S = 60


def left(home: Path) -> list[str]:
    """Command lines of the processes whose home directory this is."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("HOME") == str(home) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline())[:120])
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def heed_interrupts() -> None:
    """As in a terminal: a shell makes its jobs in the background, and what they start, deaf to Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("moment", ["== starting", "== pairs", "== training", r"training: \d+/"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_interrupted_pipeline_leaves_no_process(tmp_path: Path, moment: str, number: signal.Signals) -> None:
    command = [sys.executable, str(ROOT / "jobs/run_pipeline.py"), str(ROOT / "jobs/configs/tiny.yaml")]
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [*command, f"storage={tmp_path / 'run'}", *SMALL],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        preexec_fn=heed_interrupts,
    ) as job:  # fmt: skip
        assert job.stdout is not None
        told = []
        for line in job.stdout:
            told.append(line)
            if re.match(moment, line):
                break
        assert re.match(moment, told[-1]), "".join(told)
        # Ctrl-C reaches everything in the terminal's foreground, `kill` the job alone.
        (os.killpg if number is signal.SIGINT else os.kill)(job.pid, number)
        job.communicate(timeout=ENDED_S)
    assert job.returncode != 0
    end = time.monotonic() + ENDED_S
    while (orphans := left(tmp_path)) and time.monotonic() < end:
        time.sleep(0.5)
    assert orphans == []
