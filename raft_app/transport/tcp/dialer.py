"""The outgoing side to one peer: its connection, the redialling, the queues before it."""

from __future__ import annotations

import asyncio
import logging
import secrets
from operator import attrgetter
from typing import TYPE_CHECKING

from http_base.tasks import spawn
from myqueue.contract.backoff import Backoff
from myqueue.contract.tls import describe_failure
from raft_app.core.types import AppendEntries, Heartbeat, HeartbeatReply
from raft_app.transport.codec import encode_rpcs
from raft_app.transport.frames import PING_FRAME
from raft_app.transport.handshake import CHALLENGE_BYTES, DialerHandshake
from raft_app.transport.protocol import parse_address
from raft_app.transport.send_queue import SendQueue
from raft_app.transport.tcp.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from raft_app.core.types import Rpc
    from raft_app.transport.frames import EncodedFrame
    from raft_app.transport.protocol import TransportLimits
    from raft_app.transport.tcp.connection import TcpContext

logger = logging.getLogger(__name__)

WRITE_BYTES = 64 << 10
"""About what is handed to the socket at once; larger frames go alone."""

_size_bytes = attrgetter("size_bytes")
_system_random = secrets.SystemRandom()


def backoff_seconds(
    failures: int, limits: TransportLimits, randomizer: Callable[[float, float], float]
) -> float:
    """Return the pause before the next dial.

    Args:
        failures: dials in a row that came to nothing.
        limits: shortest and longest pause.
        randomizer: gives a number between two.
    """
    shortest_s = limits.reconnect_min_ms / 1000
    backoff = Backoff(shortest_s, limits.reconnect_max_ms / 1000)
    return randomizer(shortest_s, backoff.pause_s(failures + 1))


