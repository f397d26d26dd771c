"""A transport inside one event loop, whose links can be cut: the twin of `transport_tcp`.

RPCs are handed over as they are by `loop.call_soon`, so everything happens in the order of the
calls and a run repeats exactly.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from raft_app.core.types import AppendEntries
from raft_app.transport.protocol import TransportCounters, parse_address
from raft_app.transport.snapshot_stream import SnapshotLost
from tests.doubles.transport_snapshots import stream_pair

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from raft_app.core.types import Rpc
    from raft_app.transport.protocol import TransportHandler
    from raft_app.transport.snapshot_stream import SnapshotStream
    from tests.doubles.transport_snapshots import MemorySnapshotStream


class MemoryHub:
    """The network between the transports that joined it. Links are one-directional."""

    def __init__(self) -> None:
        """Start without transports, every link whole."""
        self._transports: dict[int, MemoryTransport] = {}
        self._cut: set[tuple[int, int]] = set()
        self._silent: set[tuple[int, int]] = set()
        self._links: dict[tuple[int, int], _Link] = {}
        self._snapshots: dict[tuple[int, int], list[MemorySnapshotStream]] = {}
        """Both ends of the snapshot connections that broker `source` made to `target`."""

    def cut(self, source: int, target: int, *, silently: bool = False) -> None:
        """Cut the link that carries the RPCs of broker `source` to broker `target`.

        Args:
            source: the broker whose RPCs no longer arrive.
            target: the broker that no longer gets them.
            silently: the connection stays up, as when packets vanish: nobody is told.
        """
        if silently:
            self._silent.add((source, target))
        else:
            self._cut.add((source, target))
            self._update()

    def isolate(self, broker_id: int, *, silently: bool = False) -> None:
        """Cut every link from and to one broker, towards those that have joined."""
        for other in tuple(self._transports):
            if other != broker_id:
                self.cut(broker_id, other, silently=silently)
                self.cut(other, broker_id, silently=silently)

    def heal(self) -> None:
        """Make every link whole again."""
        self._cut.clear()
        self._silent.clear()
        self._update()
        for streams in self._snapshots.values():
            for stream in streams:
                stream.wake()

    def _join(self, transport: MemoryTransport) -> None:
        """Let a started transport replace the stopped one with its id."""
        assert transport.broker_id not in self._transports, "this broker runs already"
        self._transports[transport.broker_id] = transport
        self._update()

    def _leave(self, transport: MemoryTransport) -> None:
        if self._transports.get(transport.broker_id) is transport:
            del self._transports[transport.broker_id]
            self._update()

    def _update(self) -> None:
        """Connect what can be connected and disconnect what cannot, in the order of the ids."""
        wanted = {
            (source, target): sender
            for source, sender in self._transports.items()
            for target in sender.peers
            if target in self._transports and (source, target) not in self._cut
        }
        for ends, link in sorted(self._links.items()):
            if ends not in wanted or link.address != wanted[ends].peers[ends[1]]:
                del self._links[ends]
                link.disconnect()
                for stream in self._snapshots.pop(ends, ()):
                    stream.lose()
        for ends, sender in sorted(wanted.items(), key=lambda item: item[0]):
            if ends not in self._links:
                target = self._transports[ends[1]]
                self._links[ends] = _Link(sender, target, sender.peers[ends[1]])

    def _open_snapshot(self, source: int, target: int) -> SnapshotStream:
        """Connect two brokers for a snapshot; it lives no longer than their link."""
        link = self._links.get((source, target))
        if link is None or (source, target) in self._silent or (target, source) in self._silent:
            raise SnapshotLost(f"broker {target} cannot be reached")
        here, there = stream_pair(source, target, lambda *ends: ends in self._silent)
        kept = [one for one in self._snapshots.get((source, target), ()) if not one.closed]
        self._snapshots[source, target] = [*kept, here, there]
        link.open_snapshot(there)
        return here

    def _send(self, source: int, target: int, rpcs: list[tuple[int, Rpc]]) -> bool:
        """Return false when there is no connection."""
        link = self._links.get((source, target))
        if link is None:
            return False
        if (source, target) not in self._silent:
            link.carry(rpcs)
        return True


class _Link:
    """One connection: what it carries arrives unless it was disconnected meanwhile."""

    def __init__(self, sender: MemoryTransport, target: MemoryTransport, address: str) -> None:
        self.address = address
        self._sender = sender
        self._target = target
        self._up = True
        self._told = False
        self._loop = asyncio.get_running_loop()
        self._loop.call_soon(self._connect)

    def carry(self, rpcs: list[tuple[int, Rpc]]) -> None:
        self._loop.call_soon(self._deliver, rpcs)

    def open_snapshot(self, stream: SnapshotStream) -> None:
        self._loop.call_soon(self._hand_over, stream)

    def disconnect(self) -> None:
        self._up = False
        self._loop.call_soon(self._lose)

    def _connect(self) -> None:
        handler = self._target.handler
        if self._up and handler is not None:
            self._told = True
            handler.peer_connected(self._sender.broker_id)

    def _deliver(self, rpcs: list[tuple[int, Rpc]]) -> None:
        handler = self._target.handler
        if self._up and handler is not None:
            self._target.counters.frames_received += 1
            handler.rpcs_received(self._sender.broker_id, rpcs)

    def _hand_over(self, stream: SnapshotStream) -> None:
        handler = self._target.handler
        if self._up and handler is not None:
            handler.snapshot_opened(stream)

    def _lose(self) -> None:
        if self._told and self._target.handler is not None:
            self._target.handler.peer_lost(self._sender.broker_id)
        if self._told and self._target.broker_id in self._sender.peers:
            self._sender.tell_unreachable(self._target.broker_id)


class MemoryTransport:
    """Implements `raft_app.transport.protocol.RaftTransport` over a `MemoryHub`.

    Each call of `send` arrives as one call of `rpcs_received`. Addresses have no meaning here,
    only a changed one makes a new connection.
    """

    def __init__(self, hub: MemoryHub, broker_id: int) -> None:
        """Prepare; it joins the hub when started."""
        self.broker_id = broker_id
        self.counters = TransportCounters()
        self.peers: dict[int, str] = {}
        self.handler: TransportHandler | None = None
        """None before the start and after the stop."""
        self._hub = hub
        self._told_unreachable: set[int] = set()

    @property
    def connected_peers(self) -> frozenset[int]:
        return frozenset(source for source, to in self._hub._links if to == self.broker_id)

    @property
    def reached_peers(self) -> frozenset[int]:
        return frozenset(to for source, to in self._hub._links if source == self.broker_id)

    async def start(self, handler: TransportHandler) -> None:
        """Join the hub and connect to the peers set so far."""
        assert self.handler is None, "a transport is started once"
        self.handler = handler
        self._hub._join(self)

    def set_peers(self, peers: Mapping[int, str]) -> None:
        """Replace the set of brokers to connect to.

        Raises:
            ValueError: an address is no `host:port`; nothing has changed then.
        """
        for address in peers.values():
            parse_address(address)
        self.peers = {peer: address for peer, address in peers.items() if peer != self.broker_id}
        if self.handler is not None:
            self._hub._update()

    def send(self, broker_id: int, rpcs: Sequence[tuple[int, Rpc]]) -> None:
        """Send (group id, RPC) pairs to one broker; without a connection they are dropped."""
        if self.handler is None or broker_id not in self.peers:
            return
        if self._hub._send(self.broker_id, broker_id, list(rpcs)):
            self.counters.frames_sent += 1
            self._told_unreachable.discard(broker_id)
            return
        appends = sum(isinstance(rpc, AppendEntries) for _, rpc in rpcs)
        self.counters.dropped_appends += appends
        self.counters.dropped_control += len(rpcs) - appends
        if appends and broker_id not in self._told_unreachable:
            asyncio.get_running_loop().call_soon(self.tell_unreachable, broker_id)
            self._told_unreachable.add(broker_id)

    async def open_snapshot(self, broker_id: int) -> SnapshotStream:
        """Open a connection of its own for one snapshot; the caller closes it.

        Raises:
            SnapshotLost: the broker is not among the peers or cannot be reached.
        """
        if self.handler is None or broker_id not in self.peers:
            raise SnapshotLost(f"broker {broker_id} is no peer")
        return self._hub._open_snapshot(self.broker_id, broker_id)

    def tell_unreachable(self, broker_id: int) -> None:
        """Tell the handler, unless stopped, that RPCs to that broker were lost."""
        self._told_unreachable.add(broker_id)
        if self.handler is not None:
            self.handler.peer_unreachable(broker_id)

    async def stop(self) -> None:
        """Leave the hub; the others lose their connections, the own handler hears nothing."""
        if self.handler is not None:
            self.handler = None
            self._hub._leave(self)
