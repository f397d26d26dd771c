"""What one turn of the engine's loop collects before it goes out: RPCs, writes, wishes, news."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raft_app.core.rpcs import Rpc
    from raft_app.core.types import EntriesWanted, Write
    from raft_app.engine.group import Group
    from raft_app.storage.storage import Operation, StoredBatch


@dataclass(slots=True)
class Turn:
    """The effects of one turn, in memory; the engine carries them out when the turn ends."""

    rpcs: dict[int, list[tuple[int, Rpc]]] = field(default_factory=dict)
    """By broker id: (group id, RPC)."""
    writes: list[tuple[Group, Operation, Write | None]] = field(default_factory=list)
    wanted: list[tuple[Group, EntriesWanted]] = field(default_factory=list)
    snapshots: list[tuple[Group, int]] = field(default_factory=list)
    """Replica ids of peers that need a snapshot."""
    batches: list[tuple[Group, StoredBatch]] = field(default_factory=list)
    """Newly applied batches."""
    applied_groups: dict[int, Group] = field(default_factory=dict)
    leadership_groups: dict[int, Group] = field(default_factory=dict)

    def send(self, group: Group, rpcs: Sequence[Rpc]) -> None:
        """Send RPCs to the brokers of their receivers; a receiver that is no member gets none."""
        for rpc in rpcs:
            broker_id = group.broker_of(rpc.to)
            if broker_id:
                self.rpcs.setdefault(broker_id, []).append((group.group_id, rpc))

    def store(self, group: Group, operation: Operation, write: Write | None) -> None:
        """Store an operation; `write` is reported back to the group once it is durable."""
        self.writes.append((group, operation, write))

    def read(self, group: Group, wanted: EntriesWanted) -> None:
        """Read older entries for a group's node."""
        self.wanted.append((group, wanted))

    def want_snapshot(self, group: Group, peer: int) -> None:
        """Send a snapshot to a peer."""
        self.snapshots.append((group, peer))

    def append_tail(self, group: Group, batch: StoredBatch) -> None:
        """Keep an applied batch in memory for readers that keep up."""
        self.batches.append((group, batch))

    def applied(self, group: Group) -> None:
        """Tell the listeners that a group applied entries."""
        self.applied_groups[group.group_id] = group

    def changed_leadership(self, group: Group) -> None:
        """Tell the listeners that role, leader or term of a group changed."""
        self.leadership_groups[group.group_id] = group
