"""Answer the questions of docs/findings.md by training and asking; killed and started again it goes on.

python jobs/run_findings.py jobs/configs/embedded.yaml train.steps=600 [findings.only=[context]] [findings.seeds=0]

Each arm is a training of its own under storage/findings; with findings.seeds=0 the page is written from what is there.
What the page says of questions of which nothing is there stays.
"""

import sys
from pathlib import Path

from viral.config import RunConfig, load, stop

PAGE = Path(__file__).parents[1] / "docs" / "findings.md"
PLACES = ("findings.", "storage=", "tracking.", "dataset.sources.photographs.path=", "protocol.layout=")
"""What the page does not repeat of the command: where things lie, and what was run of it."""


def main() -> None:
    """Run what is asked for, question by question, and write the page after each trial."""
    config = load(__doc__ or "")
    words = [word for word in sys.argv[1:] if not word.startswith(PLACES)]
    from viral.evaluation.findings import FINDINGS

    if unknown := sorted(set(config.findings.only) - {finding.name for finding in FINDINGS}):
        stop(f"findings.only: there is no {', '.join(unknown)} among {', '.join(f.name for f in FINDINGS)}")
    try:
        _run(config, " ".join(words))
    except ValueError as error:
        stop(str(error))


def _run(config: RunConfig, words: str) -> None:
    from viral.cluster import connect
    from viral.evaluation.findings import FINDINGS
    from viral.evaluation.findings_run import run_finding
    from viral.tracking import tracking_server

    _write(config, words)
    if not config.findings.seeds:
        return
    with connect(config), tracking_server(config) as uri:
        tracking = config.tracking.model_copy(update={"uri": uri})
        tracked = config.model_copy(update={"tracking": tracking})
        for finding in FINDINGS:
            if not config.findings.only or finding.name in config.findings.only:
                for trial in run_finding(tracked, finding):
                    print(f"{finding.name}: {trial.arm}, seed {trial.seed}: {len(trial.errors)} cases", flush=True)
                    _write(config, words)


def _write(config: RunConfig, words: str) -> None:
    from viral.evaluation.findings import FINDINGS
    from viral.evaluation.findings_page import findings_page
    from viral.evaluation.findings_run import found_trials

    trials = {finding.name: list(found_trials(config, finding)) for finding in FINDINGS}
    PAGE.write_text(findings_page(config, words, trials, PAGE.read_text() if PAGE.is_file() else ""))


if __name__ == "__main__":
    main()
