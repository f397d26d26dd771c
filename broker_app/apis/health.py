"""GET /health, GET /healthz, GET /readyz and GET /metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker_app.answers import BrokerHealth, Readiness
from broker_app.metrics import broker_families
from broker_app.runtime import current
from broker_app.selectors.partitions import problems_list
from http_base.access import OPEN
from http_base.apidoc import describe
from http_base.metrics import MetricsView
from http_base.views import ApiView
from myqueue.contract.answers import DONE
from myqueue.contract.errors import NoLeader

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client.core import Metric
    from rest_framework.response import Response

    from http_base.views import ApiRequest


class HealthApi(ApiView):
    """Health of the broker."""

    @describe(
        summary="Tell how this broker is",
        access=OPEN,
        answer=BrokerHealth(reasons=[]),
        tags=["health"],
    )
    async def get(self, request: ApiRequest) -> Response:
        """Answer 200; `reasons` has what a failing /readyz would say, empty for a ready broker."""
        return self.respond(BrokerHealth(reasons=problems_list(runtime=current())))


class HealthzApi(ApiView):
    """Liveness: whether the process answers."""

    @describe(summary="Liveness", access=OPEN, tags=["health"])
    async def get(self, request: ApiRequest) -> Response:
        """Answer 200, whatever the engine does."""
        return self.respond(DONE)


class ReadyzApi(ApiView):
    """Readiness: whether the broker should get requests; `reasons` says why not."""

    @describe(summary="Readiness", access=OPEN, answer=Readiness(reasons=[]), tags=["health"])
    async def get(self, request: ApiRequest) -> Response:
        """Answer 200, or 503 NOT_READY with each reason that keeps the broker from serving."""
        problems = problems_list(runtime=current())
        if problems:
            raise NoLeader(f"the broker is not ready: {'; '.join(problems)}", reasons=problems)
        return self.respond(Readiness(reasons=[]))


class MetricsApi(MetricsView):
    """Figures of this broker."""

    async def families(self) -> Iterable[Metric]:
        """Return those of the engine and of what went through it."""
        return await broker_families()
