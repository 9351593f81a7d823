"""What is counted about the application."""

from prometheus_client.parser import text_string_to_metric_families

from serve.metrics import Gathered
from tests.serve.asking import ask, decoded

PAGE = """# HELP ray_serve_edits_total Edits.
# TYPE ray_serve_edits_total counter
ray_serve_edits_total{{application="viral",node="{node}"}} {count}
ray_serve_edits_total{{application="other",node="{node}"}} 9
# HELP ray_node_mem Memory.
# TYPE ray_node_mem gauge
ray_node_mem{{node="{node}"}} 5
"""


def test_families_of_several_nodes_are_one():
    (family,) = Gathered([PAGE.format(node=node, count=node) for node in (1, 2)], "viral").collect()
    assert sorted(sample.value for sample in family.samples) == [1, 2]


def test_requests_are_counted_for_prometheus(server, parts):
    decoded(ask(server, parts))
    answer = server.get("/metrics")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    deployments = {
        sample.labels["deployment"]
        for family in families.values()
        for sample in family.samples
        if "deployment" in sample.labels
    }
    assert {"Ingress", "Editor"} <= deployments, sorted(families)
