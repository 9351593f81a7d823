"""`GET /metrics`: what Ray counts about this application, gathered from all nodes in Prometheus' text format."""

import asyncio

import httpx
import ray
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

TIMEOUT_S = 5.0
_PREFIX = "ray_serve_"


class Gathered(Collector):
    """Families of several nodes, each name once."""

    def __init__(self, pages: list[str], application: str) -> None:
        self._families: dict[str, Metric] = {}
        for page in pages:
            for family in text_string_to_metric_families(page):
                if family.name.startswith(_PREFIX):
                    self._add(family, application)

    def _add(self, family: Metric, application: str) -> None:
        into = self._families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
        into.samples += [
            sample for sample in family.samples if sample.labels.get("application", "") in ("", application)
        ]

    def collect(self) -> list[Metric]:
        return list(self._families.values())


async def gather(application: str) -> bytes:
    """The metrics of an application's deployments; a node that does not answer is left out."""
    nodes = await asyncio.to_thread(ray.nodes)
    urls = [
        f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics" for node in nodes if node["Alive"]
    ]
    async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as client:
        answers = await asyncio.gather(*(client.get(url) for url in urls), return_exceptions=True)
    pages = [answer.text for answer in answers if isinstance(answer, httpx.Response) and answer.is_success]
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Gathered(pages, application))
    return generate_latest(registry)
