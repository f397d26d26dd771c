"""The simulated network between brokers, and the transport of each."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, Any

from raft_app.core.types import AppendEntries
from raft_app.transport.protocol import TransportCounters
from raft_app.transport.snapshot_stream import SnapshotLost
from tests.doubles.transport_snapshots import stream_pair
from tests.raft_app.core.simulation.network import Network

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from raft_app.core.types import Rpc
    from raft_app.transport.protocol import TransportHandler
    from raft_app.transport.snapshot_stream import SnapshotStream
    from tests.doubles.transport_snapshots import MemorySnapshotStream
    from tests.simulation.plan import Plan
    from tests.simulation.virtual_loop import Process, VirtualLoop
    from tests.simulation.watch import Watch

UNITS = 20_000
"""Of the network's time, in a second."""
REDIAL_SECONDS = 0.2
"""Longest pause before a broken connection is made again."""


class BrokerNetwork:
    """Carries RPCs between processes; they are told when connections come and go."""

    def __init__(self, loop: VirtualLoop, plan: Plan, random: Random, broker_ids: Sequence[int]):
        self.links = Network(plan, random, broker_ids)
        self.watch: Watch
        self.heals = False
        """Nothing that was sent before everything was healed comes late any more."""
        self._loop = loop
        self._random = random
        self._broker_ids = broker_ids
        self._transports: dict[int, SimulatedTransport] = {}
        self._connected: set[tuple[int, int]] = set()
        self._unnoticed: set[tuple[int, int]] = set()
        self._sign_random = Random(f"signs {plan.seed}")
        self._snapshots: list[tuple[tuple[int, int], MemorySnapshotStream]] = []

    # --- time -------------------------------------------------------------------------------

    def later(self, seconds: float, callback: Callable[..., Any], *args: Any) -> None:
        """Call something that belongs to no process."""
        self._loop.call_later(seconds, self._call, callback, args, context=self._loop.neutral())

    def _call(self, callback: Callable[..., Any], args: tuple[Any, ...]) -> None:
        try:
            callback(*args)
        except Exception as error:  # noqa: BLE001 - the edge of what happens outside of processes
            self.watch.failed(error)

    def delay(self) -> float:
        """Return how long something outside the links takes, in seconds."""
        return float(self.links.delay * self._random.random() ** 3 / UNITS) + 1e-4

    # --- processes --------------------------------------------------------------------------

    def join(self, transport: SimulatedTransport) -> None:
        """Let a process take part."""
        self._transports[transport.broker_id] = transport
        self.redial()

    def leave(self, broker_id: int, *, notice: float = 1.0) -> None:
        """Note that a process ended; each peer notices with a probability."""
        self._transports.pop(broker_id, None)
        for other in self._broker_ids:
            if other != broker_id:
                noticed = self._random.random() < notice
                self._disconnect(broker_id, other, noticed=noticed)
                self._disconnect(other, broker_id, noticed=noticed)

    def redial(self) -> None:
        """Make the connections that are missing, in a moment."""
        for source in self._broker_ids:
            for target in self._broker_ids:
                if source != target and (source, target) not in self._connected:
                    self.later(self._random.random() * REDIAL_SECONDS, self._dial, source, target)

    def _dial(self, source: int, target: int) -> None:
        sender, receiver = self._transports.get(source), self._transports.get(target)
        known = sender is not None and receiver is not None and target in sender.peers
        if not known or (source, target) in self._connected:
            return
        if not self.links.is_open(source, target):
            return
        self._connected.add((source, target))
        if (source, target) in self._unnoticed:
            self._unnoticed.discard((source, target))
            self._tell(target, lambda handler: handler.peer_lost(source))
        self._tell(target, lambda handler: handler.peer_connected(source))

    def break_connection(self, source: int, target: int) -> None:
        """End a connection, so that both ends notice; it is made again in a moment."""
        self._disconnect(source, target, noticed=True)
        self.later(self._random.random() * REDIAL_SECONDS, self._dial, source, target)

    def _disconnect(self, source: int, target: int, *, noticed: bool) -> None:
        if (source, target) not in self._connected:
            return
        self._connected.discard((source, target))
        for ends, stream in self._snapshots:
            if ends == (source, target):
                self.later(self.delay(), stream.lose)
        if not noticed:
            self._unnoticed.add((source, target))
        else:
            now = int(self._loop.time() * UNITS)
            seconds = self.links.ending(source, target, now) / UNITS
            self.later(seconds, self._tell, target, lambda handler: handler.peer_lost(source))
            self.later(
                self.delay(), self._tell, source, lambda handler: handler.peer_unreachable(target)
            )

    def _tell(self, broker_id: int, what: Callable[[TransportHandler], None]) -> None:
        transport = self._transports.get(broker_id)
        if transport is not None:
            transport.receive(what)

    # --- links ------------------------------------------------------------------------------

    def cut(self, links: Iterable[tuple[int, int]]) -> int:
        """Let nothing pass over some links; return the number that `mend` takes."""
        return self.links.cut(links)

    def mend(self, number: int) -> None:
        """Take one cut back."""
        self.links.mend(number)
        self._links_changed()

    def heal(self, plan: Plan) -> None:
        """Take everything back."""
        self.heals = True
        self.links.mend_all()
        self.links.reset(plan)
        self._links_changed()

    def _links_changed(self) -> None:
        self.redial()
        for _, stream in self._snapshots:
            stream.wake()

    # --- RPCs -------------------------------------------------------------------------------

    def send(self, source: int, target: int, rpcs: Sequence[tuple[int, Rpc]]) -> bool:
        """Send what a process hands over; return false when there is no connection."""
        if (source, target) not in self._connected:
            return False
        if not rpcs:
            self._send_sign(source, target)
            return True
        self.watch.sends(source, rpcs)
        now = int(self._loop.time() * UNITS)
        arrivals = self.links.arrivals(source, target, now)
        for arrival, is_copy in zip(arrivals, (False, True), strict=False):
            seconds = (arrival - now) / UNITS
            self.later(seconds, self._arrive, source, target, list(rpcs), is_copy)
        return True

    def _send_sign(self, source: int, target: int) -> None:
        """Send a sign of life; it is not lost, for there are many of them."""
        if self.links.is_open(source, target):
            delay = self.links.delay * self._sign_random.random() ** 3 / UNITS
            self.later(delay, self._sign_arrives, source, target)

    def _sign_arrives(self, source: int, target: int) -> None:
        if (source, target) in self._connected and self.links.passes(source, target):
            self._tell(target, lambda handler: handler.rpcs_received(source, []))

    def is_up(self, source: int, target: int) -> bool:
        """Tell whether what one broker sends to another arrives."""
        return (source, target) in self._connected and self.links.is_open(source, target)

    def _arrive(self, source: int, target: int, rpcs: list[tuple[int, Rpc]], is_copy: bool) -> None:
        if not self.links.passes(source, target) or (is_copy and self.heals):
            return
        transport = self._transports.get(target)
        if transport is not None:
            self.watch.arrives(target, source, rpcs)
            transport.receive(lambda handler: handler.rpcs_received(source, rpcs))

    # --- snapshots --------------------------------------------------------------------------

    def open_snapshot(self, source: int, target: int) -> SnapshotStream:
        """Connect two brokers for a snapshot."""
        if (source, target) not in self._connected or self._is_silent(source, target):
            raise SnapshotLost(f"broker {target} cannot be reached")
        here, there = stream_pair(source, target, self._is_silent)
        self._snapshots = [pair for pair in self._snapshots if not pair[1].closed]
        self._snapshots += [((source, target), here), ((source, target), there)]
        self.later(self.delay(), self._tell, target, lambda handler: handler.snapshot_opened(there))
        return here

    def break_snapshots(self) -> None:
        """End every connection that carries a snapshot."""
        for _, stream in self._snapshots:
            stream.lose()

    def _is_silent(self, source: int, target: int) -> bool:
        return not self.links.is_open(source, target)


