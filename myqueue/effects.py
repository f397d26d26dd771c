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
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from myqueue.http1 import Request

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


class Ask(NamedTuple):
    """Send a request and wait for its answer. The result is an `Answer`."""

    address: str
    request: Request
    timeout_s: float


class Begin(NamedTuple):
    """Send a request; its answer is waited for later. The result is a `Pending`."""

    address: str
    request: Request
    timeout_s: float


class Await(NamedTuple):
    """Wait for the answer of what was begun. The result is an `Answer`, or None when none came."""

    pending: Pending
    patience_s: float | None = None
    """Longest wait; without it, until the request's own timeout."""


class AwaitAny(NamedTuple):
    """Wait until some answers are there. The result is the list of those `Pending`s."""

    pendings: Sequence[Pending]
    timeout_s: float


class Pause(NamedTuple):
    """Wait so many seconds."""

    seconds: float


class Acquire(NamedTuple):
    """Wait for a lock. The result is whether it is held."""

    lock: Lock
    timeout_s: float | None = None
    """Longest wait; without it, until it is free."""


Effect = Ask | Begin | Await | AwaitAny | Pause | Acquire
Flow = Generator[Effect, Any, T]
