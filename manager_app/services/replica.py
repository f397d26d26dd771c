"""Changing the target of a partition (its wanted replicas), in the database alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction

from manager_app.models import Partition, Replica
from manager_app.placement import eligible_brokers
from manager_app.placement.repair_rules import MemberRole
from manager_app.services.cluster import metadata_bump

if TYPE_CHECKING:
    from collections.abc import Collection

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
        return left.delete()[0]


def _may_hold(broker_id: int, group_id: int) -> bool:
    """Tell whether a broker can be given a replica of a partition."""
    return (
        eligible_brokers.brokers_for_replicas().filter(pk=broker_id).exists()
        and not Replica.objects.filter(partition_id=group_id, broker_id=broker_id).exists()
    )
