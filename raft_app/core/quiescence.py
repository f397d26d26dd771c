"""Sleep: a group without traffic costs nothing until something happens.

A leader that has nothing under way, and whose log is committed, applied and held by every member
that is heard, tells the others so and falls asleep; who is told and holds the same log falls asleep
too. No time passes for a node that sleeps: it sends no heartbeats and misses none.

Waking needs no agreement, and whatever wakes a node by mistake costs a few heartbeats. So a Quiesce
that is lost, late or doubled is harmless: who was not told goes on waiting for heartbeats, asks for
pre-votes in the end, and thereby wakes the others.

- A proposal, a read, a change of the members or of the leader wakes the node that it comes to.
- Every RPC wakes its receiver, but for replies to what was sent before the sleep, and pre-votes of
  who is no member any more: who sleeps knows all members. A follower that
  somebody else than its leader woke wakes its leader with a Wake: without heartbeats it would soon
  take part in deposing it.
- What the heartbeats watched over, the life of the leader, is watched by whoever drives the node:
  the word that the connection from the leader broke (`RawNode.report_connection_lost`) must come
  also when the leader's process falls silent.
- The same word wakes a leader that is left without a quorum, to find out by its check-quorum. It
  confirms no read meanwhile, since a read needs a round of heartbeats.
- Thousands of groups that lost one broker wake one after the other: what drives them lets them
  sleep on, hearing their leader no more, until their turn. Nobody needs them meanwhile, or an RPC
  or a request wakes them. Who is elected in such a group, and finds nothing to do, sleeps again at
  once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_app.core.progress import ProgressState
from raft_app.core.quorum import is_quorum
from raft_app.core.types import (
    NO_REPLICA,
    AppendEntriesReply,
    HeartbeatReply,
    PreVote,
    Quiesce,
    Role,
    Wake,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from raft_app.core.progress import Progress
    from raft_app.core.raft import Raft
    from raft_app.core.types import Rpc


# --- of a leader ------------------------------------------------------------------------------


def is_due(raft: Raft) -> bool:
    """Tell whether a leader has had nothing under way for long enough; asked at each heartbeat."""
    if not raft.config.quiesce_after_ticks:
        return False
    mark = (raft.log.last_index, raft.reads.round_number) if _is_quiet(raft) else None
    if mark is None or mark != raft.quiet_mark:
        raft.quiet_mark, raft.quiet_since = mark, raft.now
        return False
    if raft.is_tired and raft.log.last_index == raft.term_start_index and _hold_all(raft):
        return True
    raft.is_tired = False
    return raft.now - raft.quiet_since >= raft.config.quiesce_after_ticks


def _hold_all(raft: Raft) -> bool:
    """Tell whether every peer that is connected was heard, and so holds the whole log."""
    return all(one.is_heard for one in raft.progress.values() if one.is_connected)


def _is_quiet(raft: Raft) -> bool:
    """Tell whether a leader has nothing under way, and a quorum that is heard holds its log."""
    log, reads = raft.log, raft.reads
    if not log.last_index == log.durable_index == log.commit_index == log.applied_index:
        return False
    if raft.transferee != NO_REPLICA or reads.unstarted or reads.is_waiting:
        return False
    if not all(_needs_nothing(raft, progress) for progress in raft.progress.values()):
        return False
    return _has_quorum(raft, lambda progress: progress.is_following)


def _has_quorum(raft: Raft, counts: Callable[[Progress], bool]) -> bool:
    """Tell whether a leader and its connected peers that count are a quorum."""
    peers = {one.peer for one in raft.progress.values() if one.is_connected and counts(one)}
    return is_quorum(raft.memberships.voters, {raft.replica_id, *peers})


def _needs_nothing(raft: Raft, progress: Progress) -> bool:
    """Tell whether a peer holds the whole log, or has not been heard for a while."""
    if not progress.is_heard:
        return True
    return progress.state is ProgressState.REPLICATE and progress.match == raft.log.last_index


def begin(raft: Raft) -> None:
    """Let the group sleep: tell the others, but for those that lag, and fall asleep."""
    for peer, progress in raft.progress.items():
        if not _lags(raft, peer):
            _tell(raft, peer)
        if not (progress.is_connected and progress.is_heard):
            progress.is_connected = False  # Nobody would tell that it is lost: it is already.
            progress.forget_answers()
    raft.fall_asleep()


def _lags(raft: Raft, peer: int) -> bool:
    return raft.progress[peer].match < raft.log.last_index


def _tell(raft: Raft, peer: int) -> None:
    lagging = tuple(other for other in raft.progress if _lags(raft, other))
    raft.outbox.now.append(
        Quiesce(peer, raft.replica_id, raft.term, raft.log.commit_index, lagging)
    )


def peer_lost(raft: Raft, peer: int, *, wakes: bool) -> None:
    """The connection from a peer broke: wake when too few are left, to see who follows.

    While a leader sleeps, the connection stands for the answers to heartbeats.
    """
    progress = raft.progress.get(peer)
    if progress is None:
        return
    progress.is_connected = False
    if raft.is_asleep:
        progress.forget_answers()
        if wakes and not may_stay(raft):
            raft.wake()


def peer_found(raft: Raft, peer: int) -> None:
    """A peer that was taken for lost was but silent: sleep on as if nothing had been."""
    if not raft.is_asleep:
        return
    if peer == raft.leader:
        raft.find_leader_connection()
    progress = raft.progress.get(peer)
    if progress is not None:
        progress.is_connected = True


def may_stay(raft: Raft) -> bool:
    """Tell whether a node that sleeps may: it hears its leader, or leads and hears a quorum."""
    if raft.is_leader:
        return _has_quorum(raft, lambda _: True)
    return raft.hears_leader


def strand(raft: Raft) -> None:
    """Sleep without a leader; see `RawNode.strand`."""
    if raft.is_leader or raft.leader != NO_REPLICA or raft.role is Role.CANDIDATE:
        return
    if raft.role is Role.PRE_CANDIDATE:
        raft.become_follower(raft.term, NO_REPLICA)
    raft.is_tired = True
    raft.rest()


def peer_back(raft: Raft, peer: int) -> None:
    """A peer is there again: let it sleep too, or wake for it when it lags.

    Its process may have started anew, and what starts knows no leader. Nothing happens on a node
    that is awake or does not lead.
    """
    progress = raft.progress.get(peer)
    if progress is None or not raft.is_asleep:
        return
    progress.reachable()
    if _lags(raft, peer):
        raft.wake()
    else:
        _tell(raft, peer)


# --- of a follower ----------------------------------------------------------------------------


def quiesce(raft: Raft, rpc: Quiesce) -> None:
    """Fall asleep with the leader, or say that this node cannot."""
    raft.hear_leader(rpc.sender)
    log = raft.log
    if not raft.may_vote or log.is_frozen or not log.last_index == log.durable_index == rpc.commit:
        decline(raft)
        return
    log.commit_to(rpc.commit)
    raft.fall_asleep()


def decline(raft: Raft) -> None:
    """Be awake, and wake the leader."""
    raft.wake()
    if raft.leader not in {NO_REPLICA, raft.replica_id}:
        raft.outbox.now.append(Wake(raft.leader, raft.replica_id, raft.term))


# --- of both ----------------------------------------------------------------------------------


def disturb(raft: Raft, rpc: Rpc) -> None:
    """Wake for an RPC that comes to a node that sleeps, before it is taken in."""
    is_strange = isinstance(rpc, PreVote) and rpc.sender not in raft.peers
    if is_strange or (rpc.term == raft.term and _is_echo(raft, rpc)):
        return
    if rpc.sender == raft.leader or raft.is_leader:
        raft.wake()
    else:
        decline(raft)


def _is_echo(raft: Raft, rpc: Rpc) -> bool:
    """Tell whether an RPC is no reason to wake: it answers what was sent before the sleep."""
    match rpc:
        case HeartbeatReply():
            return raft.is_leader
        case AppendEntriesReply():
            progress = raft.progress.get(rpc.sender)
            return progress is not None and rpc.success and rpc.index <= progress.match
        case Quiesce():
            # Taken in as ever by who knows the leader: it may ask for more than this node has.
            return rpc.sender == raft.leader
        case _:
            return False


def woken(raft: Raft, rpc: Wake) -> None:
    """Take in a Wake, for which this node woke if it slept."""
    raft.stay_awake()
    if rpc.sender == raft.leader:
        raft.lose_leader_connection()
