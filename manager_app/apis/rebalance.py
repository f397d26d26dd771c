"""Moving replicas for balance: /rebalance."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from http_base.access import OPERATE, VIEW
from http_base.apidoc import describe
from manager_app.answers import MoveDetail, PlannedMove, RebalanceDetail
from manager_app.apis.acts import operates
from manager_app.apis.base import ManagerView
from manager_app.inputs import Nothing, Rebalance
from manager_app.placement import rebalancing

if TYPE_CHECKING:
    from rest_framework.response import Response

    from http_base.views import ApiRequest

_EXAMPLE = RebalanceDetail(
    state="on",
    bytes_per_second=32 << 20,
    repairs=0,
    running=[
        MoveDetail(
            topic="logs", partition=2, source=1, target=4, size_bytes=4096, copied_bytes=1024
        )
    ],
    moves_left=1,
    bytes_left=7168,
    seconds_left=0.0,
    plan=[PlannedMove(topic="logs", partition=5, source=2, target=4, size_bytes=4096)],
)


class RebalanceApi(ManagerView):
    """What is moved between brokers so that they hold as many replicas each."""

    acts: ClassVar = {"POST": operates("rebalance set"), "DELETE": operates("rebalance cancelled")}

    @describe(
        summary="Show what is moved for balance and what is planned",
        access=VIEW,
        input=Nothing,
        answer=_EXAMPLE,
        tags=["brokers"],
        query=True,
    )
    def get(self, request: ApiRequest) -> Response:
        """Return the moves under way and the plan, of which 100 moves are named."""
        self.read(request, Nothing)
        return self.respond(rebalancing.rebalance_detail())

    @describe(
        summary="Start or pause moving for balance, or set its speed",
        access=OPERATE,
        input=Rebalance,
        answer=_EXAMPLE,
        tags=["brokers"],
    )
    def post(self, request: ApiRequest) -> Response:
        """Begin moves from now on, or with `paused` no further one; those under way go on."""
        self.runtime.require_database()
        call = self.read(request, Rebalance)
        rebalancing.set_pace(
            self.runtime, paused=call.paused, bytes_per_second=call.bytes_per_second
        )
        return self.respond(rebalancing.rebalance_detail())

    @describe(
        summary="Cancel moving for balance",
        access=OPERATE,
        answer=_EXAMPLE,
        tags=["brokers"],
    )
    def delete(self, request: ApiRequest) -> Response:
        """Begin no further move, and take back those whose new replica has not caught up yet."""
        self.runtime.require_database()
        self.read(request, Nothing)
        rebalancing.cancel(self.runtime)
        return self.respond(rebalancing.rebalance_detail())
