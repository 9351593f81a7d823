"""What the dashboard and the alerts ask Prometheus, and what a node's /metrics gives."""

import json
import re
import time
import urllib.request
from collections import defaultdict
from pathlib import Path

import yaml
from prometheus_client.parser import text_string_to_metric_families

MONITORING = Path(__file__).parents[2] / "platform" / "monitoring"
ADDED = {"instance"}
"""Labels that Prometheus adds when it scrapes."""
Given = dict[str, set[str]]
"""Names of metrics with the labels of their samples."""


def expressions() -> list[str]:
    """Every expression of the dashboard and of the alerts."""
    board = json.loads((MONITORING / "grafana" / "viral.json").read_text())
    alerts = yaml.safe_load((MONITORING / "alerts.yml").read_text())
    asked = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    return asked + [rule["expr"] for group in alerts["groups"] for rule in group["rules"]]


def metrics(expression: str) -> set[str]:
    """The metrics that an expression names."""
    bare = re.sub(r"\{[^}]*\}|\bby \([^)]*\)", "", expression)
    return set(re.findall(r"\b(?:ray|autoscaler)_\w+", bare))


def labels(expression: str) -> set[str]:
    """The labels that an expression selects or groups by."""
    groups = re.findall(r"\bby \(([^)]*)\)", expression)
    return {word.strip() for group in groups for word in group.split(",")} | set(
        re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\"", expression)
    )


def wanted(*prefixes: str) -> list[str]:
    """The expressions all of whose metrics begin with one of `prefixes`."""
    return [asked for asked in expressions() if all(name.startswith(prefixes) for name in metrics(asked))]


def missing(asked: list[str], given: Given) -> list[str]:
    """What of `asked` is not among `given`."""
    lacking = []
    for expression in asked:
        names = metrics(expression)
        known = ADDED.union(*(given[name] for name in names if name in given))
        lacking += sorted(names - given.keys()) + sorted(labels(expression) - known)
    return lacking


def scrape(addresses: list[str], given: Given) -> None:
    """Add what the addresses give now."""
    for address in addresses:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
            for family in text_string_to_metric_families(answer.read().decode()):
                given.setdefault(family.name, set())
                for sample in family.samples:
                    given.setdefault(sample.name, set()).update(sample.labels)


def gather(asked: list[str], addresses: list[str], within_s: float = 60) -> list[str]:
    """What is still missing of `asked` after so long; nodes report every few seconds."""
    given: Given = defaultdict(set)
    end = time.monotonic() + within_s
    while True:
        scrape(addresses, given)
        if not (lacking := missing(asked, given)) or time.monotonic() > end:
            return lacking
        time.sleep(0.5)


def nodes() -> list[str]:
    """The addresses at which the nodes of the connected cluster give their metrics."""
    import ray

    return [f"{node['NodeManagerAddress']}:{node['MetricsExportPort']}" for node in ray.nodes() if node["Alive"]]