class SimulatedTransport:
    """Implements `raft_app.transport.protocol.RaftTransport` for one process."""

    def __init__(self, network: BrokerNetwork, broker_id: int, process: Process) -> None:
        self.broker_id = broker_id
        self.counters = TransportCounters()
        self.peers: dict[int, str] = {}
        self._network = network
        self._process = process
        self._handler: TransportHandler | None = None

    async def start(self, handler: TransportHandler) -> None:
        self._handler = handler
        self._network.join(self)

    def set_peers(self, peers: Mapping[int, str]) -> None:
        self.peers = {peer: address for peer, address in peers.items() if peer != self.broker_id}
        if self._handler is not None:
            self._network.redial()

    def send(self, broker_id: int, rpcs: Sequence[tuple[int, Rpc]]) -> None:
        if self._handler is None or broker_id not in self.peers:
            return
        is_sent = self._network.send(self.broker_id, broker_id, rpcs)
        if not is_sent and any(isinstance(rpc, AppendEntries) for _, rpc in rpcs):
            self._process.soon(self._call, lambda handler: handler.peer_unreachable(broker_id))

    async def open_snapshot(self, broker_id: int) -> SnapshotStream:
        await asyncio.sleep(self._network.delay())
        return self._network.open_snapshot(self.broker_id, broker_id)

    async def stop(self) -> None:
        self._handler = None
        self._network.leave(self.broker_id)

    def receive(self, what: Callable[[TransportHandler], None]) -> None:
        """Tell the handler something, in its process."""
        self._process.soon(self._call, what)

    def _call(self, what: Callable[[TransportHandler], None]) -> None:
        if self._handler is not None:
            what(self._handler)
