"""The internal GET /standing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker_app.runtime import current
from broker_app.selectors.standing import standing_get
from http_base.access import CLUSTER
from http_base.apidoc import describe
from http_base.cluster import BrokerStanding
from http_base.views import ApiView

if TYPE_CHECKING:
    from rest_framework.response import Response

    from http_base.views import ApiRequest


class StandingApi(ApiView):
    """How this broker is, and what it counted since its start. Internal."""

    @describe(
        summary="How this broker is (internal)",
        access=CLUSTER,
        answer=BrokerStanding(version="0.1.0", uptime_s=12.5),
        tags=["internal"],
    )
    async def get(self, request: ApiRequest) -> Response:
        """Answer from memory."""
        return self.respond(standing_get(runtime=current()))
