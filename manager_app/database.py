"""Database work of a manager: threads beside the loop, and an end to every wait for an answer.

Limits that the server or the kernel keep are options of the connection (`queuesite.settings`). None
of them ends the wait for a server that is silent while its machine, or a proxy before it, takes
what is sent: that is for `limit_answers`.
"""

from __future__ import annotations

import asyncio
import math
import select
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakSet

from django.db.backends.signals import connection_created

from http_base.worker_threads import WorkerThreads
from http_base.writes import DATABASE_FAILURES, write_watch
from myqueue.contract import retry_after
from myqueue.contract.errors import OUTCOME_UNKNOWN, DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from django.db.backends.base.base import BaseDatabaseWrapper

T = TypeVar("T")

THREADS_MAX = 4
"""Look-ups of the hot views and repeated tasks at once; more wait for one of these. Each thread
holds a connection of its own. SQLite lets one write at a time and PostgreSQL answers a look-up
within a millisecond: a few threads serve hundreds of look-ups a second, and leave the interpreter
to the loop."""
CALL_LIMIT_S = 10.0
"""For one call, its wait for a thread included; then it fails as DATABASE_UNAVAILABLE. Above the
limits that PostgreSQL and the connection keep, so that those, which say more, come first."""


class DatabaseThreads:
    """Runs blocking database functions beside the loop, each with a connection that works."""

    def __init__(
        self,
        threads_max: int = THREADS_MAX,
        *,
        name: str = "database",
        limit_s: float = CALL_LIMIT_S,
    ) -> None:
        """Make a pool without threads; each starts when a call needs it.

        Args:
            threads_max: functions that run at once.
            name: of the threads.
            limit_s: for each call, its wait for a thread included, in seconds.
        """
        self._threads = WorkerThreads(threads_max, name=name)
        self._limit_s = limit_s

    async def run(self, function: Callable[..., T], *args: object) -> T:
        """Return what `function(*args)` returns, called in one of the threads.

        Raises:
            DatabaseUnavailable: it took too long. One that has begun comes to its end all the same.
            Exception: whatever it raises.
        """
        limit = asyncio.timeout(self._limit_s)
        try:
            async with limit:
                return await asyncio.wrap_future(self._threads.submit(_call, function, args))
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise DatabaseUnavailable(
                f"the manager's database did not answer within {self._limit_s:g} s; try again",
                retry_after_ms=retry_after.DATABASE_MS,
                outcome=OUTCOME_UNKNOWN,
            ) from error

    def close(self) -> None:
        """Wait for the calls that run, drop those that wait, and end the threads."""
        self._threads.close()


class _KeptConnections:
    """The database connections of all threads of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wrappers: WeakSet[BaseDatabaseWrapper] = WeakSet()

    def note(self, connection: BaseDatabaseWrapper, **_: object) -> None:
        """Remember one that was made."""
        with self._lock:
            self._wrappers.add(connection)

    def let_expire(self) -> None:
        """Let all have reached their age, so that each is closed before its next call."""
        with self._lock:
            for wrapper in self._wrappers:
                wrapper.close_at = 0.0


_kept = _KeptConnections()


_own_limit = threading.local()


@contextmanager
def answers_within(limit_s: float) -> Iterator[None]:
    """Wait in this thread for no answer of PostgreSQL, and for no connection, longer than this.

    Beyond it the call raises `django.db.OperationalError`. Where `limit_answers` was not called, or
    says less, nothing changes.

    Args:
        limit_s: for each answer, in seconds.
    """
    before = getattr(_own_limit, "seconds", math.inf)
    _own_limit.seconds = min(before, limit_s)
    try:
        yield
    finally:
        _own_limit.seconds = before


def limit_answers(*, connect_s: float, answer_s: float) -> None:
    """Let no thread of this process wait for ever for PostgreSQL; may be called again.

    A connection whose answer does not come is closed, and the call raises
    `django.db.OperationalError`. So are all that other threads kept from before, each at its next
    call: they lead into the same silence, for which no further call shall wait.

    Args:
        connect_s: until a connection is made, in seconds.
        answer_s: for each answer on it, in seconds.
    """
    import psycopg2  # type: ignore[import-untyped]  # it has no types of its own
    from psycopg2 import extensions

    def wait(connection: Any) -> None:
        """Do what psycopg2 asks of a wait callback: poll until the answer is there."""
        connecting = connection.status == extensions.STATUS_SETUP
        usual_s = connect_s if connecting else answer_s
        limit_s = min(usual_s, getattr(_own_limit, "seconds", math.inf))
        deadline_s = time.monotonic() + limit_s
        while (state := connection.poll()) != extensions.POLL_OK:
            ready = select.poll()
            reads = state == extensions.POLL_READ
            ready.register(connection.fileno(), select.POLLIN if reads else select.POLLOUT)
            remaining_s = deadline_s - time.monotonic()
            if remaining_s <= 0 or not ready.poll(remaining_s * 1000):
                what = "no connection" if connecting else "no answer"
                if limit_s == usual_s:
                    _kept.let_expire()
                raise psycopg2.OperationalError(f"{what} within {limit_s:g} s")

    connection_created.connect(_kept.note)
    extensions.set_wait_callback(wait)


def _call(function: Callable[..., T], args: tuple[object, ...]) -> T:
    """Call; a failure says what was written."""
    with write_watch() as watch:
        try:
            return function(*args)
        except DATABASE_FAILURES as error:
            raise watch.judge(error) from error
