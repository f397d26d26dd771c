"""Spare followers: a quorum does without them, so they get entries a little later, many at once.

An entry is committed once a quorum holds it. Of the followers, a leader sends to as many at once as
make a quorum with its own disk, the quickest ones: who waits for the commit waits for these, and
shares its machine with the work of no others. The spare ones get what came meanwhile when the
driver calls `RawNode.send_to_spares`, soon: nothing else looks after them, but heartbeats. What is
large goes to all at once, so that nobody lags by much; so does everything while `limit_inflight`
says whose turn it is.

A follower that falls behind is spare from the next commit on; whose acknowledgement makes up for it
takes its place. So a slow or a dead one costs one such delay, once. Those that have to catch up,
learners, and all of them while leadership is handed over, get everything at once.

Egalitarian Paxos (Moraru, Andersen, Kaminsky, SOSP 2013) calls a leader thrifty that sends to a
quorum alone; this one is late with the others instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_app.core.progress import ProgressState
from raft_app.core.types import NO_REPLICA

if TYPE_CHECKING:
    from raft_app.core.progress import Progress
    from raft_app.core.raft import Raft


def waits(raft: Raft, progress: Progress) -> bool:
    """Tell whether what a peer lacks is left for `RawNode.send_to_spares`."""
    return (
        progress.is_spare
        and progress.state is ProgressState.REPLICATE
        and not progress.check_due
        and raft.transferee == NO_REPLICA
        and not raft.inflight_limits
        and raft.log.uncommitted_bytes <= raft.config.spares_wait_bytes
    )


def committed(raft: Raft, *, by_spare: bool) -> None:
    """Entries were just committed: choose the spare ones, where none are or one was the quicker.

    Args:
        raft: a leader.
        by_spare: it was the acknowledgement of a spare follower that a quorum lacked.
    """
    if raft.config.spares_wait_bytes and (by_spare or not raft.has_spares):
        _choose(raft)


def _choose(raft: Raft) -> None:
    needed = len(raft.memberships.voters) // 2 + 1 - raft.is_voter
    peers = [raft.progress[voter] for voter in raft.other_voters]
    peers.sort(key=_by_merit)
    for rank, progress in enumerate(peers):
        progress.is_spare = rank >= needed
    raft.has_spares = needed < len(peers)


def _by_merit(progress: Progress) -> tuple[int, bool]:
    """Return the key by which those come first that hold more."""
    return (-progress.match, progress.is_spare)


def choose_none(raft: Raft) -> None:
    """Send to everybody at once, until the next commit."""
    for progress in raft.progress.values():
        progress.is_spare = False
    raft.has_spares = False
