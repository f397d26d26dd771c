"""How scenario files show the core's values: one line each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_app.core.types import AppendEntries, AppendEntriesReply, EntryKind, Heartbeat, Membership

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from raft_app.core.types import Entry, Ready, Rpc


def show_entry(entry: Entry) -> str:
    """Return index/term and what the entry carries."""
    text = entry.kind.name.lower()
    if entry.kind == EntryKind.DATA:
        text = entry.data.decode()
        text = text if len(text) <= 12 else f"{text[:8]}..({len(text)})"
    if entry.kind == EntryKind.MEMBERSHIP:
        text = f"membership{show_membership(Membership.decode(entry.data))}"
    return f"{entry.index}/{entry.term}:{text}"


def show_entries(entries: Sequence[Entry]) -> str:
    """Return entries in brackets; a long list by its ends."""
    if len(entries) > 6:
        return f"[{show_entry(entries[0])} .. {show_entry(entries[-1])}]"
    return "[" + " ".join(show_entry(entry) for entry in entries) + "]"


def show_membership(membership: Membership) -> str:
    """Return the replica ids of voters and learners."""
    voters = ",".join(str(member.replica_id) for member in membership.voters)
    learners = ",".join(str(member.replica_id) for member in membership.learners)
    return f"({voters}|{learners})" if learners else f"({voters})"


def show_rpc(rpc: Rpc) -> str:
    """Return one line that says all about an RPC."""
    head = f"{rpc.sender}->{rpc.to} {type(rpc).__name__} term={rpc.term}"
    match rpc:
        case AppendEntries():
            entries = show_entries(rpc.entries)
            return f"{head} prev={rpc.prev_index}/{rpc.prev_term} commit={rpc.commit} {entries}"
        case AppendEntriesReply(success=True):
            return f"{head} success index={rpc.index}"
        case AppendEntriesReply(wants_snapshot=True):
            return f"{head} wants a snapshot"
        case AppendEntriesReply():
            hint = f"{rpc.conflict_index}/{rpc.conflict_term}"
            return f"{head} refused index={rpc.index} hint={hint} last={rpc.last_index}"
        case Heartbeat():
            return f"{head} commit={rpc.commit} context={rpc.context}"
        case _:
            names = [name for name in rpc.__slots__ if name not in {"to", "sender", "term"}]
            return " ".join([head, *(f"{name}={getattr(rpc, name)}" for name in names)])


def show_ready(ready: Ready) -> Iterator[str]:
    """Yield a line for each thing that a `Ready` wants done."""
    if ready.soft_state is not None:
        soft = ready.soft_state
        yield f"  soft state: {soft.role} term={soft.term} leader={soft.leader}"
    if ready.write is not None:
        line = f"  write {ready.write.write_id}:"
        if (hard := ready.write.hard_state) is not None:
            line += f" term={hard.term} vote={hard.vote} commit={hard.commit}"
        if ready.write.entries:
            line += f" {show_entries(ready.write.entries)}"
        yield line
    yield from show_sending(ready)
    if ready.committed:
        yield f"  committed: {show_entries(ready.committed)}"
    for read in ready.reads_confirmed:
        yield f"  read {read.context} confirmed at {read.index}"
    for context in ready.reads_failed:
        yield f"  read {context} failed"


def show_sending(ready: Ready) -> Iterator[str]:
    """Yield a line for each RPC and for each range of older entries to be read."""
    for rpc in ready.send_now:
        yield f"  now: {show_rpc(rpc)}"
    for rpc in ready.send_after_durable:
        yield f"  after write {ready.after_write_id}: {show_rpc(rpc)}"
    for wanted in ready.entries_wanted:
        yield f"  wanted for {wanted.peer}: {wanted.first_index}..{wanted.last_index}"
    for snapshot in ready.snapshots_wanted:
        yield f"  wanted for {snapshot.peer}: a snapshot"
