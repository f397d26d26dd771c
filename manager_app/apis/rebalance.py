"""Moving replicas for balance: /rebalance."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from http_base.access import OPERATE, VIEW
from http_base.apidoc import describe
from manager_app import selectors
from manager_app.answers import MoveDetail, PlannedMove, RebalanceDetail
from manager_app.apis.acts import operates
from manager_app.apis.base import ManagerView
from manager_app.inputs import Nothing, Rebalance
from manager_app.models import Cluster, Partition, RebalanceState
from manager_app.placement import balance_round
from manager_app.services.cluster import rebalance_set

if TYPE_CHECKING:
    from rest_framework.response import Response

    from http_base.views import ApiRequest
    from manager_app.placement.balance_rules import Move

PLAN_SHOWN = 100
"""Moves of a plan that an answer names; the others are counted."""
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
        return self.respond(_detail())

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
        rebalance_set(
            RebalanceState.PAUSED if call.paused else RebalanceState.ON,
            bytes_per_second=call.bytes_per_second,
        )
        self.runtime.move_pace.reset()
        return self.respond(_detail())

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
        rebalance_set(RebalanceState.OFF)
        if balance_round.take_moves_back():
            self.runtime.metadata.refresh()
        return self.respond(_detail())


def _detail() -> RebalanceDetail:
    cluster = selectors.cluster_find() or Cluster()
    balance = balance_round.look_at_balance()
    bytes_left = sum(move.size_bytes for move in balance.plan)
    bytes_left += sum(one.size_bytes - one.copied_bytes for one in balance.running)
    return RebalanceDetail(
        state=cluster.rebalance,
        bytes_per_second=cluster.rebalance_bytes_per_second,
        repairs=balance.repairs,
        running=[
            MoveDetail(
                topic=one.topic,
                partition=one.partition,
                source=one.source,
                target=one.target,
                size_bytes=one.size_bytes,
                copied_bytes=one.copied_bytes,
            )
            for one in balance.running
        ],
        moves_left=len(balance.plan),
        bytes_left=bytes_left,
        seconds_left=bytes_left / cluster.rebalance_bytes_per_second,
        plan=_named(balance.plan[:PLAN_SHOWN]),
    )


def _named(moves: list[Move]) -> list[PlannedMove]:
    rows = Partition.objects.filter(pk__in=[move.group_id for move in moves])
    places = {
        group_id: (topic, index)
        for group_id, topic, index in rows.values_list("group_id", "topic__name", "index")
    }
    return [
        PlannedMove(
            topic=places[move.group_id][0],
            partition=places[move.group_id][1],
            source=move.source,
            target=move.target,
            size_bytes=move.size_bytes,
        )
        for move in moves
        if move.group_id in places
    ]
