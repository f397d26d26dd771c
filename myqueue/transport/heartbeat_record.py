"""Since when managers have not answered heartbeats, and when that is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from myqueue.transport.rotation import WARN_AFTER_S

if TYPE_CHECKING:
    from myqueue.contract.errors import QueueError
    from myqueue.transport.clock import Clock
    from myqueue.transport.complaints import Complaints


class Unheard(NamedTuple):
    """Heartbeats that no manager has answered, in a row."""

    error: QueueError
    """What the last one ended with."""
    since_s: float
    """Monotonic time at which the first one began."""
    last_s: float
    """Monotonic time at which the last one ended."""


class HeartbeatRecord:
    """How the heartbeats of a client end, those of its registrations and of its group.

    Args:
        kind: producer or consumer.
        clock: time.
        complaints: where failures are told.

    Attributes:
        unheard: the failures in a row; None when the last heartbeat was answered.
    """

    def __init__(self, kind: str, clock: Clock, complaints: Complaints) -> None:
        self._kind = kind
        self._clock = clock
        self._complaints = complaints
        self.unheard: Unheard | None = None

    def answered(self) -> None:
        """Note that one was answered."""
        self.unheard = None
        self._complaints.forget("heartbeats")

    def failed(self, error: QueueError, began_s: float) -> None:
        """Note that one failed; warn when they have for longer than an election of anything takes.

        Args:
            error: what it ended with.
            began_s: monotonic time at which it was sent.
        """
        since_s = began_s if self.unheard is None else self.unheard.since_s
        self.unheard = Unheard(error, since_s, self._clock.monotonic())
        silent_s = self.unheard.last_s - since_s
        if silent_s >= WARN_AFTER_S:
            self._complaints.warn(
                "heartbeats",
                "heartbeats of this %s fail for %.1f s: %s: %s",
                *(self._kind, silent_s, error.code, error.message),
            )
