"""The state that a group's first replicas start from."""

from __future__ import annotations

from raft_app.core.types import Entry, EntryKind, HardState, InitialState, Membership

BOOTSTRAP_TERM = 1
"""Term of the first entry; the first election is for the next one."""


def bootstrap_entry(membership: Membership) -> Entry:
    """Return entry 1 of a new group: the list of its first replicas."""
    return Entry(index=1, term=BOOTSTRAP_TERM, kind=EntryKind.MEMBERSHIP, data=membership.encode())


def bootstrap_state(replica_id: int, membership: Membership) -> InitialState:
    """Return what every replica of a new group's first list starts from.

    Entry 1 is identical on all of them, so it counts as committed from the start. A replica that
    joins later uses `joining_state`.

    Args:
        replica_id: the replica that starts.
        membership: the first list, the same on every replica.

    Raises:
        ValueError: the list does not name the replica, or names nobody as a voter.
    """
    if replica_id not in {member.replica_id for member in membership.members}:
        raise ValueError(f"replica {replica_id} is not in {membership!r}")
    if not membership.voters:
        raise ValueError("a new group needs a voter")
    return InitialState(
        replica_id=replica_id,
        hard_state=HardState(term=BOOTSTRAP_TERM, commit=1),
        membership=membership,
        membership_index=0,
        term_starts=((1, BOOTSTRAP_TERM),),
        last_index=1,
        entries=(bootstrap_entry(membership),),
    )


def joining_state(replica_id: int) -> InitialState:
    """Return what a later replica starts from: nothing. It never campaigns until it is told.

    Args:
        replica_id: the replica that starts.
    """
    return InitialState(
        replica_id=replica_id,
        hard_state=HardState(),
        membership=Membership(),
        membership_index=0,
    )
