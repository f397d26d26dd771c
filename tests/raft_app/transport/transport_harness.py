"""What the transport's tests share: loops, a recording handler, networks, hand-driven peers."""

from __future__ import annotations

import asyncio
import gc
import secrets
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import uvloop
from hypothesis import strategies as st
from msgspec.structs import replace

from http_base.memory_budget import MemoryBudget
from http_base.tls import Tls
from raft_app.core.types import (
    AppendEntries,
    AppendEntriesReply,
    Entry,
    EntryKind,
    Heartbeat,
    HeartbeatReply,
    PreVote,
    PreVoteReply,
    Quiesce,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
    Wake,
)
from raft_app.transport.frames import Frame, FrameReader
from raft_app.transport.handshake import (
    CHALLENGE_BYTES,
    AcceptorHandshake,
    DialerHandshake,
    Identity,
)
from raft_app.transport.protocol import TransportLimits
from raft_app.transport.tcp.transport import TcpTransport
from tests.doubles.transport import MemoryHub, MemoryTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from raft_app.core.types import Rpc
    from raft_app.transport.snapshot_stream import SnapshotStream

CLUSTER_ID = "cluster of the tests"
SECRET = b"the cluster's secret"
WAIT_SECONDS = 20


def _run(loop_factory: Callable[[], asyncio.AbstractEventLoop], scenario: Coroutine) -> None:
    """Run a scenario that must not leave a task behind, nor anything for the collector."""

    async def checked() -> None:
        async with asyncio.timeout(60):
            await scenario
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        errors: list[dict] = []
        runner.get_loop().set_exception_handler(lambda _loop, context: errors.append(context))
        runner.run(checked())
    gc.collect()
    assert errors == []


run_asyncio = partial(_run, asyncio.SelectorEventLoop)
run_uvloop = partial(_run, uvloop.new_event_loop)
RUNNERS = {"asyncio": run_asyncio, "uvloop": run_uvloop}


class RecordingHandler:
    """Remembers everything it is told, in order."""

    def __init__(self) -> None:
        self.events: list[tuple] = []
        self.rpcs: list[tuple[int, int, Rpc]] = []
        """(broker id, group id, RPC)."""
        self.streams: list[SnapshotStream] = []
        self._changed = asyncio.Event()

    def rpcs_received(self, broker_id: int, rpcs: list[tuple[int, Rpc]]) -> None:
        self.rpcs += [(broker_id, group_id, rpc) for group_id, rpc in rpcs]
        self._changed.set()

    def peer_connected(self, broker_id: int) -> None:
        self._note("connected", broker_id)

    def peer_lost(self, broker_id: int) -> None:
        self._note("lost", broker_id)

    def peer_unreachable(self, broker_id: int) -> None:
        self._note("unreachable", broker_id)

    def snapshot_opened(self, stream: SnapshotStream) -> None:
        self.streams.append(stream)
        self._changed.set()

    def _note(self, *event: object) -> None:
        self.events.append(event)
        self._changed.set()

    async def until(self, condition: Callable[[RecordingHandler], bool]) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            while not condition(self):
                self._changed.clear()
                await self._changed.wait()

    async def until_event(self, *event: object, count: int = 1) -> None:
        await self.until(lambda handler: handler.events.count(event) >= count)

    async def until_rpcs(self, count: int) -> None:
        await self.until(lambda handler: len(handler.rpcs) >= count)


class Broker:
    """A started transport with its handler."""

    def __init__(self, transport: TcpTransport | MemoryTransport, address: str = "") -> None:
        self.transport = transport
        self.handler = RecordingHandler()
        self.address = address

    @property
    def counters(self):
        return self.transport.counters


