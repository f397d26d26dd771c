"""Leads a partition from the replicas that it has to those that it should have, step by step.

`next_steps` is pure: every step follows from the membership in force and the one that is wanted, so
whoever leads can take the change up at any point. New replicas come before old ones go, one voter
at a time (thesis, section 4.1). A broker holds one replica of a group, so there the old one goes
first. A leader never removes itself: it hands over.

A change lives in the leader's memory alone. Each tick it derives the next step from the membership
in force, so that a change that was interrupted anywhere goes on when it is asked for again, here or
at another leader.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from myqueue.contract.errors import InvalidRequest, StalePlacement
from raft_app.core.errors import ChangeReason, ChangeRefused, NodeNotLeader
from raft_app.core.types import NO_REPLICA, AddLearner, Promote, Remove

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from raft_app.core.types import Membership, MembershipChange, RaftMember
    from raft_app.engine.replica import Replica


@dataclass(frozen=True, slots=True)
class HandOver:
    """Let another voter lead, since this one is to be removed."""

    to: tuple[int, ...]
    """Replica ids of who may: voters that stay. Empty when there is none yet."""


Step = AddLearner | Promote | Remove | HandOver


def next_steps(
    membership: Membership,
    target: Sequence[RaftMember],
    *,
    leader: int,
    heard: Collection[int] = (),
) -> list[Step]:
    """Return what may be done now, the best first; one of them at a time. Empty when it is done.

    Args:
        membership: the one in force.
        target: the voters that are wanted; replica ids and brokers are distinct.
        leader: replica id of who leads.
        heard: replica ids of the members that answer; those that do not are removed first.
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
    membership: Membership, wanted: Collection[int], target: Sequence[RaftMember], leader: int
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


def _additions(membership: Membership, target: Sequence[RaftMember]) -> list[MembershipChange]:
    present = {member.replica_id for member in membership.members}
    occupied = {member.broker_id for member in membership.members}
    return [
        AddLearner(member)
        for member in target
        if member.replica_id not in present and member.broker_id not in occupied
    ]


logger = logging.getLogger(__name__)

_NOT_NOW = frozenset({ChangeReason.NOT_READY, ChangeReason.UNCOMMITTED, ChangeReason.TRANSFER})
"""Reasons that hold for any other step too."""


@dataclass(slots=True)
class ReplicaChange:
    """One change under way, or the last one of its group."""

    target: tuple[RaftMember, ...]
    version: int
    """Placement version of the target."""
    step: str = "begin"
    """What was done last."""
    waiting_for: str = ""
    """Why the next step is not done yet."""
    is_done: bool = False


class ReplicaChanges:
    """The changes of all groups that one engine leads; lives in its loop."""

    def __init__(self, replicas: Mapping[int, Replica], mark: Callable[[Replica], None]) -> None:
        """Change the members of `groups`.

        Args:
            replicas: the engine's, by group id.
            mark: has a replica drained in the next turn.
        """
        self._replicas = replicas
        self._mark = mark
        self._changes: dict[int, ReplicaChange] = {}

    def start(
        self, replica: Replica, target: tuple[RaftMember, ...], version: int
    ) -> ReplicaChange:
        """Begin a change, or go on with it; the steps follow with the ticks.

        Args:
            replica: led here.
            target: its voters when the change is done.
            version: placement version of the target; the steps carry it.

        Raises:
            NotLeader | NoLeader: this replica does not lead.
            InvalidRequest: the target cannot be.
            StalePlacement: a later placement is in force, or another one of this version.
        """
        if not replica.serves:
            raise replica.not_leader()
        _check_target(replica, target)
        if version < replica.node.membership.version:
            raise StalePlacement(
                f"{replica.label}: placement version {version} is below"
                f" {replica.node.membership.version}, which is in force"
            )
        known = self._changes.get(replica.group_id)
        if known is not None and known.version > version:
            raise StalePlacement(f"{replica.label}: version {known.version} is under way")
        if known is not None and known.version == version and known.target != target:
            raise StalePlacement(f"{replica.label}: version {version} has another target")
        if known is None or known.version < version:
            known = self._changes[replica.group_id] = ReplicaChange(target, version)
            logger.info("%s: replicas are to be %s", replica.label, target)
        self._advance(replica, known)
        return known

    def find(self, group_id: int) -> ReplicaChange | None:
        """Return the change of a group, under way or done since this replica leads."""
        return self._changes.get(group_id)

    def tick(self) -> None:
        """Do the next step of every change whose time has come."""
        if not self._changes:
            return
        for group_id, change in list(self._changes.items()):
            replica = self._replicas.get(group_id)
            if replica is None or replica.faulty or not replica.is_leader:
                del self._changes[group_id]
            elif not change.is_done:
                self._advance(replica, change)

    def _advance(self, replica: Replica, change: ReplicaChange) -> None:
        node = replica.node
        if node.commit_index < node.membership_index:
            change.waiting_for = str(ChangeReason.UNCOMMITTED)
            return
        status = node.status()
        if status.transferee != NO_REPLICA:
            change.waiting_for = str(ChangeReason.TRANSFER)
            return
        heard = {peer for peer, progress in status.progress.items() if progress.is_heard}
        steps = next_steps(
            node.membership, change.target, leader=replica.spec.replica_id, heard=heard
        )
        if not steps:
            change.is_done, change.waiting_for = True, ""
            logger.info("%s: replicas are %s", replica.label, change.target)
        for step in steps:
            if self._take(replica, change, step):
                break

    def _take(self, replica: Replica, change: ReplicaChange, step: Step) -> bool:
        """Do one step; return whether no other one is to be tried now."""
        self._mark(replica)  # A step that is refused has woken the leader, too.
        try:
            if isinstance(step, HandOver):
                heir = _heir(replica, step)
                if heir == NO_REPLICA:
                    change.waiting_for = "no replica that stays can lead yet"
                    return True
                replica.node.transfer_leadership(heir)
            else:
                replica.node.propose_membership(step, version=change.version)
        except NodeNotLeader:
            return True
        except ChangeRefused as error:
            change.waiting_for = f"{step}: {error.reason}"
            return error.reason in _NOT_NOW
        change.step, change.waiting_for = str(step), ""
        logger.info("%s: %s", replica.label, step)
        return True


def _heir(replica: Replica, step: HandOver) -> int:
    """Return the voter that stays and whose log is the longest; only one that is heard."""
    progress = replica.node.status().progress
    heard = [peer for peer in step.to if peer in progress and progress[peer].is_heard]
    return max(heard, key=lambda peer: (progress[peer].match, -peer), default=NO_REPLICA)


def _check_target(replica: Replica, target: tuple[RaftMember, ...]) -> None:
    replica_ids = {member.replica_id for member in target}
    broker_ids = {member.broker_id for member in target}
    if not target or len(replica_ids) < len(target) or len(broker_ids) < len(target):
        raise InvalidRequest(
            "the replicas that are wanted have distinct ids and brokers, and there is one at least",
            field="replicas",
        )
    for member in target:
        known = replica.broker_of(member.replica_id)
        if known not in (0, member.broker_id):
            raise InvalidRequest(
                f"replica {member.replica_id} is on broker {known}, not on {member.broker_id}",
                field="replicas",
            )
