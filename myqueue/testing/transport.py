"""The client's seam to a queue in memory, for threads; `aio_transport` has the other one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from myqueue.contract.errors import OUTCOME_UNKNOWN, BrokerUnreachable
from myqueue.transport.connection import wait_ready

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from myqueue.contract.http1 import Answer, Request
    from myqueue.transport.blocking import Exchange
    from myqueue.transport.selfpipe import SelfPipe

GLANCE_S = 0.01
"""How often a wait looks for a waker."""


class DroppedError(Exception):
    """The connection is closed without an answer."""


class Host(Protocol):
    """Who has the queue: its lock, its time, and its answers."""

    def reach(self, address: str) -> None:
        """Raise BrokerUnreachable when nobody is at an address."""
        ...

    def handle(self, address: str, request: Request) -> Answer:
        """Answer a request at once.

        Raises:
            DroppedError: the connection breaks before an answer.
        """
        ...

    def held_ms(self, address: str, request: Request) -> int:
        """Return how many milliseconds a request waits for what is not there yet."""
        ...

    def now_s(self) -> float:
        """Return the monotonic clock, in seconds."""
        ...

    def wait(self, predicate: Callable[[], bool], timeout_s: float | None) -> bool:
        """Wait until the predicate holds; False when the time was over before."""
        ...

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Have a function called after every change; return one that ends it."""
        ...


class MemoryExchange:
    """A request that is answered at once, or held until there is something to answer."""

    def __init__(self, host: Host, address: str, request: Request, timeout_s: float) -> None:
        self._host = host
        self.address = address
        self.request = request
        self._answer: Answer | BrokerUnreachable | None = None
        self.cancelled = False
        now_s = host.now_s()
        self._held_until_s = now_s + host.held_ms(address, request) / 1000
        self._deadline_s = now_s + timeout_s
        self.look()

    @property
    def due_s(self) -> float:
        """When it is answered at the latest."""
        return min(self._held_until_s, self._deadline_s)

    def look(self) -> bool:
        """Answer if that is possible now; return whether it is answered."""
        if self._answer is not None:
            return True
        now_s = self._host.now_s()
        held_ms = self._host.held_ms(self.address, self.request) if now_s < self.due_s else 0
        if held_ms:
            # What it waits for may come sooner than it seemed when it was sent.
            self._held_until_s = min(self._held_until_s, now_s + held_ms / 1000)
            return False
        try:
            self._answer = self._host.handle(self.address, self.request)
        except DroppedError:
            self._answer = BrokerUnreachable(
                f"no answer from {self.address}", outcome=OUTCOME_UNKNOWN
            )
        return True

    def answer(self, patience_s: float | None = None) -> Answer | None:
        """Return the answer; None when none came within `patience_s` seconds."""
        self.look()
        remaining_s = max(0.0, self.due_s - self._host.now_s())
        patience_s = remaining_s if patience_s is None else min(patience_s, remaining_s)
        self._host.wait(self.look, patience_s)
        return self.result()

    def result(self) -> Answer | None:
        """Return the answer if it is there.

        Raises:
            BrokerUnreachable: the connection broke.
        """
        if isinstance(self._answer, BrokerUnreachable):
            raise self._answer
        return self._answer

    def cancel(self) -> None:
        """Note that nobody waits for the answer any more."""
        self.cancelled = True


class MemoryTransport:
    """Requests straight into a queue in memory.

    Args:
        host: the queue that answers.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self.closed = False

    def request(self, address: str, request: Request, *, timeout_s: float) -> Answer:
        """Send a request and return its answer, whatever its status."""
        answer = self.begin(address, request, timeout_s=timeout_s).answer()
        assert answer is not None, "it waited until the answer was due"
        return answer

    def begin(self, address: str, request: Request, *, timeout_s: float) -> MemoryExchange:
        """Send a request whose answer is read later."""
        self._host.reach(address)
        return MemoryExchange(self._host, address, request, timeout_s)

    def wait(
        self,
        exchanges: Sequence[Exchange],
        *,
        timeout_s: float | None,
        waker: SelfPipe | None = None,
    ) -> list[Exchange]:
        """Return those of the exchanges that are answered, at the latest after the time."""
        if not exchanges and timeout_s is None and waker is not None:
            wait_ready([], None, also=waker.fileno())
            return []
        answered: list[Exchange] = []

        def some() -> bool:
            answered[:] = [
                one for one in exchanges if isinstance(one, MemoryExchange) and one.look()
            ]
            return bool(answered) or (waker is not None and waker.woken)

        some()
        dues = [one.due_s for one in exchanges if isinstance(one, MemoryExchange)]
        end_s = None if timeout_s is None else self._host.now_s() + timeout_s
        until_s = min([*dues, *([] if end_s is None else [end_s])], default=None)
        wait_s = None if until_s is None else max(0.0, until_s - self._host.now_s())
        self._host.wait(some, wait_s)
        return answered

    def close(self) -> None:
        """Do nothing but note it: there are no connections."""
        self.closed = True

    def restart(self) -> None:
        """Go on in the child of a fork, with a copy of the queue."""
        self.closed = False
