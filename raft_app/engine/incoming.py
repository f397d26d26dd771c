"""What the transport brings: RPCs for the nodes, news of connections, snapshots."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from raft_app.core.rpcs import Rpc
    from raft_app.engine.context import EngineContext
    from raft_app.engine.failover import Failover
    from raft_app.engine.snapshot_receiver import SnapshotReceiver
    from raft_app.transport.snapshot_stream import SnapshotStream

logger = logging.getLogger(__name__)


class Incoming:
    """Implements `raft_app.transport.transport.TransportHandler` for the groups of one engine."""

    def __init__(
        self,
        context: EngineContext,
        failover: Failover,
        snapshots: SnapshotReceiver,
        *,
        declines: Callable[[Rpc], bool],
    ) -> None:
        """Hand on what comes.

        Args:
            context: of the engine.
            failover: hears of lost connections.
            snapshots: takes snapshots in.
            declines: tells of an RPC that this broker lets pass by.
        """
        self._context = context
        self._failover = failover
        self._snapshots = snapshots
        self._declines = declines
        self.unknown_groups = 0
        """RPCs that named a group or replica that is not here."""

    def rpcs_received(self, broker_id: int, rpcs: list[tuple[int, Rpc]]) -> None:
        """Step the nodes that RPCs are for; those for nobody here are counted and dropped."""
        groups, mark = self._context.groups, self._context.turns.mark
        for group_id, rpc in rpcs:
            if self._declines(rpc):
                continue
            group = groups.get(group_id)
            if group is None or not group.step(broker_id, rpc):
                self.unknown_groups += 1
                continue
            mark(group)

    def peer_connected(self, broker_id: int) -> None:
        """Note a connection from a peer."""
        logger.info("broker %d connected", broker_id)

    def peer_lost(self, broker_id: int) -> None:
        """Start the failover of the groups that the lost broker leads."""
        logger.info("connection from broker %d lost", broker_id)
        self._failover.connection_lost(broker_id)

    def peer_unreachable(self, broker_id: int) -> None:
        """Let the leaders here probe their followers on that broker again."""
        for group in self._context.groups.values():
            replica_id = group.replica_on(broker_id)
            if replica_id and not group.faulty:
                group.node.report_unreachable(replica_id)
                if group.node.has_ready():
                    self._context.turns.mark(group)

    def snapshot_opened(self, stream: SnapshotStream) -> None:
        """Take in a snapshot that a leader sends."""
        self._snapshots.receive(stream)
