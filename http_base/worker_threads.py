"""Threads beside the loop that keep their database connections from one call to the next.

To connect costs more than most calls do: PostgreSQL starts a process for it, SQLite reads the
schema anew. So a call goes to the thread that was busy last, whose connection is open; one that was
idle for a while closes its own and ends.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from functools import partial
from itertools import count
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import close_old_connections, connections

if TYPE_CHECKING:
    from collections.abc import Callable

    _Tell = Callable[[], None]
    _Call = Callable[[], _Tell]
    _Inbox = SimpleQueue[_Call | None]
T = TypeVar("T")

IDLE_S = 30.0
"""After which a thread without calls ends, in seconds."""


class WorkerThreads:
    """Runs blocking functions; of the idle threads that which was busy last takes a call."""

    def __init__(self, threads_max: int, *, name: str, idle_s: float = IDLE_S) -> None:
        """Make a pool without threads; each starts when a call needs it.

        Args:
            threads_max: functions that run at once; further ones wait, the oldest first.
            name: of the threads.
            idle_s: after which a thread without calls ends, in seconds.
        """
        self._threads_max = threads_max
        self._name = name
        self._idle_s = idle_s
        self._numbers = count()
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._idle: list[_Inbox] = []
        self._waiting: deque[tuple[Future[Any], _Call]] = deque()
        self._closed = False

    def submit(self, function: Callable[..., T], *args: object) -> Future[T]:
        """Call `function(*args)` in a thread; one whose future is cancelled before does not run.

        Raises:
            RuntimeError: the threads are closed.
        """
        future: Future[T] = Future()
        call = partial(_call, future, function, args)
        with self._lock:
            if self._closed:
                raise RuntimeError(f"the threads {self._name} are closed")
            if self._idle:
                self._idle.pop().put(call)
            elif len(self._threads) < self._threads_max:
                self._start(call)
            else:
                self._waiting.append((future, call))
        return future

    def close(self) -> None:
        """Wait for the calls that run, drop those that wait, and end the threads."""
        with self._lock:
            self._closed = True
            dropped = [future for future, _ in self._waiting]
            self._waiting.clear()
            for inbox in self._idle:
                inbox.put(None)
            self._idle.clear()
            threads = list(self._threads)
        for future in dropped:
            future.cancel()
        for thread in threads:
            thread.join()

    def _start(self, call: _Call) -> None:
        inbox: _Inbox = SimpleQueue()
        inbox.put(call)
        thread = threading.Thread(
            target=self._work,
            args=(inbox,),
            name=f"{self._name}_{next(self._numbers)}",
            daemon=True,
        )
        self._threads.add(thread)
        thread.start()

    def _work(self, inbox: _Inbox) -> None:
        """Make the calls that come into the inbox of a thread, until there are none."""
        try:
            call = inbox.get()
            while call is not None:
                tell = call()
                call = self._turn(inbox)  # who hears of the end may have the next call for it
                tell()
                del tell
                if call is None:
                    call = self._await_call(inbox)
        finally:
            connections.close_all()
            with self._lock:
                self._threads.discard(threading.current_thread())

    def _turn(self, inbox: _Inbox) -> _Call | None:
        """Return the call that waits longest; without one the thread is idle."""
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()[1]
            if self._closed:
                inbox.put(None)
            else:
                self._idle.append(inbox)
            return None

    def _await_call(self, inbox: _Inbox) -> _Call | None:
        """Return the next call of an idle thread, or None when it is to end."""
        try:
            return inbox.get(timeout=self._idle_s)
        except Empty:
            with self._lock:
                if inbox in self._idle:
                    self._idle.remove(inbox)
                    return None
            return inbox.get()  # it came at the last moment


def _call(future: Future[T], function: Callable[..., T], args: tuple[object, ...]) -> _Tell:
    """Call with connections that work, as Django does around each request.

    Returns:
        What tells the outcome to who waits for it.
    """
    if not future.set_running_or_notify_cancel():
        return _nothing
    close_old_connections()
    try:
        try:
            result = function(*args)
        finally:
            close_old_connections()
    except BaseException as error:  # noqa: BLE001 - goes to who waits for the result
        tell = partial(future.set_exception, error)
        del future  # the traceback refers to this frame
        return tell
    return partial(future.set_result, result)


def _nothing() -> None:
    """Tell nobody."""
