"""The next step from the membership in force to the one that is wanted; pure.

Every step follows from these two alone, so whoever leads can take the change up at any point. New
replicas come before old ones go, one voter at a time. A broker holds one replica of a group, so
there the old one goes first. A leader never removes itself: it hands over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from raft_app.core.types import AddLearner, Promote, Remove

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from raft_app.core.types import Member, Membership, MembershipChange


@dataclass(frozen=True, slots=True)
class HandOver:
    """Let another voter lead, since this one is to be removed."""

    to: tuple[int, ...]
    """Replica ids of who may: voters that stay. Empty when there is none yet."""


Step = AddLearner | Promote | Remove | HandOver


def next_steps(
    membership: Membership,
    target: Sequence[Member],
    *,
    leader: int,
    heard: Collection[int] = (),
) -> list[Step]:
    """Return what may be done now, the best first; one of them at a time. Empty when it is done.

    Args:
        membership: the one in force.
        target: the voters that are wanted; replica ids and brokers are distinct.
        leader: replica id of who leads.
        heard: replica ids of the members that answer; the others go first.
    """
    wanted = {member.replica_id for member in target}
    leaving = sorted(
        (member.replica_id for member in membership.voters if member.replica_id not in wanted),
        key=lambda replica_id: (replica_id in heard, replica_id),
    )
    steps: list[Step] = [
        *_make_room(membership, wanted, target, leader),
        *_additions(membership, target),
    ]
    if len(membership.voters) > len(target):
        steps += [Remove(replica_id) for replica_id in leaving if replica_id != leader]
    steps += [
        Promote(member.replica_id) for member in membership.learners if member.replica_id in wanted
    ]
    if leaving and not steps:
        steps.append(HandOver(tuple(sorted(wanted & membership.voter_ids))))
    return list(dict.fromkeys(steps))


def _make_room(
    membership: Membership, wanted: Collection[int], target: Sequence[Member], leader: int
) -> list[MembershipChange]:
    """Return removals of learners of an earlier plan, and of replicas whose broker gets another."""
    learners = [
        member.replica_id for member in membership.learners if member.replica_id not in wanted
    ]
    present = {member.replica_id for member in membership.members}
    brokers = {member.broker_id for member in target if member.replica_id not in present}
    replaced = [
        member.replica_id
        for member in membership.voters
        if member.broker_id in brokers and member.replica_id not in {*wanted, leader}
    ]
    return [Remove(replica_id) for replica_id in [*learners, *replaced]]


def _additions(membership: Membership, target: Sequence[Member]) -> list[MembershipChange]:
    present = {member.replica_id for member in membership.members}
    occupied = {member.broker_id for member in membership.members}
    return [
        AddLearner(member)
        for member in target
        if member.replica_id not in present and member.broker_id not in occupied
    ]
