"""One TCP connection of the transport: its handshake, then frames.

RPCs travel from the side that dialled to the side that accepted, never back. A connection for a
snapshot has a taker, which gets the frames of both directions.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypedDict, cast

from raft_app.transport.codec import MIN_REFERRED_BYTES, decode_frame
from raft_app.transport.frames import PING_FRAME, FrameError, FrameKind, FrameReader
from raft_app.transport.handshake import MAX_HANDSHAKE_FRAME_BYTES
from raft_app.transport.protocol import TransportCounters

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ssl import SSLContext

    from http_base.memory_budget import MemoryShare
    from http_base.tls import Tls
    from raft_app.core.types import Rpc
    from raft_app.transport.frames import EncodedFrame, Frame
    from raft_app.transport.handshake import Handshake, Identity, Purpose
    from raft_app.transport.protocol import TransportHandler, TransportLimits

logger = logging.getLogger(__name__)

TURN_BYTES = 1 << 20
"""Most bytes that a connection takes in one turn of the loop, but for a last buffer full; then
everybody else in the loop has a turn. A socket that was left alone for a while has megabytes, and
uvloop would read 32 buffers of them at once."""
SHUTDOWN_S = 1.0
"""Seconds that the other side of a TLS connection gets to agree that it ends."""


class SecureArguments(TypedDict, total=False):
    """Arguments of asyncio's `create_connection`; empty without TLS."""

    ssl: SSLContext
    ssl_shutdown_timeout: float


@dataclass(frozen=True, slots=True)
class TcpContext:
    """What all parts of one started transport share."""

    identity: Identity
    limits: TransportLimits
    handler: TransportHandler
    queues: MemoryShare
    """Of the frames that wait for all peers."""
    counters: TransportCounters = field(default_factory=TransportCounters)
    tls: Tls | None = None
    """What connections are secured with; without a certificate of this process they are not."""

    @property
    def secure(self) -> SecureArguments:
        """What `create_connection` is given for TLS: the host that is dialled proves itself."""
        if self.tls is None or self.tls.peers is None:
            return {}
        return {"ssl": self.tls.calling, "ssl_shutdown_timeout": SHUTDOWN_S}


class ConnectionOwner(Protocol):
    """Who a connection reports to."""

    def connection_made(self, connection: Connection) -> None:
        """Note that it exists; its handshake begins."""

    def connection_ready(self, connection: Connection) -> None:
        """Note that the handshake succeeded."""

    def connection_writable(self, connection: Connection) -> None:
        """Note that its write buffer has room again."""

    def connection_rpcs(self, connection: Connection, rpcs: list[tuple[int, Rpc]]) -> None:
        """Take the RPCs that came in one piece."""

    def connection_lost(self, connection: Connection) -> None:
        """Note that it is gone."""


class FrameTaker(Protocol):
    """Who takes the frames of a connection that carries no RPCs."""

    def frame_received(self, frame: Frame) -> None:
        """Take a frame, whose body is valid during the call.

        Raises:
            FrameError: it does not belong there.
        """

    def writable(self) -> None:
        """Note that the write buffer has room again."""

    def lost(self) -> None:
        """Note that the connection is gone."""


