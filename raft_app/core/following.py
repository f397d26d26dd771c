"""What a follower does with the RPCs of a leader (paper, section 5.3), and of former leaders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_app.core import election
from raft_app.core.types import (
    AppendEntries,
    AppendEntriesReply,
    Heartbeat,
    HeartbeatReply,
    Quiesce,
    RequestVote,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raft_app.core.raft import Raft
    from raft_app.core.types import Entry, Rpc


def append_entries(raft: Raft, rpc: AppendEntries) -> None:
    """Make the log agree with the leader's, or say where it may agree."""
    raft.hear_leader(rpc.sender)
    log = raft.log
    if log.is_frozen:
        _ask_for_snapshot(raft, rpc)
        return
    new: Sequence[Entry] = rpc.entries
    if rpc.prev_index != log.last_index or rpc.prev_term != log.last_term:
        if rpc.prev_index < log.commit_index:
            # What is committed agrees with every later leader, so only the rest is of interest.
            new = new[log.commit_index - rpc.prev_index :]
        elif log.term_at(rpc.prev_index) != rpc.prev_term:
            _refuse(raft, rpc)
            return
        new = log.not_in_log(new)
    if new:
        _replace_tail(raft, new)
    last_new = max(rpc.prev_index + len(rpc.entries), log.commit_index)
    log.commit_to(min(rpc.commit, last_new))
    if not raft.may_vote:  # It may have had a later term, whose leader relied on it.
        raft.agreed = (raft.term, last_new)
        return
    raft.outbox.acknowledge(
        AppendEntriesReply(
            to=rpc.sender,
            sender=raft.replica_id,
            term=raft.term,
            success=True,
            index=last_new,
            last_index=log.last_index,
        )
    )


def _replace_tail(raft: Raft, entries: Sequence[Entry]) -> None:
    first_index = entries[0].index
    if first_index <= raft.log.last_index:
        raft.log.truncate(first_index)
        raft.entries_overwritten(first_index)
    raft.log.append(entries)
    raft.entries_added(entries)


def _refuse(raft: Raft, rpc: AppendEntries) -> None:
    log = raft.log
    conflict_index, conflict_term = log.last_possible_match(rpc.prev_index, rpc.prev_term)
    raft.outbox.after_durable.append(
        AppendEntriesReply(
            to=rpc.sender,
            sender=raft.replica_id,
            term=raft.term,
            success=False,
            index=rpc.prev_index,
            conflict_index=conflict_index,
            conflict_term=conflict_term,
            last_index=log.last_index,
        )
    )


def _ask_for_snapshot(raft: Raft, rpc: AppendEntries) -> None:
    """Say that nothing but a snapshot will do, also to a leader that has never offered one."""
    raft.outbox.after_durable.append(
        AppendEntriesReply(
            to=rpc.sender,
            sender=raft.replica_id,
            term=raft.term,
            success=False,
            index=rpc.prev_index,
            last_index=raft.log.last_index,
            wants_snapshot=True,
        )
    )


def heartbeat(raft: Raft, rpc: Heartbeat) -> None:
    """Note that the leader lives, and what is committed of what we hold.

    `commit` is at most what this node acknowledged, so it lies in the log unless this node lost
    what it once stored; such a replica must not take it for committed, and must vote no more. What
    lies there may be something else, too, that the group overwrote since: as long as nobody has
    vouched for this node, it is committed up to where AppendEntries of this leader agreed, no
    further. A frozen log says nothing.
    """
    raft.hear_leader(rpc.sender)
    if not raft.log.is_frozen:
        if rpc.commit > raft.log.last_index:
            raft.lost_index = rpc.commit
            raft.may_vote = False
        elif raft.may_vote:
            raft.log.commit_to(rpc.commit)
        elif raft.agreed[0] == raft.term:
            raft.log.commit_to(min(rpc.commit, raft.agreed[1]))
    # Nor does who may have had a later term confirm that this leader still leads.
    context = rpc.context if raft.may_vote else 0
    raft.outbox.now.append(HeartbeatReply(rpc.sender, raft.replica_id, raft.term, context))


def answer_stale(raft: Raft, rpc: Rpc) -> None:
    """Tell the sender of an RPC from an earlier term about ours, so that it steps down.

    Late replies and requests to take over need no answer.
    """
    match rpc:
        case AppendEntries():
            raft.outbox.after_durable.append(
                AppendEntriesReply(
                    to=rpc.sender,
                    sender=raft.replica_id,
                    term=raft.term,
                    success=False,
                    index=rpc.prev_index,
                    last_index=raft.log.last_index,
                )
            )
        case Heartbeat() | Quiesce():
            raft.outbox.now.append(HeartbeatReply(rpc.sender, raft.replica_id, raft.term))
        case RequestVote():
            election.refuse_vote(raft, rpc)
        case _:
            pass