class Network:
    """Starts brokers that can reach each other."""

    def __init__(self) -> None:
        self.brokers: dict[int, Broker] = {}

    def make(self, broker_id: int) -> Broker:
        raise NotImplementedError

    async def start(self, broker_id: int) -> Broker:
        return await self.start_made(self.make(broker_id))

    async def start_made(self, broker: Broker) -> Broker:
        await broker.transport.start(broker.handler)
        self.brokers[broker.transport.broker_id] = broker
        return broker

    def introduce(self) -> None:
        """Tell every broker where the others are."""
        for broker in self.brokers.values():
            broker.transport.set_peers(
                {other_id: other.address for other_id, other in self.brokers.items()}
            )

    async def start_all(self, count: int) -> list[Broker]:
        """Start brokers 1 to `count` and wait until each can send to each."""
        brokers = [await self.start(broker_id) for broker_id in range(1, count + 1)]
        self.introduce()
        for source in self.brokers:
            for target in self.brokers:
                if source != target:
                    await self.meet(source, target)
        return brokers

    async def meet(self, source: int, target: int) -> None:
        """Return when broker `source` can send anything to broker `target`."""
        handler = self.brokers[target].handler
        greeting = (source, 999, TimeoutNow(target, source, 0))
        await handler.until_event("connected", source)
        self.brokers[source].transport.send(target, [greeting[1:]])
        await handler.until(lambda _: greeting in handler.rpcs)
        handler.rpcs.remove(greeting)

    async def stop(self) -> None:
        for broker in self.brokers.values():
            await broker.transport.stop()


class TcpNetwork(Network):
    def __init__(self, limits: TransportLimits | None = None, tls: Tls | None = None) -> None:
        super().__init__()
        self.limits = limits
        self.tls = tls

    def make(self, broker_id: int) -> Broker:
        return Broker(
            TcpTransport(
                CLUSTER_ID,
                broker_id,
                SECRET,
                queues=MemoryBudget().queues,
                limits=self.limits,
                tls=self.tls,
            )
        )

    async def start_made(self, broker: Broker) -> Broker:
        await super().start_made(broker)
        broker.address = f"127.0.0.1:{broker.transport.port}"
        return broker


class MemoryNetwork(Network):
    def __init__(self) -> None:
        super().__init__()
        self.hub = MemoryHub()
        self._made = 0

    def make(self, broker_id: int) -> Broker:
        self._made += 1
        return Broker(MemoryTransport(self.hub, broker_id), f"memory:{self._made}")


class HandPeer:
    """One end of a connection, driven step by step by a test."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.frames = FrameReader(32 << 20)
        self.pending: list[tuple] = []

    @classmethod
    async def dial(cls, port: int, *, limit: int = 1 << 16) -> HandPeer:
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=limit))

    async def read_frame(self) -> Frame:
        async with asyncio.timeout(WAIT_SECONDS):
            while not self.pending:
                data = await self.reader.read(1 << 16)
                assert data, "the other side closed the connection"
                self.pending += [
                    replace(frame, body=bytes(frame.body)) for frame in self.frames.feed(data)
                ]
        return self.pending.pop(0)

    async def handshake(self, handshake: DialerHandshake | AcceptorHandshake) -> None:
        self.writer.write(handshake.start())
        while not handshake.done:
            self.writer.write(handshake.receive(await self.read_frame()))

    async def until_closed(self) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            with suppress(ConnectionError):
                while await self.reader.read(1 << 16):
                    pass
        await self.close()

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


def dialer_handshake(
    broker_id: int,
    expected: int,
    *,
    cluster_id: str = CLUSTER_ID,
    secret: bytes = SECRET,
) -> DialerHandshake:
    identity = Identity(cluster_id, broker_id, secret)
    return DialerHandshake(identity, expected, secrets.token_bytes(CHALLENGE_BYTES))


def acceptor_handshake(
    broker_id: int, *, cluster_id: str = CLUSTER_ID, secret: bytes = SECRET
) -> AcceptorHandshake:
    identity = Identity(cluster_id, broker_id, secret)
    return AcceptorHandshake(identity, secrets.token_bytes(CHALLENGE_BYTES))


class HandAcceptor:
    """A listening port whose connections a test drives by hand."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[HandPeer] = asyncio.Queue()
        self._acceptor: asyncio.Server | None = None
        self.address = ""

    async def start(self) -> HandAcceptor:
        self._acceptor = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=1 << 12)
        self.address = f"127.0.0.1:{self._acceptor.sockets[0].getsockname()[1]}"
        return self

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._waiting.put_nowait(HandPeer(reader, writer))

    async def next_peer(self) -> HandPeer:
        return await asyncio.wait_for(self._waiting.get(), WAIT_SECONDS)

    async def stop(self) -> None:
        self._acceptor.close()
        while not self._waiting.empty():
            await self._waiting.get_nowait().close()
        await self._acceptor.wait_closed()