class Connection(asyncio.BufferedProtocol):
    """An `asyncio` protocol; everything in it happens in the loop's callbacks."""

    def __init__(
        self, context: TcpContext, owner: ConnectionOwner, handshake: Handshake, *, dialled: bool
    ) -> None:
        """Prepare; the loop calls `connection_made`."""
        self._context = context
        self._owner = owner
        self._handshake = handshake
        self._dialled = dialled
        self._loop = asyncio.get_running_loop()
        self._reader = FrameReader(MAX_HANDSHAKE_FRAME_BYTES)
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._last_sent = self._last_frame = self._loop.time()
        self._closing = False
        self._address = "?"
        self._paused = False
        self._room = 0
        """Bytes of the buffer that the socket was given last."""
        self._unbroken = 0
        """Bytes that came in full buffers, one after the other, in this turn of the loop."""
        self._rests = False
        """Nothing is read until the next turn."""
        self.broker_id = handshake.peer_broker_id
        """The other side: claimed until `authenticated`, then proven."""
        self.taker: FrameTaker | None = None
        """Set by the owner when the connection is ready and carries no RPCs."""
        self.writable = False
        """True when the handshake is done and the write buffer has room."""
        self.closed = asyncio.Event()
        """Set when `connection_lost` was called."""

    @property
    def purpose(self) -> Purpose:
        """What the dialer wants the connection for; known when it is ready."""
        return self._handshake.purpose

    @property
    def ready(self) -> bool:
        """The handshake succeeded and nobody closed the connection."""
        return self._handshake.done and not self._closing

    @property
    def authenticated(self) -> bool:
        """The handshake succeeded, whatever came later."""
        return self._handshake.done

    # --- called by the loop ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake."""
        self._transport = cast("asyncio.Transport", transport)
        self._address = str(transport.get_extra_info("peername"))
        _set_socket_options(transport.get_extra_info("socket"), self._context.limits)
        self._transport.set_write_buffer_limits(high=self._context.limits.write_buffer_bytes)
        self._deadline = self._loop.call_later(
            self._context.limits.handshake_timeout_ms / 1000,
            self.reject,
            "timeout",
            "no handshake in time",
        )
        self._owner.connection_made(self)
        if hello := self._handshake.start():
            self._write_handshake(hello)

    def get_buffer(self, _sizehint: int) -> memoryview:
        """Return where the socket writes next."""
        buffer = self._reader.get_buffer()
        self._room = len(buffer)
        return buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take the frames that are complete now."""
        if self._closing:
            return
        self._context.counters.bytes_received += nbytes
        if nbytes == self._room:  # there is more: who reads goes on at once
            self._unbroken += nbytes
            if self._unbroken >= TURN_BYTES:
                self._rest()
        else:
            self._unbroken = 0
        reader = self._reader
        reader.unread += nbytes
        rpcs: list[tuple[int, Rpc]] = []
        rejection: FrameError | None = None
        count = 0
        takes_rpcs = self._handshake.done and not self._dialled and self.taker is None
        try:
            while reader.unread and (frame := reader.next_frame()) is not None:
                if takes_rpcs and frame.kind is not FrameKind.PING:
                    rpcs += decode_frame(frame)
                else:
                    self._frame_received(frame, rpcs)
                count += 1
        except FrameError as error:
            rejection = error
        if count:
            self._context.counters.frames_received += count
            self._last_frame = self._loop.time()
        is_sign = takes_rpcs and count > 0 and rejection is None
        if rpcs or is_sign:
            self._owner.connection_rpcs(self, rpcs)
        if rejection is not None:
            self.reject(rejection.reason, str(rejection))

    def pause_writing(self) -> None:
        """Hold frames back: the write buffer is full."""
        self.writable = False

    def resume_writing(self) -> None:
        """Write on."""
        self.writable = self.ready
        if self.writable:
            self._owner.connection_writable(self)
            if self.taker is not None:
                self.taker.writable()

    def connection_lost(self, exc: Exception | None) -> None:
        """Report the end, once."""
        if not self._closing and not self._handshake.done:
            self._count_rejection("closed", f"closed during the handshake ({exc})")
        self._stop_deadline()
        self._closing = True
        self.writable = False
        self.closed.set()
        self._owner.connection_lost(self)
        if self.taker is not None:
            self.taker.lost()

    # --- called by the owner -----------------------------------------------------------------

    def write(self, frames: Sequence[EncodedFrame]) -> None:
        """Write frames now. Small buffers are joined; large ones are not copied."""
        transport = self._transport
        if transport is None or self._closing:
            return
        small: list[bytes] = []
        size = 0
        for frame in frames:
            size += frame.size_bytes
            for buffer in frame.buffers:
                if len(buffer) < MIN_REFERRED_BYTES:
                    small.append(buffer)
                    continue
                if small:
                    transport.write(b"".join(small))
                    small = []
                transport.write(buffer)
        if small:
            transport.write(small[0] if len(small) == 1 else b"".join(small))
        self._context.counters.frames_sent += len(frames)
        self._context.counters.bytes_sent += size
        self._last_sent = self._loop.time()

    def check(self, now: float, *, stalled: bool) -> None:
        """Ping when idle, or close when silent; called now and then.

        Args:
            now: the loop's time, seconds.
            stalled: our own loop stood still, so that silence proves nothing.
        """
        limits = self._context.limits
        if not self.ready:
            return
        if self._dialled:
            if self.writable and now - self._last_sent >= limits.ping_interval_ms / 1000:
                self.write((PING_FRAME,))
        elif stalled:
            self._last_frame = now
        elif now - self._last_frame >= limits.silence_timeout_ms / 1000:
            self.reject("silence", f"no frame for {limits.silence_timeout_ms} ms")

    def reject(self, reason: str, message: str) -> None:
        """Close for a reason that is counted and logged."""
        if not self._closing:
            self._count_rejection(reason, message)
            self.abort()

    def pause_reading(self) -> None:
        """Take no more from the socket for now."""
        if not self._paused and not self._closing and self._transport is not None:
            self._paused = True
            if not self._rests:
                self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        if self._paused and not self._closing and self._transport is not None:
            self._paused = False
            if not self._rests:
                self._transport.resume_reading()

    def close(self) -> None:
        """Close when what is buffered is written, or cannot be; `connection_lost` follows."""
        if self._closing:
            return
        self._closing = True
        self.writable = False
        if self._transport is not None:
            limit = self._context.limits.handshake_timeout_ms / 1000
            self._deadline = self._loop.call_later(limit, self.abort)
            self._transport.close()

    def abort(self) -> None:
        """Close at once; buffered bytes are dropped, `connection_lost` follows."""
        self._closing = True
        self.writable = False
        self._stop_deadline()
        if self._transport is not None:
            self._transport.abort()

    # --- inside ------------------------------------------------------------------------------

    def _rest(self) -> None:
        """Read nothing until everybody else has had a turn."""
        self._unbroken = 0
        if self._transport is not None and not (self._rests or self._paused):
            self._rests = True
            self._transport.pause_reading()
            self._loop.call_soon(self._end_rest)

    def _end_rest(self) -> None:
        self._rests = False
        if not self._paused and not self._closing and self._transport is not None:
            self._transport.resume_reading()

    def _frame_received(self, frame: Frame, rpcs: list[tuple[int, Rpc]]) -> None:
        if self._handshake.done:
            if self.taker is not None:
                self.taker.frame_received(frame)
            elif self._dialled:
                raise FrameError("unexpected_frame", f"{frame.kind.name} from the side we dialled")
            elif frame.kind is FrameKind.PING:
                if frame.body or frame.group_id or frame.sender:
                    raise FrameError("body", "a PING frame is empty")
            else:
                rpcs += decode_frame(frame)
            return
        try:
            answer = self._handshake.receive(frame)
        finally:
            self.broker_id = self._handshake.peer_broker_id
        if answer:
            self._write_handshake(answer)
        if self._handshake.done:
            self._stop_deadline()
            self._reader.raise_limit(self._context.limits.max_frame_bytes)
            self.writable = True
            self._owner.connection_ready(self)

    def _write_handshake(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)
        self._context.counters.frames_sent += 1
        self._context.counters.bytes_sent += len(data)
        self._last_sent = self._loop.time()

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _count_rejection(self, reason: str, message: str) -> None:
        self._context.counters.rejected_connections[reason] += 1
        logger.log(
            logging.INFO if reason == "closed" else logging.WARNING,
            "Connection %s %s (broker %d) ended: %s: %s",
            "to" if self._dialled else "from",
            self._address,
            self.broker_id,
            reason,
            message,
        )


def _set_socket_options(sock: socket.socket | None, limits: TransportLimits) -> None:
    """No delay for small frames; give up on a peer that acknowledges nothing any more."""
    if sock is None:
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, limits.silence_timeout_ms)
