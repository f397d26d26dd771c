"""`GET /metrics`: the figures of this process as Prometheus text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import HttpResponse
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

from http_base.access import VIEW
from http_base.apidoc import describe
from http_base.negotiation import JSON_RENDERER
from http_base.views import ApiView

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from rest_framework.renderers import BaseRenderer
    from rest_framework.request import Request


def render_metrics(registry: CollectorRegistry = REGISTRY) -> HttpResponse:
    """Return every figure of the registry as Prometheus text."""
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


class MetricsView(ApiView):
    """Figures of this process."""

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
        return render_metrics()
