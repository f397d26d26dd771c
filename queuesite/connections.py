"""Who may stay connected to a server: not the idle, not the slow, and not more than there is room.

The connections are looked at a few times in each window. Time is counted in looks, so that a pause
of this process is not taken for slowness of its clients.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from prometheus_client import Counter, Gauge

from myqueue.contract import retry_after
from myqueue.contract.errors import Overloaded, QueueError, RequestTimeout

if TYPE_CHECKING:
    from http_base.memory_budget import MemoryShare

LOOKS_PER_WINDOW = 4
"""How often connections are looked at in one window."""
IDLE_CLOSED_SHARE = 20
"""When there is room for no further connection, one in this many makes some: the longest idle."""

CONNECTIONS = Gauge("queue_http_connections", "Open HTTP connections")
CONNECTIONS_CUT = Counter(
    "queue_http_connections_cut", "HTTP connections that were closed here, by reason", ["reason"]
)


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What the connections of a server may cost it."""

    connections_max: int = 20_000
    """Open connections."""
    idle_s: float = 75
    """Seconds until a connection without a request is closed; longer than the pools of usual
    clients keep one."""
    bytes_per_second_min: int = 4_096
    """How fast a request has to be sent and an answer read, over a window."""
    window_s: float = 10
    """Seconds of the window. The headers of a request must be whole within one."""


class Stage(Enum):
    """What a connection waits for; the value is the reason why it is cut, if ever."""

    IDLE = "idle"
    """The next request."""
    HEAD = "slow_headers"
    """The rest of a request's headers."""
    BODY = "slow_sender"
    """More of a request's body."""
    WORKING = ""
    """This process."""
    UNSENT = "slow_reader"
    """Its client, which has to read."""


_FLOWING = (Stage.BODY, Stage.UNSENT)


class Guarded(Protocol):
    """A connection, as the guard sees it."""

    def stage(self) -> Stage:
        """Return what it waits for."""

    def request_number(self) -> int:
        """Return how many requests began on it."""

    def received_bytes(self) -> int:
        """Return how many bytes came so far."""

    def unsent_bytes(self) -> int:
        """Return how many bytes wait for its client to read."""

    def refuse(self, error: QueueError) -> None:
        """Answer with an error if nothing was answered yet, and close it."""

    def abort(self) -> None:
        """Close it at once."""


class _Seen:
    """What the guard knows of a connection."""

    __slots__ = ("looks", "progress", "request_number", "stage")

    def __init__(self) -> None:
        self.stage = Stage.WORKING
        self.request_number = -1
        self.progress = 0
        """Bytes at the start of the window; they grow while the client does its part."""
        self.looks = 0
        """Since then."""


class ConnectionGuard:
    """Watches the connections of a server, in its event loop."""

    def __init__(self, limits: ConnectionLimits, answers: MemoryShare) -> None:
        """Watch nothing yet.

        Args:
            limits: what is allowed.
            answers: counts the bytes of answers that clients have not read; beyond its limit the
                client is cut off that has been reading longest.
        """
        self.limits = limits
        self._answers = answers
        self._period_s = limits.window_s / LOOKS_PER_WINDOW
        self._idle_looks = max(1, round(limits.idle_s / self._period_s))
        self._bytes_min = limits.bytes_per_second_min * limits.window_s
        self._seen: dict[Guarded, _Seen] = {}
        self._unsent: dict[Guarded, int] = {}
        """Bytes by connection, which has been reading longest first."""
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._seen)

    def start(self) -> None:
        """Look at the connections from now on."""
        self._timer = asyncio.get_running_loop().call_later(self._period_s, self._look)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def admit(self, connection: Guarded) -> None:
        """Take a new connection, or refuse it with OVERLOADED."""
        if len(self._seen) >= self.limits.connections_max and not self._close_idle():
            CONNECTIONS_CUT.labels("limit").inc()
            connection.refuse(
                Overloaded(
                    f"this server has {len(self._seen)} connections, the limit"
                    " (QUEUE_CONNECTIONS_MAX)",
                    retry_after_ms=retry_after.LIMIT_MS,
                )
            )
            return
        self._seen[connection] = _Seen()
        CONNECTIONS.inc()

    def forget(self, connection: Guarded) -> None:
        """Let a connection go that is closed; again is no error."""
        if self._seen.pop(connection, None) is not None:
            CONNECTIONS.dec()
        self._answers.move(-self._unsent.pop(connection, 0))

    def count_unsent(self, connection: Guarded) -> None:
        """Count what a connection has for its client to read; who reads slowly makes room."""
        size_bytes, held = connection.unsent_bytes(), self._unsent.get(connection, 0)
        if size_bytes == held or connection not in self._seen:
            return
        if size_bytes:
            self._unsent[connection] = size_bytes
        else:
            del self._unsent[connection]
        self._answers.move(size_bytes - held)
        while self._answers.used_bytes > self._answers.limit_bytes:
            self._answers.refusals += 1
            self._cut(next(iter(self._unsent)), "unsent_limit")

    def _look(self) -> None:
        for connection, seen in list(self._seen.items()):
            self.count_unsent(connection)
            if connection in self._seen and (reason := self._judge(connection, seen)):
                self._cut(connection, reason)
        self.start()

    def _judge(self, connection: Guarded, seen: _Seen) -> str:
        """Return why a connection has to be cut, an empty text when it may stay."""
        stage, number = connection.stage(), connection.request_number()
        progress = (
            -connection.unsent_bytes() if stage is Stage.UNSENT else connection.received_bytes()
        )
        is_new = (stage, number) != (seen.stage, seen.request_number)
        if is_new or (stage is Stage.UNSENT and progress < seen.progress):
            seen.stage, seen.request_number = stage, number
            seen.progress, seen.looks = progress, 0
            return ""
        seen.looks += 1
        is_over = seen.looks >= (self._idle_looks if stage is Stage.IDLE else LOOKS_PER_WINDOW)
        if not is_over or stage is Stage.WORKING:
            return ""
        if stage in _FLOWING and progress - seen.progress >= self._bytes_min:
            seen.progress, seen.looks = progress, 0
            return ""
        reason: str = stage.value
        return reason

    def _cut(self, connection: Guarded, reason: str) -> None:
        CONNECTIONS_CUT.labels(reason).inc()
        self.forget(connection)
        if reason in (Stage.HEAD.value, Stage.BODY.value):
            limits = self.limits
            connection.refuse(
                RequestTimeout(
                    f"the request did not come within {limits.window_s} s, or with fewer than"
                    f" {limits.bytes_per_second_min} bytes a second (QUEUE_SLOW_WINDOW_S,"
                    " QUEUE_SLOW_BYTES_PER_SECOND)"
                )
            )
        else:
            connection.abort()

    def _close_idle(self) -> bool:
        """Close some of those that have been idle longest; False when there is none."""
        idle = [
            (seen.looks, connection)
            for connection, seen in self._seen.items()
            if connection.stage() is Stage.IDLE
        ]
        idle.sort(key=lambda one: one[0], reverse=True)
        for _, connection in idle[: 1 + self.limits.connections_max // IDLE_CLOSED_SHARE]:
            self._cut(connection, "limit_idle")
        return bool(idle)
