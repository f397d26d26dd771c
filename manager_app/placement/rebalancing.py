"""Moving for balance as people see and steer it, by the API or the console."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manager_app import selectors
from manager_app.answers import MoveDetail, PlannedMove, RebalanceDetail
from manager_app.models import Cluster, Partition, RebalanceState
from manager_app.placement import balance_round
from manager_app.placement.balance_rules import RecentPlan
from manager_app.services.cluster import rebalance_set

if TYPE_CHECKING:
    from manager_app.placement.balance_rules import Move
    from manager_app.runtime import ManagerRuntime

PLAN_KEPT_S = 15.0
"""How old the plan of a page may be that is asked for again every few seconds."""
PLAN_SHOWN = 100
"""Moves of a plan that an answer names; the others are counted."""


def set_pace(manager: ManagerRuntime, *, paused: bool, bytes_per_second: int | None) -> None:
    """Begin moves from now on, or no further one; those under way go on. Blocks.

    Args:
        manager: whose rounds move.
        paused: whether no further one begins.
        bytes_per_second: of all moves together; None leaves it.

    Raises:
        QueueError: what `require_database` raises.
    """
    manager.require_database()
    state = RebalanceState.PAUSED if paused else RebalanceState.ON
    rebalance_set(state, bytes_per_second=bytes_per_second)
    manager.move_pace.reset()


def cancel(manager: ManagerRuntime) -> int:
    """Begin no further move, and take back those that can be; return how many. Blocks.

    Raises:
        QueueError: what `require_database` raises.
    """
    manager.require_database()
    rebalance_set(RebalanceState.OFF)
    taken_back = balance_round.take_moves_back()
    if taken_back:
        manager.metadata.refresh()
    return taken_back


def recent_plan(manager: ManagerRuntime) -> list[Move]:
    """Return the plan as it was at most `PLAN_KEPT_S` ago and before no change of metadata."""
    now_s, version = manager.monotonic_s(), manager.metadata.current.version
    known = manager.recent_plan
    if known is not None and known.version == version and now_s - known.at_s < PLAN_KEPT_S:
        return known.moves
    plan = balance_round.plan_balance()
    manager.recent_plan = RecentPlan(now_s, version, plan)
    return plan


def rebalance_detail(plan: list[Move] | None = None) -> RebalanceDetail:
    """Return what is moved, what is planned and how long it takes.

    Args:
        plan: the moves that would be made, where they are known; else they are found out, which
            takes a third of a second with 10,000 partitions.
    """
    cluster = selectors.cluster_find() or Cluster()
    balance = balance_round.look_at_balance(plan)
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
