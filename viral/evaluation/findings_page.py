"""The findings as a page of Markdown: each with its command, its arms, their intervals and a plain sentence."""

from collections.abc import Mapping, Sequence

import numpy as np

from viral.config import RunConfig
from viral.evaluation.findings import FINDINGS, Arm, Finding
from viral.evaluation.findings_trial import Trial, difference, mean_error
from viral.evaluation.intervals import Interval

HEAD = """# Findings

What the embedded models say about choices of the two papers. This command runs it all, in this order, and writes this
page; it can be stopped at any moment and given again:

    python jobs/run_findings.py {command}

Every arm is a training by the ordinary job from one configuration, with {seeds} seeds, scored on scenes and, where
their folder is named with `protocol.layout`, on photographs that nothing was trained on. The filter and the number of
examples take no training: they are ways of asking the adapter that is there, which was shown one example at a time.

An error is relative: 0 is what the VAE itself loses, 1 what the best answer gives that costs nothing; the mean is over
cases of all tasks. Intervals are of 95 %, over seeds and images; differences are paired by image and seed. A model of
this size says how these choices act in it, not how they would in twenty billion parameters.
"""


def findings_page(config: RunConfig, command: str, trials: Mapping[str, Sequence[Trial]], before: str = "") -> str:
    """The page; `trials` are those of each finding, `command` names the configuration and what was changed of it.

    What the page said `before` of a finding without trials stays: they may have run elsewhere.
    """
    sections = [part for part in before.split("\n## ")[1:] if "| arm |" in part]
    said = {part.partition("\n")[0]: f"## {part.rstrip()}\n" for part in sections}
    parts = [
        said[finding.title]
        if finding.title in said and not trials.get(finding.name)
        else _section(config, finding, command, trials.get(finding.name, ()))
        for finding in FINDINGS
    ]
    return "\n".join([HEAD.format(command=command, seeds=config.findings.seeds or 3), *parts])


def _section(config: RunConfig, finding: Finding, command: str, trials: Sequence[Trial]) -> str:
    arms = finding.arms(config)
    lines = [f"## {finding.title}", "", f"    python jobs/run_findings.py {command} findings.only=[{finding.name}]", ""]
    told = _told(arms, trials)
    if finding.note and trials:
        told += ["", finding.note]
    return "\n".join([*lines, f"The paper: {finding.paper}", "", *told, ""])


def _told(arms: Sequence[Arm], trials: Sequence[Trial]) -> list[str]:
    by_arm = {arm.name: [trial for trial in trials if trial.arm == arm.name] for arm in arms}
    if not any(by_arm.values()):
        reasons = [f"{arm.name}: {arm.missing}." for arm in arms if arm.missing]
        return ["Not run." if not reasons else f"Not run. {' '.join(reasons)}"]
    first = arms[0]
    return [*_table(arms, by_arm), "", *(_sentence(first, arm, by_arm) for arm in arms[1:])]


def _table(arms: Sequence[Arm], by_arm: Mapping[str, Sequence[Trial]]) -> list[str]:
    figures = list(dict.fromkeys(name for trials in by_arm.values() for trial in trials for name in trial.figures))
    rows = [["arm", "relative error", "trials", *figures]]
    for arm in arms:
        trials = by_arm[arm.name]
        if trials:
            means = [_figure(np.mean([trial.figures.get(name, np.nan) for trial in trials])) for name in figures]
            rows.append([arm.name, _interval(mean_error(trials, arm.tasks)), str(len(trials)), *means])
        else:
            rows.append([arm.name, f"not run{': ' + arm.missing if arm.missing else ''}", "0", *["" for _ in figures]])
    rule = "|".join("---" for _ in rows[0])
    return [_row(rows[0]), f"|{rule}|", *map(_row, rows[1:])]


def _sentence(first: Arm, arm: Arm, by_arm: Mapping[str, Sequence[Trial]]) -> str:
    """What an arm comes to beside the first, which is the paper's choice."""
    if not by_arm[first.name] or not by_arm[arm.name]:
        return f"- {arm.name} was not compared with {first.name}."
    more = difference(by_arm[first.name], by_arm[arm.name], arm.tasks)
    where = f" on {', '.join(arm.tasks)}" if arm.tasks else ""
    if more.low <= 0 <= more.high:
        verdict = f"no difference between {arm.name} and {first.name} shows{where}"
    else:
        verdict = f"{arm.name} errs {'more' if more.mean > 0 else 'less'} than {first.name}{where}"
    return f"- {verdict[0].upper()}{verdict[1:]}: {more.mean:+.3f} [{more.low:+.3f}, {more.high:+.3f}]."


def _interval(interval: Interval) -> str:
    return f"{interval.mean:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def _figure(value: float) -> str:
    return "" if np.isnan(value) else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
