"""Snapshots in place of entries that are gone (paper, section 7): who needs one, who takes it.

The core never sees a snapshot. It says which peer needs one, decides whether an offered one is
wanted, and begins a new log after it once the caller has put it in place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_app.core.progress import ProgressState
from raft_app.core.types import NO_REPLICA, AppendEntriesReply, Role, SnapshotWanted

if TYPE_CHECKING:
    from raft_app.core.progress import Progress
    from raft_app.core.raft import Raft
    from raft_app.core.types import SnapshotMeta


# --- of a leader ------------------------------------------------------------------------------


def want_snapshot(raft: Raft, progress: Progress) -> None:
    """Send the peer nothing but heartbeats until it has a snapshot."""
    if progress.state is not ProgressState.SNAPSHOT:
        progress.begin_snapshot()
        raft.outbox.snapshots_wanted.append(SnapshotWanted(progress.peer))


def report_snapshot(raft: Raft, peer: int, *, ok: bool) -> None:
    """The transfer to `peer` ended; see `RawNode.report_snapshot`."""
    progress = raft.progress.get(peer)
    if progress is not None and progress.state is ProgressState.SNAPSHOT:
        progress.end_snapshot(raft.log.first_index, ok=ok)
        raft.sending_due = True


# --- of a follower ----------------------------------------------------------------------------


def offer_snapshot(raft: Raft, sender: int, term: int, meta: SnapshotMeta) -> bool:
    """Tell whether the snapshot of a leader is wanted; see `RawNode.offer_snapshot`."""
    if term < raft.term:
        return False
    if term > raft.term:
        raft.become_follower(term, sender)
    raft.hear_leader(sender)
    log = raft.log
    if log.is_frozen:
        return meta.last_index > log.commit_index and log.makes_up_for_frozen(
            meta.last_index, meta.last_term, term
        )
    if meta.last_index > log.commit_index and log.term_at(meta.last_index) != meta.last_term:
        return True
    log.commit_to(meta.last_index)
    _report_position(raft)
    return False


def begin_install(raft: Raft) -> None:
    """Rely on nothing that is stored above the checkpoint; see `RawNode.begin_install`."""
    assert raft.role is not Role.LEADER, "a leader takes no snapshot"
    if raft.role in {Role.PRE_CANDIDATE, Role.CANDIDATE}:
        raft.become_follower(raft.term, NO_REPLICA)
    raft.log.freeze()
    raft.outbox.drop_acknowledgements()  # Entries that were not handed over yet stay unwritten.


def abort_install(raft: Raft) -> None:
    """Go on with the log, of which nothing was replaced; see `RawNode.abort_install`."""
    assert raft.log.is_frozen, "no snapshot is being installed"
    raft.log.thaw()


def finish_install(raft: Raft, meta: SnapshotMeta) -> None:
    """Begin a new log after the snapshot; see `RawNode.finish_install`."""
    assert raft.log.is_frozen, "no snapshot is being installed"
    assert meta.last_term <= raft.term, "the term is stored no later than the snapshot"
    raft.log.reset(meta.last_index, meta.last_term)
    raft.membership_replaced(meta.membership, meta.membership_index)
    if raft.leader != NO_REPLICA:
        _report_position(raft)


def _report_position(raft: Raft) -> None:
    """Tell the leader up to where this log surely agrees with its own."""
    raft.outbox.acknowledge(
        AppendEntriesReply(
            to=raft.leader,
            sender=raft.replica_id,
            term=raft.term,
            success=True,
            index=raft.log.commit_index,
            last_index=raft.log.last_index,
        )
    )
