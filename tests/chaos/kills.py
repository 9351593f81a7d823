"""Sudden death of a job."""

import os
import signal
import subprocess

import psutil


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL a driver and all that it started, as a machine that loses power does."""
    for member in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
        try:
            os.kill(member.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()
