"""The commands of docs/runbook.md."""

import re
from dataclasses import dataclass
from pathlib import Path

RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook.md"
MARK = "# cluster"


@dataclass(frozen=True)
class Command:
    """One line of a block, and the section that it stands in."""

    section: str
    text: str
    needs_cluster: bool


def commands() -> list[Command]:
    """All of them, in their order."""
    found, section, inside = [], "", False
    for line in RUNBOOK.read_text().splitlines():
        if line.startswith("```"):
            inside = line == "```sh"
        elif inside:
            found.append(Command(section, line.removesuffix(MARK).strip(), line.endswith(MARK)))
        elif title := re.match(r"#+ (.*)", line):
            section = title.group(1)
    return found
