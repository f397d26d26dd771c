"""Changes of the membership, one replica at a time (thesis, section 4.1).

A leader appends a change only when an entry of its own term is committed and the change before is
committed too. Without the first rule two leaders could each add a change of their own to the same
membership, and these two may have quorums without a common replica (Ongaro's correction of 2015,
"bug in single-server membership changes").

The rules beyond that keep a group available: a learner is promoted when it follows, and the voters
that remain must hold a quorum that does.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from raft_app.core import replication
from raft_app.core.errors import ChangeReason, ChangeRefused, NodeNotLeader
from raft_app.core.quorum import is_quorum
from raft_app.core.types import (
    NO_REPLICA,
    AddLearner,
    Entry,
    EntryKind,
    Promote,
    Remove,
    Role,
)

if TYPE_CHECKING:
    from raft_app.core.raft import Raft
    from raft_app.core.types import Membership, MembershipChange


def propose_membership(raft: Raft, change: MembershipChange, *, version: int) -> tuple[int, int]:
    """Append one change; see `RawNode.propose_membership`."""
    if raft.role is not Role.LEADER:
        raise NodeNotLeader(raft.leader)
    reason = _untimely(raft, version)
    if reason is not None:
        raise ChangeRefused(reason)
    changed = replace(changed_membership(raft.memberships.current, change), version=version)
    reason = _unavailable(raft, change, changed)
    if reason is not None:
        raise ChangeRefused(reason)
    entry = Entry(raft.log.last_index + 1, raft.term, EntryKind.MEMBERSHIP, changed.encode())
    raft.log.append([entry])
    raft.entries_added([entry])
    replication.members_changed(raft)
    return entry.index, entry.term


def _untimely(raft: Raft, version: int) -> ChangeReason | None:
    """Return why no change at all may be appended now."""
    log = raft.log
    if raft.transferee != NO_REPLICA:
        return ChangeReason.TRANSFER
    if log.commit_index < raft.term_start_index:
        return ChangeReason.NOT_READY
    if log.commit_index < raft.memberships.index:
        return ChangeReason.UNCOMMITTED
    if version < raft.memberships.current.version:
        return ChangeReason.OLD_VERSION
    return None


def changed_membership(membership: Membership, change: MembershipChange) -> Membership:
    """Return the membership after one change; its version stays.

    Raises:
        ChangeRefused: the change does not fit the membership.
    """
    voters, learners = membership.voters, membership.learners
    ids = {member.replica_id for member in membership.members}
    match change:
        case AddLearner(member):
            if member.replica_id in ids:
                raise ChangeRefused(ChangeReason.ALREADY_MEMBER)
            learners += (member,)
        case Promote(replica_id):
            promoted = tuple(each for each in learners if each.replica_id == replica_id)
            if not promoted:
                raise ChangeRefused(ChangeReason.NOT_A_LEARNER)
            voters += promoted
            learners = tuple(each for each in learners if each.replica_id != replica_id)
        case Remove(replica_id):
            if replica_id not in ids:
                raise ChangeRefused(ChangeReason.NOT_A_MEMBER)
            voters = tuple(each for each in voters if each.replica_id != replica_id)
            learners = tuple(each for each in learners if each.replica_id != replica_id)
    return replace(membership, voters=voters, learners=learners)


def _unavailable(raft: Raft, change: MembershipChange, changed: Membership) -> ChangeReason | None:
    """Return why the group could not go on with the membership `changed` just now.

    A learner has caught up when it was heard lately, takes entries as they come, and all that is
    committed was sent to it: what it lacks is then no more than the window of appends in flight.
    """
    match change:
        case Remove(replica_id) if replica_id == raft.replica_id:
            return ChangeReason.ITSELF
        case Promote(replica_id):
            progress = raft.progress[replica_id]
            if not progress.is_following or progress.next_index <= raft.log.commit_index:
                return ChangeReason.BEHIND
    following = {progress.peer for progress in raft.progress.values() if progress.is_following}
    following.add(raft.replica_id)
    if changed.voters != raft.memberships.current.voters and not is_quorum(
        changed.voter_ids, following
    ):
        return ChangeReason.NO_QUORUM
    return None
