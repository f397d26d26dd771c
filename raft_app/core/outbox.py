"""What one `Ready` will carry away: RPCs by when they may leave, and wishes of the leader."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from raft_app.core.types import AppendEntriesReply

if TYPE_CHECKING:
    from raft_app.core.types import EntriesWanted, Rpc, SnapshotWanted

Item = TypeVar("Item")


def drain(items: list[Item]) -> tuple[Item, ...]:
    """Return what a list holds and leave it empty."""
    drained = tuple(items)
    items.clear()
    return drained


class Outbox:
    """RPCs and read wishes collected since the last `Ready`.

    Attributes:
        now: what promises nothing about this node's disk.
        after_durable: votes, requests for votes and append replies: they may leave only when
            everything written so far is durable.
        wanted: older entries to be read from storage.
        snapshots_wanted: peers that only a snapshot can help.
    """

    __slots__ = ("after_durable", "now", "snapshots_wanted", "wanted")

    def __init__(self) -> None:
        self.now: list[Rpc] = []
        self.after_durable: list[Rpc] = []
        self.wanted: list[EntriesWanted] = []
        self.snapshots_wanted: list[SnapshotWanted] = []

    def acknowledge(self, reply: AppendEntriesReply) -> None:
        """Put a success reply; it replaces one right before it that says less of the same."""
        if self.after_durable:
            last = self.after_durable[-1]
            if (
                isinstance(last, AppendEntriesReply)
                and last.success
                and last.to == reply.to
                and last.term == reply.term
                and last.index <= reply.index
            ):
                self.after_durable[-1] = reply
                return
        self.after_durable.append(reply)

    def drop_acknowledgements(self) -> None:
        """Take back what says that entries are or will be durable: they will not be."""
        self.after_durable = [
            rpc
            for rpc in self.after_durable
            if not (isinstance(rpc, AppendEntriesReply) and rpc.success)
        ]
