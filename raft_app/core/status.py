"""A node's state as a value, for people and tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from raft_app.core.progress import ProgressState
    from raft_app.core.raft import Raft
    from raft_app.core.types import Membership, Role


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """What a leader knows about one peer."""

    match: int
    """The peer holds the log up to here, durably."""
    next: int
    """First index that was not sent yet."""
    state: ProgressState
    is_heard: bool
    """It answered a heartbeat lately."""
    inflight_appends: int
    """AppendEntries that are not acknowledged."""
    inflight_bytes: int
    """Size of their entries."""


@dataclass(frozen=True, slots=True)
class Status:
    """One node at one moment."""

    replica_id: int
    term: int
    vote: int
    role: Role
    leader: int
    commit_index: int
    applied_index: int
    durable_index: int
    first_index: int
    last_index: int
    membership: Membership
    membership_index: int
    is_installing: bool
    """A snapshot is being put in place of the log."""
    is_asleep: bool
    """No time passes for it until something wakes it."""
    transferee: int
    """Who leadership is being handed to, or `NO_REPLICA`."""
    progress: Mapping[int, PeerStatus]
    """By replica id of the peer; empty unless this node leads."""


def status_of(raft: Raft) -> Status:
    """Return the state of a node; costs a walk over its peers."""
    log = raft.log
    return Status(
        replica_id=raft.replica_id,
        term=raft.term,
        vote=raft.vote,
        role=raft.role,
        leader=raft.leader,
        commit_index=log.commit_index,
        applied_index=log.applied_index,
        durable_index=log.durable_index,
        first_index=log.first_index,
        last_index=log.last_index,
        membership=raft.memberships.current,
        membership_index=raft.memberships.index,
        is_installing=log.is_frozen,
        is_asleep=raft.is_asleep,
        transferee=raft.transferee,
        progress={
            peer: PeerStatus(
                match=progress.match,
                next=progress.next_index,
                state=progress.state,
                is_heard=progress.is_heard,
                inflight_appends=progress.inflight_appends,
                inflight_bytes=progress.inflight_bytes,
            )
            for peer, progress in raft.progress.items()
        },
    )
