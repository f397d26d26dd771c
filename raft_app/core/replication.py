"""What a leader does: take proposals, send entries, commit, keep its followers (section 5.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_app.core import snapshots, spares, transfer
from raft_app.core.errors import DropReason, NodeNotLeader, NodeNotReady, ProposalDropped
from raft_app.core.progress import Progress, ProgressState
from raft_app.core.quorum import agreed_value
from raft_app.core.types import (
    NO_REPLICA,
    AppendEntries,
    AppendEntriesReply,
    EntriesWanted,
    Entry,
    EntryKind,
    Heartbeat,
    HeartbeatReply,
    Proposal,
    Role,
    bytes_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raft_app.core.raft import Raft


# --- proposals and reads --------------------------------------------------------------------


def propose(raft: Raft, proposals: Sequence[Proposal]) -> list[tuple[int, int]]:
    """Append all proposals or none; see `RawNode.propose`."""
    if raft.role is not Role.LEADER:
        raise NodeNotLeader(raft.leader)
    if raft.transferee != NO_REPLICA:
        raise ProposalDropped(DropReason.TRANSFER)
    log = raft.log
    if log.applied_index < raft.term_start_index:
        raise ProposalDropped(DropReason.NOT_READY)
    term = raft.term
    first_index = log.last_index + 1
    entries, positions = [], []
    for index, proposal in enumerate(proposals, first_index):
        match proposal:
            case Proposal(kind, data, base_offset, record_count, append_timestamp):
                assert kind != EntryKind.MEMBERSHIP, "not a proposal"
                entries.append(
                    Entry(index, term, kind, data, base_offset, record_count, append_timestamp)
                )
                positions.append((index, term))
    # A single entry always may be uncommitted, alone.
    is_first = log.last_index == log.commit_index and len(entries) == 1
    if not (is_first or _fits_limits(raft, entries)):
        raise ProposalDropped(DropReason.LIMIT)
    log.append(entries)
    raft.sending_due = True
    return positions


def _fits_limits(raft: Raft, entries: Sequence[Entry]) -> bool:
    """Tell whether that much more may be uncommitted."""
    uncommitted = raft.log.last_index - raft.log.commit_index
    size_bytes = raft.log.uncommitted_bytes + bytes_of(entries)
    return (
        uncommitted + len(entries) <= raft.config.max_uncommitted_entries
        and size_bytes <= raft.config.max_uncommitted_bytes
    )


def read_index(raft: Raft, context: int) -> None:
    """Register a read; see `RawNode.read_index`."""
    if raft.role is not Role.LEADER:
        raise NodeNotLeader(raft.leader)
    if not raft.serves:
        raise NodeNotReady("the no-op of the term is not applied yet")
    raft.reads.add(context, raft.log.commit_index)


# --- sending ----------------------------------------------------------------------------------


def send_due(raft: Raft) -> None:
    """Send what proposals, replies and reads since the last time allow; once per `Ready`."""
    if raft.reads.unstarted:
        raft.reads.start_round()
        send_heartbeats(raft)
        _confirm_reads(raft)
    if raft.sending_due:
        raft.sending_due = False
        last_index = raft.log.last_index
        for progress in raft.progress.values():
            if raft.has_spares and spares.waits(raft, progress):
                raft.spares_due |= progress.next_index <= last_index
            else:
                _send_to(raft, progress)


def send_to_spares(raft: Raft) -> None:
    """Send what waited; see `RawNode.send_to_spares`."""
    raft.spares_due = False
    for progress in raft.progress.values():
        if progress.is_spare:
            _send_to(raft, progress)


def send_heartbeats(raft: Raft) -> None:
    """Send one Heartbeat to every peer, with the number of the latest read round."""
    commit = raft.log.commit_index
    context = raft.reads.round_number
    raft.outbox.now.extend(
        Heartbeat(peer, raft.replica_id, raft.term, min(progress.match, commit), context)
        for peer, progress in raft.progress.items()
    )


def is_held(raft: Raft, progress: Progress) -> bool:
    """Tell whether entries wait for a peer only because `inflight_limits` names it."""
    limit = raft.inflight_limits.get(progress.peer)
    return (
        limit is not None
        and progress.inflight_bytes >= limit
        and progress.next_index <= raft.log.last_index
        and progress.may_send(raft.config)
    )


def _may_send(raft: Raft, progress: Progress) -> bool:
    """Tell whether another AppendEntries with entries may be sent to a peer now."""
    if raft.inflight_limits:
        limit = raft.inflight_limits.get(progress.peer)
        if limit is not None and progress.inflight_bytes >= limit:
            return False
    return progress.may_send(raft.config)


def _send_to(raft: Raft, progress: Progress) -> None:
    """Send what the peer lacks, as far as the window and the entries in memory allow.

    Ask where the logs agree if that is due and nothing was sent.

    The question is an empty AppendEntries. It costs little, however often it repeats while a slow
    disk delays the acknowledgements, and its refusal shows a loss that nothing else would.
    """
    if progress.next_index < raft.log.first_index:
        if progress.check_due or progress.may_send(raft.config):
            progress.check_due = False
            snapshots.want_snapshot(raft, progress)
        return
    log, has_sent = raft.log, False
    while progress.next_index <= log.last_index and _may_send(raft, progress):
        if progress.next_index < log.recent_first:
            _want_entries(raft, progress)
            break
        entries, size_bytes = log.recent_entries(progress.next_index, raft.config.max_append_bytes)
        _append_to(raft, progress, entries, size_bytes)
        has_sent = True
    if not progress.check_due:
        return
    progress.check_due = False
    if not has_sent and _may_lack(raft, progress) and progress.wanted is None:
        _append_to(raft, progress, (), 0)


def _may_lack(raft: Raft, progress: Progress) -> bool:
    if progress.state is ProgressState.SNAPSHOT:
        return False
    return progress.match < raft.log.last_index or progress.state is ProgressState.PROBE


def _append_to(raft: Raft, progress: Progress, entries: tuple[Entry, ...], size_bytes: int) -> None:
    """Send one AppendEntries from `next_index` on; an empty one only asks where the logs agree."""
    prev_index = progress.next_index - 1
    prev_term = raft.log.term_at(prev_index)
    assert prev_term is not None, "nothing is sent to a peer that lacks what the log lacks"
    if entries:
        progress.sent(entries[-1].index, size_bytes)
    raft.outbox.now.append(
        AppendEntries(
            progress.peer,
            raft.replica_id,
            raft.term,
            prev_index,
            prev_term,
            entries,
            raft.log.commit_index,
        )
    )


def _want_entries(raft: Raft, progress: Progress) -> None:
    """Ask for entries that are no longer in memory; one range per peer at a time."""
    progress.wanted = EntriesWanted(
        peer=progress.peer,
        first_index=progress.next_index,
        last_index=raft.log.recent_first - 1,
        max_bytes=raft.config.max_append_bytes,
    )
    raft.outbox.wanted.append(progress.wanted)


def entries_read(raft: Raft, wanted: EntriesWanted, entries: Sequence[Entry]) -> None:
    """Send entries that were read from storage, if the peer still needs just these.

    When none could be read, the next heartbeat replies of the peer lead to another try.
    """
    progress = raft.progress.get(wanted.peer)
    if progress is None or progress.wanted != wanted:
        return
    progress.wanted = None
    if wanted.first_index < raft.log.first_index:
        raft.sending_due = True  # Compacted meanwhile, so that it can only be a snapshot now.
        return
    if not entries:
        return
    assert entries[0].index == wanted.first_index, "a prefix of the range is wanted"
    assert raft.log.term_at(entries[-1].index) == entries[-1].term, "not of this log"
    raft.sending_due = True
    if progress.next_index == wanted.first_index and _may_send(raft, progress):
        _append_to(raft, progress, tuple(entries), bytes_of(entries))


# --- replies ----------------------------------------------------------------------------------


def append_entries_reply(raft: Raft, rpc: AppendEntriesReply) -> None:
    """Note what a peer holds durably, or try further back."""
    progress = raft.progress.get(rpc.sender)
    if progress is None:
        return
    if rpc.wants_snapshot:
        snapshots.want_snapshot(raft, progress)
        return
    if progress.state is ProgressState.SNAPSHOT and not _ends_snapshot(raft, rpc):
        return
    if not rpc.success:
        possible_match, _ = raft.log.last_possible_match(rpc.conflict_index, rpc.conflict_term)
        if progress.refused(rpc.index, possible_match):
            raft.sending_due = True
        return
    assert rpc.index <= raft.log.last_index, "a peer holds more than its leader sent"
    is_news = progress.acknowledged(rpc.index)
    if progress.next_index <= raft.log.last_index:
        raft.sending_due = True
    if is_news:
        if rpc.index > raft.log.commit_index:
            _commit_with(raft, progress)
        if raft.transferee != NO_REPLICA:
            transfer.continue_transfer(raft, progress)


def _ends_snapshot(raft: Raft, rpc: AppendEntriesReply) -> bool:
    """Tell whether a peer holds so much that the log has what follows."""
    return rpc.success and rpc.index + 1 >= raft.log.first_index


def _commit_with(raft: Raft, progress: Progress) -> None:
    """Commit what a quorum holds now that a peer has told how much it does."""
    commit_agreed(raft)
    if progress.match <= raft.log.commit_index:
        spares.committed(raft, by_spare=progress.is_spare)


def commit_agreed(raft: Raft) -> None:
    """Commit what a quorum holds durably, if it is of the own term (sections 5.3 and 5.4.2).

    Entries of earlier terms are committed with it; by themselves they may still be overwritten.
    """
    durable_index, progress, own = raft.log.durable_index, raft.progress, raft.replica_id
    held = []
    for voter in raft.memberships.voters:
        held.append(durable_index if voter == own else progress[voter].match)  # noqa: PERF401
    agreed = agreed_value(held)
    if agreed >= raft.term_start_index:
        raft.log.commit_to(agreed)


def members_changed(raft: Raft) -> None:
    """Send to new members, and ask the new quorum what is committed and which reads hold."""
    next_index = raft.log.last_index  # The change itself: its refusal tells what else is missing.
    raft.progress = {
        peer: raft.progress.get(peer) or Progress(peer, next_index) for peer in raft.peers
    }
    raft.sending_due = True
    spares.choose_none(raft)
    commit_agreed(raft)
    _confirm_reads(raft)


def heartbeat_reply(raft: Raft, rpc: HeartbeatReply) -> None:
    """Note that a peer follows; make up for what may have been lost on the way to it."""
    progress = raft.progress.get(rpc.sender)
    if progress is None:
        return
    if rpc.context > progress.read_round:
        progress.read_round = rpc.context
        if raft.reads.is_waiting:
            _confirm_reads(raft)
    if progress.heartbeat_answered() and _may_lack(raft, progress):
        progress.check_due = True
        raft.sending_due = True


def _confirm_reads(raft: Raft) -> None:
    """Confirm every read whose round a quorum has answered (thesis, section 6.4)."""
    rounds = [
        raft.reads.round_number if voter == raft.replica_id else raft.progress[voter].read_round
        for voter in raft.memberships.voters
    ]
    raft.reads.confirm(agreed_value(rounds))


def unreachable(raft: Raft, peer: int) -> None:
    """What was sent to `peer` may be lost: probe it, as soon as it answers a heartbeat."""
    progress = raft.progress.get(peer)
    if progress is not None:
        progress.unreachable(raft.log.first_index)