class Dialer:
    """Keeps one connection to one peer and sends our RPCs on it.

    Without a connection heartbeats and appends are dropped; they are repeated anyway. Other RPCs
    wait for the dial in progress or the next one, and are dropped when it fails, so that a vote
    asked for while the brokers still meet is not lost.
    """

    def __init__(self, context: TcpContext, broker_id: int, address: str) -> None:
        """Start dialling at once."""
        self.broker_id = broker_id
        self.address = address
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._queue = SendQueue(
            max_control_bytes=context.limits.max_queued_control_bytes,
            max_append_bytes=context.limits.max_queued_append_bytes,
            share=context.queues,
        )
        self._direct_bytes = min(WRITE_BYTES, context.limits.max_frame_bytes)
        self._connection: Connection | None = None
        self._attempt: Connection | None = None
        self._wake = asyncio.Event()
        self._closing = False
        self._told_unreachable = False
        self._task = spawn(f"dialling broker {broker_id}", self._dial_forever())

    @property
    def connected(self) -> bool:
        """The connection is up and the handshake done."""
        return self._connection is not None

    @property
    def closed(self) -> bool:
        """Nothing is left of it after `close`."""
        return self._task.done() and (self._attempt is None or self._attempt.closed.is_set())

    def wake(self) -> None:
        """Cut the pause before the next dial short: there is reason to believe that it works."""
        if self._connection is None:
            self._wake.set()

    def check(self, now: float, *, stalled: bool) -> None:
        """Let the connection ping when it is idle."""
        if self._connection is not None:
            self._connection.check(now, stalled=stalled)

    def send(self, rpcs: Sequence[tuple[int, Rpc]]) -> None:
        """Write RPCs as far as the socket takes them now, and queue the others.

        Without any, write a sign of life; there is none without a connection.
        """
        connection = self._connection
        if connection is None:
            rpcs = self._drop_repeated(rpcs)
            if not rpcs:
                return
        control, appends = encode_rpcs(rpcs) if rpcs else ([PING_FRAME], [])
        if connection is not None and connection.writable and not self._queue.count:
            frames = [*control, *appends]
            if sum(map(_size_bytes, frames)) <= self._direct_bytes:
                connection.write(frames)  # nothing has to wait
                return
        for frame in control:
            if self._is_oversize(frame) or not self._queue.put_control(frame):
                self._context.counters.dropped_control += 1
        for frame in appends:
            if self._is_oversize(frame) or not self._queue.put_append(frame):
                self._drop_append()
        self._flush()

    def close(self) -> None:
        """Give up the connection and dial no more; nobody is told."""
        self._closing = True
        self._connection = None
        self._queue.clear()
        if self._attempt is not None:
            self._attempt.abort()
        self._task.cancel()

    async def wait_closed(self) -> None:
        """Return when nothing is left of it after `close`."""
        await asyncio.wait((self._task,))
        if self._attempt is not None:
            await self._attempt.closed.wait()

    # --- called by the connection ------------------------------------------------------------

    def connection_made(self, connection: Connection) -> None:
        """Keep it from the moment it exists."""
        self._attempt = connection
        if self._closing:
            connection.abort()

    def connection_ready(self, connection: Connection) -> None:
        """Send on it from now on."""
        logger.info("Connected to broker %d at %s", self.broker_id, self.address)
        self._connection = connection
        self._told_unreachable = False
        self._flush()

    def connection_writable(self, connection: Connection) -> None:
        """Write what was held back."""
        if connection is self._connection:
            self._flush()

    def connection_rpcs(self, connection: Connection, rpcs: list[tuple[int, Rpc]]) -> None:
        """Refuse: the connection takes no RPCs from the side that was dialled."""
        raise AssertionError(f"{len(rpcs)} RPCs on {connection}, which only sends")

    def connection_lost(self, connection: Connection) -> None:
        """Drop what was on its way, and say so if the connection had been of use."""
        if self._closing:
            return
        self._drop_queue()
        if self._connection is connection:
            logger.warning("Lost the connection to broker %d at %s", self.broker_id, self.address)
            self._connection = None
            self._tell_unreachable()

    # --- inside ------------------------------------------------------------------------------

    async def _dial_forever(self) -> None:
        failures = 0
        while True:
            started = self._loop.time()
            self._wake.clear()
            try:
                was_ready = await self._dial(quiet=failures > 0)
            except Exception:  # the edge: without a dial this peer is lost until a restart
                logger.log(
                    logging.DEBUG if failures else logging.ERROR,
                    "Dialling broker %d at %s failed in an unexpected way; it is tried again",
                    self.broker_id,
                    self.address,
                    exc_info=True,
                )
                was_ready = False
            lived_ms = (self._loop.time() - started) * 1000
            if was_ready and lived_ms >= self._context.limits.reconnect_max_ms:
                failures = 0
            pause = backoff_seconds(failures, self._context.limits, _system_random.uniform)
            failures += 1
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _dial(self, *, quiet: bool) -> bool:
        """Dial once; return when the connection has ended, with whether it had been of use."""
        host, port = parse_address(self.address)
        try:
            async with asyncio.timeout(self._context.limits.handshake_timeout_ms / 1000):
                _, connection = await self._loop.create_connection(
                    self._make_connection, host, port, **self._context.secure
                )
        except OSError as error:
            logger.log(
                logging.DEBUG if quiet else logging.WARNING,
                "Cannot reach broker %d at %s: %s",
                self.broker_id,
                self.address,
                "timeout" if isinstance(error, TimeoutError) else describe_failure(error),
            )
            self._drop_queue()
            return False
        await connection.closed.wait()
        return connection.authenticated

    def _make_connection(self) -> Connection:
        challenge = secrets.token_bytes(CHALLENGE_BYTES)
        handshake = DialerHandshake(self._context.identity, self.broker_id, challenge)
        return Connection(self._context, self, handshake, dialled=True)

    def _flush(self) -> None:
        connection = self._connection
        while connection is not None and connection.writable:
            frames = self._queue.take(WRITE_BYTES)
            if not frames:
                self._told_unreachable = False
                return
            connection.write(frames)

    def _drop_repeated(self, rpcs: Sequence[tuple[int, Rpc]]) -> list[tuple[int, Rpc]]:
        kept: list[tuple[int, Rpc]] = []
        for group_id, rpc in rpcs:
            if isinstance(rpc, AppendEntries):
                self._drop_append()
            elif isinstance(rpc, Heartbeat | HeartbeatReply):
                self._context.counters.dropped_control += 1
            else:
                kept.append((group_id, rpc))
        return kept

    def _is_oversize(self, frame: EncodedFrame) -> bool:
        """Say whether the peer would close the connection over this frame."""
        if frame.size_bytes <= self._context.limits.max_frame_bytes:
            return False
        logger.error(
            "A frame of %d bytes to broker %d is larger than max_frame_bytes",
            frame.size_bytes,
            self.broker_id,
        )
        return True

    def _drop_queue(self) -> None:
        control, appends = self._queue.clear()
        self._context.counters.dropped_control += control
        self._context.counters.dropped_appends += appends

    def _drop_append(self) -> None:
        self._context.counters.dropped_appends += 1
        self._tell_unreachable()

    def _tell_unreachable(self) -> None:
        """Tell the handler, once until the queue was empty or the connection up again."""
        if not self._told_unreachable:
            self._told_unreachable = True
            self._loop.call_soon(self._unreachable)

    def _unreachable(self) -> None:
        if not self._closing:
            self._context.handler.peer_unreachable(self.broker_id)
