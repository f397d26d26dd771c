"""Handing leadership over (thesis, section 3.10), as its leader does it; see `election`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_app.core.errors import NodeNotLeader
from raft_app.core.types import Role, TimeoutNow

if TYPE_CHECKING:
    from raft_app.core.progress import Progress
    from raft_app.core.raft import Raft


def transfer_leadership(raft: Raft, to: int) -> None:
    """Begin to hand leadership to `to`; see `RawNode.transfer_leadership`."""
    if raft.role is not Role.LEADER:
        raise NodeNotLeader(raft.leader)
    if to not in raft.other_voters:
        raise ValueError(f"replica {to} is not another voter")
    if raft.transferee == to:
        return
    raft.begin_transfer(to)
    raft.sending_due = True
    continue_transfer(raft, raft.progress[to])


def continue_transfer(raft: Raft, progress: Progress) -> None:
    """Tell the transferee to campaign once it holds the whole log."""
    if progress.peer == raft.transferee and progress.match == raft.log.last_index:
        raft.outbox.now.append(TimeoutNow(progress.peer, raft.replica_id, raft.term))
