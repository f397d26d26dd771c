"""What a flow may wait for. A flow decides; whoever drives it waits.

A flow is a generator: it yields an effect, is sent the result or thrown the failure, and returns
what it was made for. The same flows are driven by the calling thread (`driving.py`), by the
producer's background thread for many at once (`pump.py`), and by an event loop (`aio.py`), so that
what the client does about failures is written once.

The contract of a driver:

1. start with `send(None)`, then for each effect carry it out;
2. send the result in, or throw in what carrying it out raised, whatever it was;
3. when it stops waiting for good (an interrupt, a cancelled task), throw that in or close the flow:
   its clean-up decides what became of requests under way.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from myqueue.contract.errors import QueueError

if TYPE_CHECKING:
    from myqueue.contract.http1 import Request
    from myqueue.transport.clock import Clock

T = TypeVar("T")


class Lock(Protocol):
    """A lock of the kind that belongs to the driver; flows release it themselves."""

    def release(self) -> None:
        """Let the next one in."""
        ...

    def locked(self) -> bool:
        """Return True while somebody holds it."""
        ...


class Pending(Protocol):
    """An exchange that a driver began."""

    def cancel(self) -> None:
        """Give the answer up."""
        ...


class Ask(Struct, frozen=True):
    """Send a request and wait for its answer. The result is an `Answer`."""

    address: str
    request: Request
    timeout_s: float


class Begin(Struct, frozen=True):
    """Send a request; its answer is waited for later. The result is a `Pending`."""

    address: str
    request: Request
    timeout_s: float
    connect_s: float | None = None
    """Longest wait for a connection, where the driver waits for it; without it, the transport's."""


class Await(Struct, frozen=True):
    """Wait for the answer of what was begun. The result is an `Answer`, or None when none came."""

    pending: Pending
    patience_s: float | None = None
    """Longest wait; without it, until the request's own timeout."""


class AwaitAny(Struct, frozen=True):
    """Wait until some answers are there. The result is the list of those `Pending`s."""

    pendings: Sequence[Pending]
    timeout_s: float


class Pause(Struct, frozen=True):
    """Wait so many seconds."""

    seconds: float


class Acquire(Struct, frozen=True):
    """Wait for a lock. The result is whether it is held."""

    lock: Lock
    timeout_s: float | None = None
    """Longest wait; without it, until it is free."""


Effect = Ask | Begin | Await | AwaitAny | Pause | Acquire
Flow = Generator[Effect, Any, T]


class TimeIsOver(Exception):
    """Thrown into a flow that has no more time; like any interrupt, its clean-up deals with it."""


def within(flow: Flow[T], clock: Clock, deadline_s: float) -> Flow[T]:
    """Drive a flow until a time at the longest, whatever it waits for then.

    Args:
        flow: at its beginning.
        clock: time.
        deadline_s: monotonic time.

    Raises:
        TimeIsOver: it had not ended by then.
        BaseException: what the flow raises.
    """
    result: Any = None
    failure: BaseException | None = None
    while True:
        try:
            effect = flow.send(result) if failure is None else flow.throw(failure)
        except StopIteration as end:
            value: T = end.value
            return value
        result, failure = None, None
        shorter = _shortened(effect, max(0.0, deadline_s - clock.monotonic()))
        try:
            result = yield shorter
        except BaseException as error:  # noqa: BLE001 - the flow is told, and raises it again
            failure = error
        if shorter is effect or result or clock.monotonic() < deadline_s:
            continue
        if failure is None or isinstance(failure, QueueError):
            failure = TimeIsOver()


def _shortened(effect: Effect, remaining_s: float) -> Effect:
    """Return an effect that waits no longer than the time that is left; itself if it does not."""
    match effect:
        case Ask(timeout_s=wait_s) | AwaitAny(timeout_s=wait_s) if wait_s > remaining_s:
            return replace(effect, timeout_s=remaining_s)
        case Begin(connect_s=None):
            return replace(effect, connect_s=remaining_s)
        case Await(patience_s=patience_s) if patience_s is None or patience_s > remaining_s:
            return replace(effect, patience_s=remaining_s)
        case Pause(seconds) if seconds > remaining_s:
            return Pause(remaining_s)
        case Acquire(timeout_s=limit_s) if limit_s is None or limit_s > remaining_s:
            return replace(effect, timeout_s=remaining_s)
    return effect
