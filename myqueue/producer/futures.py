"""The future of a message, cheap enough for hundreds of thousands a second."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from myqueue.producer.relay import Relay

T = TypeVar("T")

_RUNNING, _FINISHED = "RUNNING", "FINISHED"


# The base class makes a condition with its lock and two lists for each future, and takes the lock
# to settle it: 1.5 us for what takes 0.3 here. That is half of what `send` costs: 9 us of processor
# time a message into a queue in memory, whether results are looked at or not; 20 with the base
# class. The price is that names of the base class are used which begin with an underscore;
# test_futures.py has every way in which the standard library uses them.
class DeliveryFuture(Future[T]):
    """A future that makes its condition only when somebody waits for it.

    `result`, `exception`, `add_done_callback`, `concurrent.futures.wait` and `asyncio.wrap_future`
    work as with any other. `cancel` returns False: what was given to the producer goes out.
    """

    _state: str = _RUNNING
    _result: T | None = None
    _exception: BaseException | None = None
    is_reported: bool = False
    """True once the program took the failure, with `result` or `exception`."""

    def __init__(self) -> None:
        """Leave out what the base class makes for each instance."""

    def __getattr__(self, name: str) -> Any:
        """Make a condition or a list when it is first asked for; `setdefault` decides races."""
        if name == "_condition":
            return self.__dict__.setdefault(name, threading.Condition())
        if name in ("_waiters", "_done_callbacks"):
            return self.__dict__.setdefault(name, [])
        raise AttributeError(name)

    def result(self, timeout: float | None = None) -> T:
        """Return the result, or raise the failure, which counts as reported from then on."""
        error = self.exception(timeout)
        if error is None:
            return self._result  # type: ignore[return-value]
        try:
            raise error
        finally:
            # As the base class does: the error has this frame, which is not to keep the future.
            del self, error

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return the failure, which counts as reported from then on, or None."""
        error = self._exception if self._state is _FINISHED else super().exception(timeout)
        if error is not None:
            self.is_reported = True
        return error

    def count_as_reported(self) -> None:
        """Note that the failure is reported in another way."""
        self.is_reported = True

    def settle(self, result: T) -> None:
        """Set the result and wake those who wait; at most once.

        The state is set before the condition is looked for, and those who wait look at the state
        after they made the condition: one of the two sees the other.
        """
        self._result = result
        self._state = _FINISHED
        if "_condition" in self.__dict__:
            self._tell()

    def fail(self, error: BaseException) -> None:
        """Set the failure and wake those who wait; at most once."""
        self._exception = error
        self._state = _FINISHED
        if "_condition" in self.__dict__:
            self._tell()

    def _tell(self) -> None:
        with self._condition:
            for waiter in self._waiters:
                if self._exception is None:
                    waiter.add_result(self)
                else:
                    waiter.add_exception(self)
            self._condition.notify_all()
        self._invoke_callbacks()


class Outcome(Generic[T]):
    """What becomes of a message whose caller waits for it: a lock, and nothing else.

    Only one thread waits, once; it is certain to hear of a failure.

    Args:
        relay: wakes those in turn whose messages went together; without one the caller is woken
            at once.
    """

    __slots__ = ("_error", "_open", "_relay", "_result")
    is_reported = True

    def __init__(self, relay: Relay | None = None) -> None:
        self._relay = relay
        self._result: T | None = None
        self._error: BaseException | None = None
        self._open = threading.Lock()
        self._open.acquire()

    def wait(self) -> T:
        """Return the result, or raise the failure."""
        self._open.acquire()
        if self._relay is not None:
            self._relay.pass_on()
        error = self._error
        if error is None:
            return self._result  # type: ignore[return-value]
        try:
            raise error
        finally:
            # The error has this frame, which is not to keep the outcome.
            del self, error

    def count_as_reported(self) -> None:
        """Do nothing: it is."""

    def settle(self, result: T) -> None:
        """Take the result and wake the caller, or have it woken in turn; at most once."""
        self._result = result
        if self._relay is None:
            self._open.release()
        else:
            self._relay.add(self._open)

    def fail(self, error: BaseException) -> None:
        """Take the failure and wake the caller; at most once."""
        self._error = error
        self._open.release()
