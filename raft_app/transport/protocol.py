"""What the engine wants of a transport: a protocol, its limits and its counters.

Two implementations pass one test suite: `raft_app.transport.tcp.transport` (frames over TCP) and
`tests.doubles.transport` (a twin inside one event loop whose links can be cut). A transport may
lose RPCs, never alters or duplicates them, and keeps the order of those of one kind.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from raft_app.core.types import Rpc
    from raft_app.transport.snapshot_stream import SnapshotStream


class TransportHandler(Protocol):
    """Who is told what happens; called in the transport's event loop.

    Never called from inside `RaftTransport.send` or `RaftTransport.set_peers`, nor after
    `RaftTransport.stop` was called. For one broker `peer_connected` and `peer_lost` take turns.
    """

    def rpcs_received(self, broker_id: int, rpcs: list[tuple[int, Rpc]]) -> None:
        """Take what came in one piece from a broker.

        Args:
            broker_id: the broker that sent it, proven by the handshake.
            rpcs: (group id, RPC), in the order sent. The group may be unknown here. Empty for a
                mere sign of life.
        """

    def peer_connected(self, broker_id: int) -> None:
        """Note that the incoming connection from that broker is up."""

    def peer_lost(self, broker_id: int) -> None:
        """Note that the incoming connection from that broker broke (the failover hint)."""

    def peer_unreachable(self, broker_id: int) -> None:
        """Note that RPCs to that broker were lost.

        Told once each time that our own connection to it breaks or its append queue overflows.
        """

    def snapshot_opened(self, stream: SnapshotStream) -> None:
        """Take over a snapshot connection that a peer made, and close it in the end."""


class RaftTransport(Protocol):
    """Carries RPCs between brokers."""

    counters: TransportCounters

    @property
    def broker_id(self) -> int:
        """The broker that it belongs to."""

    @property
    def connected_peers(self) -> frozenset[int]:
        """Broker ids whose incoming connection is up."""

    @property
    def reached_peers(self) -> frozenset[int]:
        """Broker ids to which the outgoing connection is up."""

    async def start(self, handler: TransportHandler) -> None:
        """Listen, and dial the peers set so far.

        Raises:
            OSError: the port cannot be listened on.
        """

    def set_peers(self, peers: Mapping[int, str]) -> None:
        """Replace the set of brokers to dial; may be called at any time.

        A changed address is dialled at once. The own broker id is passed over.

        Args:
            peers: broker id to `host:port`.

        Raises:
            ValueError: an address is no `host:port`; nothing has changed then.
        """

    def send(self, broker_id: int, rpcs: Sequence[tuple[int, Rpc]]) -> None:
        """Send (group id, RPC) pairs to one broker; never blocks, never raises for the network.

        Without any it sends a sign of life. Queues are bounded; beyond the bounds appends are
        dropped and `peer_unreachable` follows. To a broker that is not among the peers nothing is
        sent.
        """

    async def open_snapshot(self, broker_id: int) -> SnapshotStream:
        """Open a connection of its own for one snapshot; the caller closes it.

        Raises:
            SnapshotLost: the broker is not among the peers or cannot be reached.
        """

    async def stop(self) -> None:
        """Close everything; what is queued is dropped. The handler hears nothing of it."""


@dataclass(frozen=True, slots=True)
class TransportLimits:
    """Bounds of a transport. Refuses to exist when they contradict each other."""

    max_frame_bytes: int = 16 << 20
    """Larger frames are neither sent nor accepted. Above the largest record batch."""
    max_queued_append_bytes: int = 56 << 20
    """AppendEntries that wait for one peer; with the next one 64 MiB per peer."""
    max_queued_control_bytes: int = 8 << 20
    """All other RPCs that wait for one peer."""
    write_buffer_bytes: int = 1 << 20
    """What a socket may have buffered before frames are held back. Smaller lets control frames
    overtake appends sooner; larger keeps a fast link busier."""
    max_snapshot_connections: int = 8
    """Incoming snapshots at once; further ones are closed and come again later."""
    max_unauthenticated_connections: int = 64
    """Incoming connections before the end of their handshake; the oldest gives way."""
    handshake_timeout_ms: int = 5_000
    """For the connect and for the handshake, each."""
    reconnect_min_ms: int = 50
    """Shortest pause before a peer is dialled again."""
    reconnect_max_ms: int = 1_000
    """Longest pause."""
    ping_interval_ms: int = 2_000
    """A connection that we dialled and that is idle this long carries a ping."""
    silence_timeout_ms: int = 10_000
    """An incoming connection without a whole frame for this long is closed. A frame of the
    largest size must pass in this time, so it also bounds how slow a link may be."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        if self.reconnect_min_ms > self.reconnect_max_ms:
            raise ValueError("reconnect_min_ms must not be above reconnect_max_ms")
        if self.silence_timeout_ms < 2 * self.ping_interval_ms:
            raise ValueError("silence_timeout_ms must be at least twice ping_interval_ms")
        if self.max_frame_bytes > self.max_queued_append_bytes:
            raise ValueError("max_queued_append_bytes must hold one frame of max_frame_bytes")


@dataclass(slots=True)
class TransportCounters:
    """What happened since the start; only ever rises. Read by the metrics."""

    frames_sent: int = 0
    frames_received: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    dropped_appends: int = 0
    """AppendEntries dropped: no connection, a full queue or an oversized frame."""
    dropped_control: int = 0
    """Other frames dropped."""
    rejected_connections: Counter[str] = field(default_factory=Counter)
    """Connections that this side closed, or that closed before they were authenticated, by
    reason."""


def parse_address(address: str) -> tuple[str, int]:
    """Split `host:port` or `[IPv6]:port`.

    Raises:
        ValueError: it is neither.
    """
    host, separator, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"an IPv6 address needs brackets: {address!r}")
    if not separator or not host or not port.isascii() or not port.isdecimal():
        raise ValueError(f"not an address of the form host:port: {address!r}")
    if not 0 < int(port) < 65_536:
        raise ValueError(f"no such port: {address!r}")
    return host, int(port)