# --- hypothesis ---------------------------------------------------------------------------------

numbers = st.one_of(st.integers(0, 300), st.integers(0, (1 << 63) - 1))
ids = st.one_of(st.integers(1, 300), st.integers(1, (1 << 63) - 1))
data = st.one_of(
    st.binary(max_size=64),
    st.builds(lambda byte, size: bytes([byte]) * size, st.integers(0, 255), st.integers(0, 80_000)),
)


@st.composite
def append_entries(draw: st.DrawFn) -> AppendEntries:
    prev_index = draw(st.integers(0, 1 << 40))
    count = draw(st.one_of(st.integers(0, 3), st.integers(14, 18)))
    entries = tuple(
        Entry(
            index=prev_index + 1 + position,
            term=draw(numbers),
            kind=draw(st.sampled_from(EntryKind)),
            data=draw(data if count < 4 else st.binary(max_size=4)),
            base_offset=draw(numbers),
            record_count=draw(numbers),
            append_timestamp=draw(numbers),
        )
        for position in range(count)
    )
    return AppendEntries(
        to=draw(ids),
        sender=draw(ids),
        term=draw(numbers),
        prev_index=prev_index,
        prev_term=draw(numbers),
        entries=entries,
        commit=draw(numbers),
    )


def _built(kind: type, **fields: st.SearchStrategy) -> st.SearchStrategy:
    return st.builds(kind, to=ids, sender=ids, term=numbers, **fields)


rpc_strategies: dict[type, st.SearchStrategy] = {
    PreVote: _built(PreVote, last_index=numbers, last_term=numbers),
    PreVoteReply: _built(PreVoteReply, granted=st.booleans()),
    RequestVote: _built(RequestVote, last_index=numbers, last_term=numbers, transfer=st.booleans()),
    RequestVoteReply: _built(RequestVoteReply, granted=st.booleans()),
    AppendEntries: append_entries(),
    AppendEntriesReply: _built(
        AppendEntriesReply,
        success=st.booleans(),
        index=numbers,
        conflict_index=numbers,
        conflict_term=numbers,
        last_index=numbers,
        wants_snapshot=st.booleans(),
    ),
    Heartbeat: _built(Heartbeat, commit=numbers, context=numbers),
    HeartbeatReply: _built(HeartbeatReply, context=numbers),
    Quiesce: _built(Quiesce, commit=numbers, lagging=st.lists(ids, max_size=4).map(tuple)),
    Wake: _built(Wake),
    TimeoutNow: _built(TimeoutNow),
}
rpcs = st.one_of(*rpc_strategies.values())


def append(index: int, size: int, *, to: int = 2, sender: int = 1) -> AppendEntries:
    """Return an AppendEntries with one entry of `size` bytes."""
    entry = Entry(index, 1, EntryKind.DATA, bytes(size), index, 1, 1)
    return AppendEntries(to, sender, 1, index - 1, 1, (entry,), 0)


EVERY_RPC: tuple[Rpc, ...] = (
    PreVote(2, 1, 3, 4, 5),
    PreVoteReply(2, 1, 3, True),
    RequestVote(2, 1, 3, 4, 5, True),
    RequestVoteReply(2, 1, 3, False),
    AppendEntriesReply(2, 1, 3, False, 4, 5, 6, 7),
    AppendEntriesReply(2, 1, 3, False, 4, wants_snapshot=True),
    Heartbeat(2, 1, 3, 4, 5),
    HeartbeatReply(2, 1, 3, 4),
    Quiesce(2, 1, 3, 4, (5,)),
    Wake(2, 1, 3),
    TimeoutNow(2, 1, 3),
    append(7, 100),
)
