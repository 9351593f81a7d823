"""The runbook's commands are there to be run: by tests/chaos/test_cluster_runbook.py, or on a cluster."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from tests.platform.runbook import RUNBOOK, Command, commands
from viral.config import resolve

ROOT = RUNBOOK.parents[1]
OUTSIDE = (
    "docker ",
    "kubectl ",
    "ray up",
    "ray down",
    "ray dashboard",
    "ray status",
    "systemctl ",
    "journalctl ",
    "serve ",
)
"""What needs machines, Docker or Kubernetes."""
VALUES = {"$C": "jobs/configs/tiny.yaml", "$S": "runs/demo", "$M": "http://127.0.0.1:5000"}


def test_exactly_what_needs_a_cluster_is_marked() -> None:
    assert len(commands()) > 20
    wrong = [command.text for command in commands() if command.text.startswith(OUTSIDE) != command.needs_cluster]
    assert wrong == []


def test_no_command_stands_outside_a_block_that_is_looked_at() -> None:
    assert set(re.findall(r"^```(.*)$", RUNBOOK.read_text(), re.MULTILINE)) == {"sh", ""}


@pytest.mark.parametrize("command", commands(), ids=lambda command: command.text[:60])
def test_files_and_keys_of_a_command_exist(command: Command) -> None:
    words = [
        VALUES.get(word, word) for word in shlex.split(re.sub(r"[$][CSM]\b", lambda m: VALUES[m[0]], command.text))
    ]
    made = ("out.png", "storage.env", "keys.json", "cluster.yaml")
    named = [word for word in words if re.fullmatch(r"[\w./-]+\.(py|yaml|webp|Dockerfile)", word)]
    assert [word for word in named if word not in made and not (ROOT / word).exists()] == []
    if "jobs/" in command.text and "submit_job" not in command.text and "edit_image" not in command.text:
        resolve(None, [word for word in words if re.fullmatch(r"[a-z_.]+=.*", word)])


def test_links_lead_somewhere() -> None:
    text = RUNBOOK.read_text()
    titles = {
        re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^#+ (.*)$", text, re.M)
    }
    assert {link for link in re.findall(r"\]\(#([^)]*)\)", text)} <= titles


def test_messages_are_those_that_the_code_gives() -> None:
    """Each line of the table of messages can be found in our code, unless it is another program's."""
    others = ("Unauthorized", "InvalidAuthToken", "Invalid Host header", "No available node types", "… crops")
    table = RUNBOOK.read_text().split("### Messages")[1].split("###")[0]
    told = [message for row in re.findall(r"^\| (`.*?) \|", table, re.M) for message in re.findall(r"`([^`]*)`", row)]
    files = [path for folder in ("viral", "jobs", "serve") for path in (ROOT / folder).rglob("*.py")]
    code = " ".join(re.sub(r'"\s*f?"', "", path.read_text()) for path in files)
    parts = [part.strip() for message in told if not message.startswith(others) for part in message.split("…")]
    assert [part for part in parts if part and part.removesuffix(" FAILED") not in code] == []


def test_configuration_named_for_a_dry_run_is_one() -> None:
    assert yaml.safe_load((ROOT / "jobs/configs/qwen_edit_2511.yaml").read_text())["train"]["workers"] == 8


def test_paths_in_the_text_exist() -> None:
    text = re.sub(r"```.*?```", "", RUNBOOK.read_text(), flags=re.S)
    paths = re.findall(r"`((?:platform|jobs|viral|serve|docs)/[\w./-]+)`", text)
    assert paths
    assert [path for path in paths if not (ROOT / Path(path)).exists()] == []
