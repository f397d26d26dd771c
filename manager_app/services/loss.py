"""Storing that a partition goes on with what one replica has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction

from manager_app.models import (
    Event,
    EventKind,
    EventOutcome,
    LossAccepted,
    Partition,
    Replica,
)
from manager_app.placement.repair_rules import MemberRole
from manager_app.services.cluster import fenced, metadata_bump
from manager_app.services.events import about, event_store
from myqueue.contract.errors import StalePlacement

if TYPE_CHECKING:
    from manager_app.placement.loss_rules import LossPlan


def loss_store(partition: Partition, plan: LossPlan, *, by: str) -> LossAccepted:
    """Give a partition one new replica in place of all, and remember who wanted that.

    Raises:
        StalePlacement: the partition has changed since the plan was made.
    """
    with transaction.atomic():
        metadata_bump()
        version = partition.placement_version + 1
        changed = Partition.objects.filter(
            pk=partition.group_id, placement_version=partition.placement_version
        ).update(
            placement_version=version,
            leader=None,
            term=max(partition.term, plan.above_term),
            membership_term=0,
            strangers=0,
        )
        if not changed:
            raise StalePlacement("the replicas of the partition have changed meanwhile; look again")
        Replica.objects.filter(partition_id=partition.group_id).delete()
        replica = Replica.objects.create(
            partition_id=partition.group_id,
            broker_id=plan.survivor.broker_id,
            position=0,
            bootstrap=False,
            membership=MemberRole.VOTER,
        )
        _note(partition, plan, by)
        return LossAccepted.objects.create(
            group_id=partition.group_id,
            topic_name=partition.topic.name,
            index=partition.index,
            accepted_by=by,
            broker_id=plan.survivor.broker_id,
            old_replica_id=plan.survivor.replica_id,
            new_replica_id=replica.replica_id,
            above_term=plan.above_term,
            end_offset=plan.end_offset,
            known_offset=plan.known_offset,
            next_offset=plan.next_offset,
            version=version,
        )


def _note(partition: Partition, plan: LossPlan, by: str) -> None:
    name = partition.topic.name
    event = Event(
        kind=EventKind.ACTION,
        action="accept loss",
        text=f"Accepted the loss of offsets {plan.end_offset:,} to {plan.known_offset:,} of"
        f" {name}/{partition.index}: broker {plan.survivor.broker_id} goes on alone",
        about=about(topic=name, broker=plan.survivor.broker_id),
        person=by,
        outcome=EventOutcome.DONE,
    )
    event_store(
        event,
        partition=partition.index,
        broker_id=plan.survivor.broker_id,
        lost_from=plan.end_offset,
        lost_below=plan.known_offset,
        next_offset=plan.next_offset,
    )


def loss_unfinished(group_id: int) -> LossAccepted | None:
    """Return the loss of a partition that was accepted and that its broker has not carried out."""
    return LossAccepted.objects.filter(group_id=group_id, done=False).order_by("-id").first()


def loss_done(accepted: LossAccepted) -> None:
    """Store that the broker has carried it out."""
    with fenced():
        LossAccepted.objects.filter(pk=accepted.pk).update(done=True)
