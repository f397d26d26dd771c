"""The transport between broker processes: frames over TCP, one listening port per broker.

Each broker dials every peer for its own RPCs, so two brokers share two connections, each used in
one direction. A snapshot gets a connection of its own.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from raft_app.transport.handshake import Identity
from raft_app.transport.protocol import TransportCounters, TransportLimits, parse_address
from raft_app.transport.snapshot_stream import SnapshotLost
from raft_app.transport.tcp.connection import TcpContext
from raft_app.transport.tcp.dialer import Dialer
from raft_app.transport.tcp.listener import Listener
from raft_app.transport.tcp.snapshots import SnapshotDial

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from http_base.memory_budget import MemoryShare
    from http_base.tls import Tls
    from raft_app.core.types import Rpc
    from raft_app.transport.protocol import TransportHandler
    from raft_app.transport.snapshot_stream import SnapshotStream


class TcpTransport:
    """Implements `RaftTransport`; used in one event loop, started once."""

    def __init__(
        self,
        cluster_id: str,
        broker_id: int,
        secret: str | bytes,
        *,
        queues: MemoryShare,
        host: str = "127.0.0.1",
        port: int = 0,
        limits: TransportLimits | None = None,
        tls: Tls | None = None,
    ) -> None:
        """Prepare.

        Args:
            cluster_id: what both sides of every connection must agree on.
            broker_id: the own one.
            secret: the cluster's; every broker knows it.
            queues: what the frames that wait for all peers may take.
            host: where to listen.
            port: 0 for a free one, see `port`.
            limits: defaults where not given.
            tls: of this process; with a certificate every connection is encrypted, and each
                dialled broker proves that it is the host of its address.

        Raises:
            ValueError: an empty secret or cluster id, or no positive broker id.
        """
        key = secret.encode() if isinstance(secret, str) else secret
        self.broker_id = broker_id
        self.counters = TransportCounters()
        self._identity = Identity(cluster_id, broker_id, key)
        self._host = host
        self._port = port
        self._limits = limits or TransportLimits()
        self._queues = queues
        self._tls = tls
        self._peers: dict[int, str] = {}
        self._context: TcpContext | None = None
        self._listener: Listener | None = None
        self._dialers: dict[int, Dialer] = {}
        self._retired: list[Dialer] = []
        self._snapshots: set[SnapshotDial] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False

    @property
    def port(self) -> int:
        """Where it listens; meaningful once started."""
        return self._port

    @property
    def connected_peers(self) -> frozenset[int]:
        """Broker ids whose incoming connection is up."""
        return self._listener.connected_peers if self._listener else frozenset()

    @property
    def reached_peers(self) -> frozenset[int]:
        """Broker ids to which the outgoing connection is up."""
        return frozenset(peer for peer, dialer in self._dialers.items() if dialer.connected)

    async def start(self, handler: TransportHandler) -> None:
        """Listen, and dial the peers set so far.

        Raises:
            OSError: the port cannot be listened on.
        """
        assert self._listener is None, "a transport is started once"
        context = TcpContext(
            self._identity,
            self._limits,
            handler,
            queues=self._queues,
            counters=self.counters,
            tls=self._tls,
        )
        listener = Listener(context, self._wake_dialer)
        self._port = await listener.start(self._host, self._port)
        self._context, self._listener = context, listener
        self._dial_peers()
        self._schedule_check()

    def set_peers(self, peers: Mapping[int, str]) -> None:
        """Replace the set of brokers to dial; what changed is dialled at once.

        Raises:
            ValueError: an address is no `host:port`; nothing has changed then.
        """
        for address in peers.values():
            parse_address(address)
        self._peers = dict(peers)
        self._peers.pop(self.broker_id, None)
        if self._context is not None and not self._stopped:
            self._dial_peers()

    def send(self, broker_id: int, rpcs: Sequence[tuple[int, Rpc]]) -> None:
        """Send (group id, RPC) pairs to one broker; never blocks."""
        dialer = self._dialers.get(broker_id)
        if dialer is not None:
            dialer.send(rpcs)

    async def open_snapshot(self, broker_id: int) -> SnapshotStream:
        """Open a connection of its own for one snapshot; the caller closes it.

        Raises:
            SnapshotLost: the broker is not among the peers or cannot be reached.
        """
        address = self._peers.get(broker_id)
        if address is None or self._context is None or self._stopped:
            raise SnapshotLost(f"broker {broker_id} is no peer")
        dial = SnapshotDial(self._context, broker_id)
        self._snapshots = {old for old in self._snapshots if not old.closed}
        self._snapshots.add(dial)
        return await dial.open(address)

    async def stop(self) -> None:
        """Close everything at once; a second call does nothing."""
        if self._stopped:
            return
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        dialers = [*self._retired, *self._dialers.values()]
        self._dialers.clear()
        self._retired.clear()
        for dialer in dialers:
            dialer.close()
        for snapshot in self._snapshots:
            snapshot.abort()
        if self._listener is not None:
            self._listener.close()
            await self._listener.wait_closed()
        for dialer in dialers:
            await dialer.wait_closed()
        for snapshot in self._snapshots:
            await snapshot.wait_closed()

    def _dial_peers(self) -> None:
        """Make the dialers match the peers."""
        assert self._context is not None
        for broker_id, dialer in tuple(self._dialers.items()):
            if self._peers.get(broker_id) != dialer.address:
                del self._dialers[broker_id]
                self._retire(dialer)
        for broker_id, address in self._peers.items():
            if broker_id not in self._dialers:
                self._dialers[broker_id] = Dialer(self._context, broker_id, address)

    def _retire(self, dialer: Dialer) -> None:
        """Close a dialer; tell of the RPCs that it may have lost if the peer only moved."""
        if dialer.connected and dialer.broker_id in self._peers:
            asyncio.get_running_loop().call_soon(self._tell_unreachable, dialer.broker_id)
        dialer.close()
        self._retired = [old for old in self._retired if not old.closed] + [dialer]

    def _tell_unreachable(self, broker_id: int) -> None:
        if not self._stopped and self._context is not None:
            self._context.handler.peer_unreachable(broker_id)

    def _wake_dialer(self, broker_id: int) -> None:
        """Dial a peer that has just dialled us: it is surely up."""
        dialer = self._dialers.get(broker_id)
        if dialer is not None:
            dialer.wake()

    def _schedule_check(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + self._limits.ping_interval_ms / 2000
        self._timer = loop.call_at(due, self._check, due)

    def _check(self, due: float) -> None:
        """Ping idle connections, close silent ones.

        When this callback itself comes late, the loop stood still and may not have read what its
        peers sent in time.
        """
        assert self._listener is not None
        now = asyncio.get_running_loop().time()
        stalled = now - due > self._limits.ping_interval_ms / 1000
        self._listener.check(now, stalled=stalled)
        for dialer in self._dialers.values():
            dialer.check(now, stalled=stalled)
        self._schedule_check()
