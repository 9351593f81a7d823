"""The dashboard and the alerts ask for what Ray really gives."""

import json
import os
from contextlib import suppress

import yaml

from tests.platform.expressions import MONITORING, expressions, gather, labels, metrics, nodes

CARDS = ("ray_node_gpus_", "ray_node_gram_")
ELSEWHERE = ("ray_serve_", "ray_train_")
"""Looked for where something is served, in tests/serve, and trained, in tests/chaos."""


def test_every_expression_about_nodes_jobs_and_data_is_given_by_a_live_cluster(ray_cluster: None) -> None:
    import ray
    import ray.data
    from ray.exceptions import WorkerCrashedError
    from ray.experimental.internal_kv import _internal_kv_get

    @ray.remote(num_cpus=0.1)
    class Holder:
        """Holds a share of a processor while the metrics are read."""

        def ready(self) -> bool:
            return True

    @ray.remote(num_cpus=0.1, max_retries=0)
    def die() -> None:
        os._exit(1)

    holder = Holder.remote()
    assert ray.get(holder.ready.remote())
    with suppress(WorkerCrashedError):
        ray.get(die.remote())
    rows = ray.data.range(4, override_num_blocks=2).map_batches(lambda batch: batch, num_cpus=0.1)
    assert rows.count() == 4
    monitor = _internal_kv_get(b"AutoscalerMetricsAddress")
    asked = [one for one in expressions() if not any(name.startswith(CARDS + ELSEWHERE) for name in metrics(one))]
    assert gather(asked, [*nodes(), monitor.decode()]) == []


def test_expressions_about_cards_name_what_ray_reports_where_there_are_cards() -> None:
    """No GPU is asked for: Ray's own list of what it reports is."""
    from ray.dashboard.modules.reporter.reporter_agent import METRICS_GAUGES

    named = {name.removeprefix("ray_") for one in expressions() for name in metrics(one) if name.startswith(CARDS)}
    assert named == {"node_gpus_utilization", "node_gram_used", "node_gram_available"}
    assert named <= METRICS_GAUGES.keys()


def test_missing_metric_and_label_are_found() -> None:
    from tests.platform.expressions import missing

    one = 'sum by (route, le) (rate(ray_x_total{code=~"5.."}[5m])) / ray_y'
    assert (metrics(one), labels(one)) == ({"ray_x_total", "ray_y"}, {"route", "le", "code"})
    assert missing([one], {"ray_x_total": {"route", "le"}}) == ["ray_y", "code"]
    assert missing([one], {"ray_x_total": {"route", "le", "code"}, "ray_y": set()}) == []


def test_panels_say_what_they_show_and_do_not_overlap() -> None:
    panels = json.loads((MONITORING / "grafana" / "viral.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert all(panel["description"].endswith(".") for panel in panels if panel["type"] != "row")


def test_every_alert_has_a_line_in_the_runbook() -> None:
    runbook = (MONITORING.parents[1] / "docs" / "runbook.md").read_text()
    rules = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"][0]["rules"]
    assert [rule["alert"] for rule in rules if f"`{rule['alert']}`" not in runbook] == []


def test_mounted_files_exist_and_the_dashboard_uses_the_source_that_is_set_up() -> None:
    compose = yaml.safe_load((MONITORING / "compose.yaml").read_text())
    mounts = [mount.split(":")[0] for service in compose["services"].values() for mount in service["volumes"]]
    assert all((MONITORING / mount).is_file() for mount in mounts if mount.startswith("./"))
    sources = yaml.safe_load((MONITORING / "grafana" / "sources.yaml").read_text())["datasources"]
    panels = json.loads((MONITORING / "grafana" / "viral.json").read_text())["panels"]
    assert {panel["datasource"]["uid"] for panel in panels if "datasource" in panel} == {sources[0]["uid"]}
