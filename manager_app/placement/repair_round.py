"""Repairs partitions that lost replicas, one bounded round at a time.

A round reads the partitions that need a repair, decides the next step of each, such as another
broker in place of a dead one, stores new targets, and orders them of leaders and brokers. It may
end anywhere: the next round, of this manager or another, decides anew.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from manager_app import selectors
from manager_app.brokers.membership_orders import DiscardOrder, MembershipOrder
from manager_app.metrics import PARTITIONS_TO_HEAL
from manager_app.models import Broker, BrokerState
from manager_app.placement.partition_facts import (
    partition_facts,
    partitions_to_heal,
    replica_target,
)
from manager_app.placement.repair_rules import AskLeader, Discard, Forget, Retarget, next_steps
from manager_app.placement.topic_changes import place_missing
from manager_app.services.broker import brokers_remove_drained
from manager_app.services.cluster import acting_epoch, fenced
from manager_app.services.membership import ToldMembership, memberships_take
from manager_app.services.replica import moves_note, replicas_forget, replicas_retarget

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from http_base.cluster import MembersAnswer
    from manager_app.models import Partition
    from manager_app.runtime import ManagerRuntime

logger = logging.getLogger(__name__)

CHANGES_AT_ONCE = 16
"""Partitions that change their replicas at once, or as many as there are brokers to take some when
these are more. Each copies all its messages to a new replica, over the network and to disks that
serve clients meanwhile."""
DISCARDS_PER_ROUND = 64
"""Replicas that brokers are ordered to drop in one round; the others come with the next rounds."""
PARTITIONS_PER_QUERY = 200
"""Loaded at once with their replicas; a round ends to load when it has enough to do."""
ROUND_LIMIT_S = 60.0
"""For the calls of one round; each has a shorter limit of its own."""


@dataclass
class _Round:
    """The steps that one look at the partitions calls for."""

    retargets: list[tuple[int, int, Retarget]] = field(default_factory=list)
    """Group id, placement version, change."""
    asks: list[MembershipOrder] = field(default_factory=list)
    discards: list[DiscardOrder] = field(default_factory=list)
    forgotten: list[int] = field(default_factory=list)


def repair_partitions(runtime: ManagerRuntime) -> int:
    """Do the next step of every partition that needs a repair, within the limits of a round.

    Returns:
        How many partitions need a repair.
    """
    epoch = acting_epoch()
    abandoned, waiting = _dead(runtime)
    count = partitions_to_heal().count()
    PARTITIONS_TO_HEAL.set(count)
    if count:
        plan = _decide(partitions_to_heal(waiting), abandoned, epoch)
        _store(runtime, plan)
        if plan.retargets:
            place_missing(runtime)
            changed = [group_id for group_id, _, _ in plan.retargets]
            again = partitions_to_heal().filter(group_id__in=changed)
            plan.asks += _decide(again, abandoned, epoch).asks
        _ask(runtime, plan.asks)
        _discard(runtime, plan.discards, epoch)
    if removed := brokers_remove_drained():
        logger.info("brokers %s hold nothing any more and are removed", removed)
        for broker_id in removed:
            runtime.broker_heartbeats.forget(broker_id)
        runtime.metadata.refresh()
    return count


def _dead(runtime: ManagerRuntime) -> tuple[frozenset[int], frozenset[int]]:
    """Return the dead brokers whose replicas others take, and those that may come back.

    The first are silent for `replace_after_s`. Silence is measured in this process: one that starts
    grants every broker the whole time.
    """
    now_s = runtime.monotonic_s()
    heartbeats = runtime.broker_heartbeats
    dead = Broker.objects.filter(state=BrokerState.DEAD)
    abandoned, waiting = set(), set()
    for broker_id, last_heartbeat, draining in dead.values_list(
        "broker_id", "last_heartbeat", "draining"
    ):
        heartbeats.observe(broker_id, last_heartbeat, now_s)
        seen_s = heartbeats.last_seen_s(broker_id)
        if seen_s is not None and now_s - seen_s > runtime.replace_after_s:
            abandoned.add(broker_id)
        elif not draining:
            waiting.add(broker_id)
    return frozenset(abandoned), frozenset(waiting)


def _decide(partitions: QuerySet[Partition], abandoned: frozenset[int], epoch: int) -> _Round:
    plan = _Round()
    loads = {load.broker_id: load.replicas for load in selectors.broker_loads()}
    racks = dict(Broker.objects.exclude(rack="").values_list("broker_id", "rack"))
    at_once = max(CHANGES_AT_ONCE, len(loads))
    for partition in partitions.iterator(chunk_size=PARTITIONS_PER_QUERY):
        is_full = len(plan.retargets) + len(plan.asks) >= at_once
        if is_full and not getattr(partition, "changing", True):
            break
        facts = partition_facts(partition, abandoned)
        for step in next_steps(facts, loads, racks):
            match step:
                case AskLeader():
                    assert partition.leader_id is not None, "a led partition has a leader"
                    target = replica_target(partition, epoch)
                    plan.asks.append(
                        MembershipOrder(facts.group_id, partition.leader_id, partition.term, target)
                    )
                case Retarget():
                    plan.retargets.append((facts.group_id, facts.version, step))
                    if step.add is not None:
                        loads[step.add] += 1
                case Discard():
                    plan.discards.append(
                        DiscardOrder(facts.group_id, step.replica_id, step.broker_id)
                    )
                case Forget():
                    plan.forgotten.append(step.replica_id)
    free = max(0, at_once - len(plan.asks))
    del plan.retargets[free:], plan.discards[DISCARDS_PER_ROUND:]
    return plan


def _store(runtime: ManagerRuntime, plan: _Round) -> None:
    if plan.forgotten:
        replicas_forget(plan.forgotten)
    changed = []
    for group_id, version, change in plan.retargets:
        if replicas_retarget(group_id, change, version=version):
            logger.warning("group %d: version %d replaced: %s", group_id, version, change)
            changed.append((group_id, change))
    moves_note("repair", changed)
    if plan.forgotten or plan.retargets:
        runtime.metadata.refresh()


def _ask(runtime: ManagerRuntime, asks: list[MembershipOrder]) -> None:
    if not asks:
        return
    asking = runtime.membership_orders.ask_leaders(asks)
    answers = runtime.run(asking, timeout_s=ROUND_LIMIT_S)
    told = [_told(answers[call.group_id], call) for call in asks if call.group_id in answers]
    with fenced():
        memberships_take(told)


def _told(answer: MembersAnswer, call: MembershipOrder) -> ToldMembership:
    return ToldMembership(
        group_id=answer.group_id,
        leader=call.leader,
        term=call.term,
        voters=frozenset(place.replica_id for place in answer.replicas),
        learners=frozenset(place.replica_id for place in answer.learners),
    )


def _discard(runtime: ManagerRuntime, discards: list[DiscardOrder], epoch: int) -> None:
    if not discards:
        return
    discarding = runtime.membership_orders.discard(discards, epoch=epoch)
    if gone := runtime.run(discarding, timeout_s=ROUND_LIMIT_S):
        replicas_forget(gone)
        runtime.metadata.refresh()
