"""What is told the fate of a message, made for hundreds of thousands a second."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_RUNNING, _FINISHED = "RUNNING", "FINISHED"


class DeliveryFuture(Future[T]):
    """A future that makes its condition only when somebody waits for it.

    `result`, `exception`, `add_done_callback`, `concurrent.futures.wait` and `asyncio.wrap_future`
    work as with any other. `cancel` returns False: what was given to the producer goes out.
    """

    _state: str = _RUNNING
    _result: T | None = None
    _exception: BaseException | None = None
    is_told: bool = False
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
        """Return the result, or raise the failure, which counts as told from then on."""
        try:
            return super().result(timeout)
        except BaseException as error:
            if error is self._exception:
                self.is_told = True
            raise

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return the failure, which counts as told from then on, or None."""
        error = super().exception(timeout)
        if error is not None:
            self.is_told = True
        return error

    def count_as_told(self) -> None:
        """Note that the program hears of the failure in another way."""
        self.is_told = True

    def settle(self, result: T) -> None:
        """Tell the result to whoever waits; at most once.

        The state is set before the condition is looked for, and those who wait look at the state
        after they made the condition: one of the two sees the other.
        """
        self._result = result
        self._state = _FINISHED
        if "_condition" in self.__dict__:
            self._tell()

    def fail(self, error: BaseException) -> None:
        """Tell the failure to whoever waits; at most once."""
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


class Handover(Generic[T]):
    """What one thread waits for and another tells; a lock costs less than a future's condition."""

    __slots__ = ("_error", "_lock", "_result")
    is_told = True
    """Whoever waits is told."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self._error: BaseException | None = None

    def settle(self, result: T) -> None:
        """Tell the result; at most once."""
        self._result = result
        self._lock.release()

    def fail(self, error: BaseException) -> None:
        """Tell the failure; at most once."""
        self._error = error
        self._lock.release()

    def count_as_told(self) -> None:
        """Do nothing: whoever waits is told."""

    def wait(self) -> T:
        """Return the result when it was told; called once, by one thread.

        Raises:
            BaseException: the failure that was told.
        """
        self._lock.acquire()
        if self._error is not None:
            raise self._error
        return self._result
