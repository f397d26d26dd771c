"""`GET /metrics`: the figures of this process as Prometheus text."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from django.conf import settings
from django.http import HttpResponse
from prometheus_client import REGISTRY, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily

from http_base.access import VIEW
from http_base.apidoc import describe
from http_base.families import histogram
from http_base.loop_delay import LOOP_DELAYS
from http_base.negotiation import JSON_RENDERER
from http_base.request_metrics import REQUEST_TIMES
from http_base.views import ApiView

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client.core import Metric
    from rest_framework.renderers import BaseRenderer
    from rest_framework.request import Request

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""The text format that every Prometheus reads, whatever it asks for."""

disable_created_metrics()  # type: ignore[no-untyped-call]  # a time beside every counter would double the page


class _Page:
    """What one page shows."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of the process, then the others."""
        yield from REGISTRY.collect()
        yield REQUEST_TIMES.family()
        yield histogram(
            "queue_loop_delay_seconds",
            "How late timers of the event loop run, of which there are two a second",
            LOOP_DELAYS,
        )
        yield _build_info()
        yield from self._families


def render_metrics(families: Iterable[Metric] = ()) -> HttpResponse:
    """Return the figures that every process has and some more as Prometheus text."""
    return HttpResponse(generate_latest(_Page(families)), content_type=CONTENT_TYPE)


class MetricsView(ApiView):
    """Figures of this process."""

    async def families(self) -> Iterable[Metric]:
        """Return what this kind of server shows beside what every process does."""
        return ()

    def perform_content_negotiation(
        self, request: Request, force: bool = False
    ) -> tuple[BaseRenderer, str]:
        """Take any Accept: the answer is Prometheus text all the same."""
        return JSON_RENDERER, JSON_RENDERER.media_type

    @describe(
        summary="Figures of this process as Prometheus text",
        access=VIEW,
        media_type="text/plain",
        tags=["health"],
    )
    async def get(self, request: Request) -> HttpResponse:
        """Return the figures."""
        return render_metrics(await self.families())


def _build_info() -> Metric:
    family = GaugeMetricFamily(
        "queue_build_info",
        "1; its labels say what runs here",
        labels=["version", "role", "python"],
    )
    family.add_metric([settings.VERSION, settings.QUEUE.role, platform.python_version()], 1)
    return family
