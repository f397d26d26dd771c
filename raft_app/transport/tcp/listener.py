"""The incoming side: the listening port and the connections that peers made to it."""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import TYPE_CHECKING

from raft_app.transport.handshake import CHALLENGE_BYTES, AcceptorHandshake, Purpose
from raft_app.transport.tcp.connection import SHUTDOWN_S, Connection
from raft_app.transport.tcp.snapshots import TcpSnapshotStream

if TYPE_CHECKING:
    from collections.abc import Callable

    from raft_app.core.types import Rpc
    from raft_app.transport.tcp.connection import TcpContext

logger = logging.getLogger(__name__)


class Listener:
    """Accepts connections; at most one authenticated one for RPCs per peer, the newest."""

    def __init__(self, context: TcpContext, peer_seen: Callable[[int], None]) -> None:
        """Prepare.

        Args:
            context: what the transport shares.
            peer_seen: called with the broker id whenever a peer has proven itself.
        """
        self._context = context
        self._peer_seen = peer_seen
        self._acceptor: asyncio.Server | None = None
        self._unauthenticated: dict[Connection, None] = {}  # oldest first
        self._incoming: dict[int, Connection] = {}
        self._snapshots: set[Connection] = set()
        self._open: set[Connection] = set()
        self._closing = False

    @property
    def connected_peers(self) -> frozenset[int]:
        """Broker ids whose incoming connection is up."""
        return frozenset(self._incoming)

    async def start(self, host: str, port: int) -> int:
        """Listen and return the port, which is `port` unless that is 0.

        Raises:
            OSError: the port cannot be listened on.
        """
        loop, context = asyncio.get_running_loop(), self._context
        if context.tls is None or context.tls.peers is None:
            self._acceptor = await loop.create_server(self._make_connection, host, port)
        else:
            self._acceptor = await loop.create_server(
                self._make_connection,
                host,
                port,
                ssl=context.tls.peers,
                ssl_handshake_timeout=context.limits.handshake_timeout_ms / 1000,
                ssl_shutdown_timeout=SHUTDOWN_S,
            )
        bound: int = self._acceptor.sockets[0].getsockname()[1]
        return bound

    def check(self, now: float, *, stalled: bool) -> None:
        """Close the connections of silent peers."""
        for connection in tuple(self._incoming.values()):
            connection.check(now, stalled=stalled)

    def close(self) -> None:
        """Stop listening and give up all connections; nobody is told."""
        self._closing = True
        if self._acceptor is not None:
            self._acceptor.close()
        self._incoming.clear()
        self._unauthenticated.clear()
        for connection in tuple(self._open):
            connection.abort()

    async def wait_closed(self) -> None:
        """Return when nothing is left of it after `close`."""
        for connection in tuple(self._open):
            await connection.closed.wait()
        if self._acceptor is not None:
            await self._acceptor.wait_closed()

    # --- called by the connections -----------------------------------------------------------

    def connection_made(self, connection: Connection) -> None:
        """Bound the number of strangers: the oldest gives way to the newest."""
        self._open.add(connection)
        if self._closing:
            connection.abort()
            return
        self._unauthenticated[connection] = None
        if len(self._unauthenticated) > self._context.limits.max_unauthenticated_connections:
            oldest = next(iter(self._unauthenticated))
            del self._unauthenticated[oldest]
            oldest.reject("crowded", "too many connections without a handshake")

    def connection_ready(self, connection: Connection) -> None:
        """Make it the peer's one connection; one for a snapshot goes to the handler."""
        broker_id = connection.broker_id
        self._unauthenticated.pop(connection, None)
        if connection.purpose is Purpose.SNAPSHOT:
            self._take_snapshot(connection)
            return
        older = self._incoming.get(broker_id)
        self._incoming[broker_id] = connection
        if older is not None:
            logger.info("Broker %d connected anew", broker_id)
            older.abort()
        else:
            logger.info("Broker %d connected", broker_id)
            self._context.handler.peer_connected(broker_id)
        self._peer_seen(broker_id)

    def connection_writable(self, connection: Connection) -> None:
        """Do nothing: after the handshake nothing is written to a peer that dialled."""

    def connection_rpcs(self, connection: Connection, rpcs: list[tuple[int, Rpc]]) -> None:
        """Hand them on."""
        self._context.handler.rpcs_received(connection.broker_id, rpcs)

    def connection_lost(self, connection: Connection) -> None:
        """Forget it; a peer whose one connection it was is lost."""
        self._open.discard(connection)
        self._unauthenticated.pop(connection, None)
        self._snapshots.discard(connection)
        broker_id = connection.broker_id
        if self._incoming.get(broker_id) is connection:
            del self._incoming[broker_id]
            logger.warning("Lost the connection from broker %d", broker_id)
            self._context.handler.peer_lost(broker_id)

    # --- inside ------------------------------------------------------------------------------

    def _take_snapshot(self, connection: Connection) -> None:
        if len(self._snapshots) >= self._context.limits.max_snapshot_connections:
            connection.reject("crowded", "too many snapshots at once")
            return
        self._snapshots.add(connection)
        self._context.handler.snapshot_opened(TcpSnapshotStream(connection))

    def _make_connection(self) -> Connection:
        handshake = AcceptorHandshake(self._context.identity, secrets.token_bytes(CHALLENGE_BYTES))
        return Connection(self._context, self, handshake, dialled=False)
