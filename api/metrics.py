"""/metrics: how the ledger's products stand and how fast they go, as Prometheus reads it; asked anew at each scrape."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.responses import Response

from catalog.ledger import Ledger
from catalog.store import Catalog


def router(catalog: Catalog) -> APIRouter:
    """The route. It tells how much there is of private collections too: who runs the server decides whether it is on.

    Raises CatalogError where the database does not answer.
    """
    made = APIRouter(tags=["Health"])
    registry = CollectorRegistry()
    registry.register(_Figures(catalog.ledger))

    @made.get(
        "/metrics",
        summary="How the ledger's products stand and how fast they go, for Prometheus",
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}, "description": "Figures, in Prometheus' text format"}},
    )
    def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return made


class _Figures(Collector):
    """The ledger's figures, as they are when somebody asks."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def collect(self) -> Iterable[Metric]:
        """All of them."""
        counts, queue, pace = self._ledger.counts(), self._ledger.queue(), self._ledger.pace()
        yield _gauge("products", "Products of the ledger.", "state", {str(one): count for one, count in counts.items()})
        waiting = {"now": queue.now, "later": queue.later}
        yield _gauge("queue_products", "Products that wait: for a worker now, for their time later.", "ready", waiting)
        yield GaugeMetricFamily(
            "kartotek_oldest_lease_seconds",
            "How long that product has been in hand that was begun first.",
            queue.oldest,
        )
        yield GaugeMetricFamily(
            "kartotek_products_per_hour", "Products that are done in an hour, by the last ones.", pace.per_hour
        )
        yield _gauge("stage_seconds", "What a stage takes of a product, on average of the last ones.", "stage",
                     pace.stages)  # fmt: skip


def _gauge(name: str, words: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    """A value for each value of a label."""
    made = GaugeMetricFamily(f"kartotek_{name}", words, labels=[label])
    for key, value in values.items():
        made.add_metric([key], value)
    return made
