"""Changing the target of a partition (its wanted replicas), in the database alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction

from manager_app import event_texts
from manager_app.models import Partition, Replica
from manager_app.placement import eligible_brokers
from manager_app.placement.repair_rules import MemberRole
from manager_app.services.cluster import metadata_bump
from manager_app.services.events import event_store

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from manager_app.placement.repair_rules import Retarget


def replicas_retarget(group_id: int, change: Retarget, *, version: int) -> bool:
    """Store another target of a partition, under the next placement version.

    Args:
        group_id: of the partition.
        change: which replica leaves, and which broker gets a new one or which replica is kept.
        version: placement version that the change was decided on.

    Returns:
        False when the partition, its version or the broker is not what it was; nothing changed.
    """
    with transaction.atomic():
        metadata_bump()
        if change.add is not None and not _may_hold(change.add, group_id):
            return False
        partition = Partition.objects.filter(pk=group_id, placement_version=version)
        if not partition.update(placement_version=version + 1):
            return False
        if change.drop is not None:
            Replica.objects.filter(pk=change.drop, partition_id=group_id).update(leaving=True)
        wanted = Replica.objects.filter(partition_id=group_id, leaving=False)
        taken = set(wanted.values_list("position", flat=True))
        position = min(set(range(len(taken) + 1)) - taken)
        if change.keep is not None:
            Replica.objects.filter(pk=change.keep, partition_id=group_id).update(
                leaving=False, position=position
            )
        if change.add is not None:
            Replica.objects.create(
                partition_id=group_id,
                broker_id=change.add,
                position=position,
                bootstrap=False,
            )
    return True


def replicas_forget(replica_ids: Collection[int]) -> int:
    """Delete the rows of replicas that left and were dropped; return how many."""
    with transaction.atomic():
        metadata_bump()
        left = Replica.objects.filter(
            pk__in=list(replica_ids), leaving=True, membership=MemberRole.NONE
        )
        rows = left.order_by("replica_id").values_list(
            "partition__topic__name", "partition__index", "broker_id"
        )
        if gone := [((topic, index), broker_id) for topic, index, broker_id in rows]:
            event_store(event_texts.moves_done(gone))
        return left.delete()[0]


def moves_note(why: str, begun: Sequence[tuple[int, Retarget]]) -> None:
    """Store the one event of all targets that a round changed.

    Args:
        why: `balance` or `repair`.
        begun: group id and change of each; none are no event.
    """
    if not begun:
        return
    groups = Partition.objects.filter(pk__in=[group_id for group_id, _ in begun])
    places = {
        group_id: (topic, index)
        for group_id, topic, index in groups.values_list("group_id", "topic__name", "index")
    }
    dropped = Replica.objects.filter(pk__in=[change.drop for _, change in begun if change.drop])
    sources = dict(dropped.values_list("replica_id", "broker_id"))
    moves = [
        (places[group_id], sources.get(change.drop or 0), change.add)
        for group_id, change in begun
        if group_id in places
    ]
    if moves:
        event_store(event_texts.moves_begun(why, moves))


def _may_hold(broker_id: int, group_id: int) -> bool:
    """Tell whether a broker can be given a replica of a partition."""
    return (
        eligible_brokers.brokers_for_replicas().filter(pk=broker_id).exists()
        and not Replica.objects.filter(partition_id=group_id, broker_id=broker_id).exists()
    )
