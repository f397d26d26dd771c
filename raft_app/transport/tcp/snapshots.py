"""Snapshot connections over TCP: an authenticated connection that carries parts both ways."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from typing import TYPE_CHECKING

from raft_app.transport.frames import FrameError, FrameKind
from raft_app.transport.handshake import CHALLENGE_BYTES, DialerHandshake, Purpose
from raft_app.transport.protocol import parse_address
from raft_app.transport.snapshot_codec import decode_part, encode_part
from raft_app.transport.snapshot_stream import PARTS_WAITING_MAX, SnapshotLost
from raft_app.transport.tcp.connection import Connection

if TYPE_CHECKING:
    from raft_app.core.types import Rpc
    from raft_app.transport.frames import Frame
    from raft_app.transport.snapshot_stream import SnapshotPart
    from raft_app.transport.tcp.connection import TcpContext


class TcpSnapshotStream:
    """Implements `SnapshotStream`; takes over a ready `Connection`."""

    def __init__(self, connection: Connection) -> None:
        """Take over `connection`, whose handshake has just succeeded."""
        self.broker_id = connection.broker_id
        self._connection = connection
        self._parts: deque[SnapshotPart] = deque()
        self._changed = asyncio.Event()
        self._lost = False
        connection.taker = self

    async def send(self, part: SnapshotPart) -> None:
        """Send a part; waits until the socket has room.

        Raises:
            SnapshotLost: the connection is gone.
        """
        while not self._connection.writable:
            await self._wait()
        self._connection.write((encode_part(part),))

    async def receive(self) -> SnapshotPart:
        """Return the next part.

        Raises:
            SnapshotLost: the connection is gone and nothing came before.
        """
        while not self._parts:
            await self._wait()
        part = self._parts.popleft()
        if len(self._parts) < PARTS_WAITING_MAX:
            self._connection.resume_reading()
        return part

    def close(self) -> None:
        """Write out what is buffered, then end the connection."""
        self._connection.close()

    async def _wait(self) -> None:
        if self._lost:
            raise SnapshotLost(f"the snapshot connection with broker {self.broker_id} is gone")
        self._changed.clear()
        await self._changed.wait()

    # --- called by the connection ------------------------------------------------------------

    def frame_received(self, frame: Frame) -> None:
        """Keep a part until somebody takes it.

        Raises:
            FrameError: it is none.
        """
        if frame.kind is FrameKind.PING:
            raise FrameError("unexpected_frame", "a ping on a snapshot connection")
        self._parts.append(decode_part(frame))
        if len(self._parts) >= PARTS_WAITING_MAX:
            self._connection.pause_reading()
        self._changed.set()

    def writable(self) -> None:
        """Let `send` go on."""
        self._changed.set()

    def lost(self) -> None:
        """Let everybody who waits give up."""
        self._lost = True
        self._changed.set()


class SnapshotDial:
    """One attempt to open a snapshot connection to a peer; owns the connection until its end."""

    def __init__(self, context: TcpContext, broker_id: int) -> None:
        """Prepare to reach `broker_id`."""
        self._context = context
        self._broker_id = broker_id
        self._ready: asyncio.Future[TcpSnapshotStream] = asyncio.get_running_loop().create_future()
        self._connection: Connection | None = None

    @property
    def closed(self) -> bool:
        """Nothing is left of it."""
        return self._ready.done() and (self._connection is None or self._connection.closed.is_set())

    async def open(self, address: str) -> TcpSnapshotStream:
        """Connect and shake hands.

        Raises:
            SnapshotLost: it cannot be reached, or is not who it should be.
        """
        host, port = parse_address(address)
        limit = self._context.limits.handshake_timeout_ms / 1000
        stream = None
        try:
            async with asyncio.timeout(limit):
                await asyncio.get_running_loop().create_connection(
                    self._make, host, port, **self._context.secure
                )
                stream = await self._ready
        except (OSError, TimeoutError) as error:
            reason = str(error) or "timeout"
            raise SnapshotLost(f"broker {self._broker_id} at {address}: {reason}") from error
        finally:
            if stream is None:
                self.abort()
        return stream

    def abort(self) -> None:
        """Give up, whatever it is at."""
        self._fail()
        if self._connection is not None:
            self._connection.abort()

    async def wait_closed(self) -> None:
        """Return when nothing is left of it after `abort`."""
        if self._connection is not None:
            await self._connection.closed.wait()

    def _make(self) -> Connection:
        challenge = secrets.token_bytes(CHALLENGE_BYTES)
        handshake = DialerHandshake(
            self._context.identity, self._broker_id, challenge, Purpose.SNAPSHOT
        )
        return Connection(self._context, self, handshake, dialled=True)

    def _fail(self) -> None:
        if not self._ready.done():
            self._ready.set_exception(ConnectionError("closed during the handshake"))
            self._ready.exception()  # Nobody may be waiting.

    # --- called by the connection ------------------------------------------------------------

    def connection_made(self, connection: Connection) -> None:
        """Keep it from the moment it exists."""
        self._connection = connection
        if self._ready.done():
            connection.abort()

    def connection_ready(self, connection: Connection) -> None:
        """Hand it over."""
        self._ready.set_result(TcpSnapshotStream(connection))

    def connection_writable(self, connection: Connection) -> None:
        """Do nothing: the stream is told."""

    def connection_rpcs(self, connection: Connection, rpcs: list[tuple[int, Rpc]]) -> None:
        """Refuse: a snapshot connection carries none."""
        raise AssertionError(f"{len(rpcs)} RPCs on {connection}")

    def connection_lost(self, connection: Connection) -> None:
        """Give up if it was not ready yet; else the stream is told."""
        self._fail()
