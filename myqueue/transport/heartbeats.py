"""The daemon threads of a process that keep every open producer and consumer alive.

Two are enough as long as managers answer: one waits until the next client is due, and beats while
the other waits. A client whose manager hangs holds up its own thread alone.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from typing import Protocol

from myqueue.transport import forks

logger = logging.getLogger(__name__)

THREADS_MAX = 32
"""Clients that may be held up at once; the next one would hold up the others.

More than a process has at several clusters, and few enough that threads that only wait cost little.
"""
IDLE_THREADS_MAX = 2
"""That wait for a client to be due; a further one ends."""
BROKEN_PAUSE_S = 1.0
"""Before a client whose heartbeat failed by a bug is looked at again."""


class Beating(Protocol):
    """A client whose heartbeats are due now and then."""

    def next_beat_s(self) -> float:
        """Return the monotonic time of the next heartbeat."""
        ...

    def beat(self) -> None:
        """Send the heartbeats; the client deals with failures."""
        ...


class Heartbeats:
    """The threads and their clients; they end with the last client and start again with the next.

    A client that is dropped without `close` stops beating when it is collected.
    """

    def __init__(self) -> None:
        self._clients: weakref.WeakSet[Beating] = weakref.WeakSet()
        self.restart_after_fork()
        forks.restart_in_child(self)

    def restart_after_fork(self) -> None:
        """Forget the parent's threads; the clients of the child join again by themselves."""
        self._clients = weakref.WeakSet()
        self._beating: weakref.WeakSet[Beating] = weakref.WeakSet()
        """Those whose heartbeat is under way."""
        self._changed = threading.Condition()
        self._threads: set[threading.Thread] = set()
        self._idle = 0
        """Threads that wait."""

    def join(self, client: Beating) -> None:
        """Begin to send a client's heartbeats.

        Raises:
            RuntimeError: the system starts no further thread; the next client tries again.
        """
        with self._changed:
            self._clients.add(client)
            if not self._threads:
                self._start_thread()
            self._changed.notify_all()

    def leave(self, client: Beating) -> None:
        """Stop sending a client's heartbeats."""
        with self._changed:
            self._clients.discard(client)
            self._changed.notify_all()

    def hurry(self) -> None:
        """Look again at when the next heartbeats are due: a client wants one sooner."""
        with self._changed:
            self._changed.notify()

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._run, name="myqueue-heartbeats", daemon=True)
        thread.start()
        self._threads.add(thread)

    def _run(self) -> None:
        while self._beat_or_wait():
            pass

    def _beat_or_wait(self) -> bool:
        """Beat for one that is due, or wait; keep no client alive in between.

        Returns:
            False when this thread is not needed any more.
        """
        with self._changed:
            if not self._clients or self._idle >= IDLE_THREADS_MAX:
                self._threads.discard(threading.current_thread())
                return False
            client = self._due_or_wait()
            if client is None:
                return True
            self._beating.add(client)
            if not self._idle and len(self._threads) < THREADS_MAX:
                self._start_another()
        try:
            client.beat()
        except Exception:  # the edge of the thread: the other clients' beats must go on
            logger.exception("a heartbeat failed in an unexpected way")
            time.sleep(BROKEN_PAUSE_S)
        finally:
            with self._changed:
                self._beating.discard(client)
        return True

    def _start_another(self) -> None:
        """Start a thread that waits while this one beats; without it this one comes back later."""
        try:
            self._start_thread()
        except RuntimeError as error:
            logger.warning("heartbeats have %d threads alone: %s", len(self._threads), error)

    def _due_or_wait(self) -> Beating | None:
        """Return a client that is due; wait, and return None, when there is none."""
        resting = [client for client in self._clients if client not in self._beating]
        now_s = time.monotonic()
        first = min(resting, key=lambda client: client.next_beat_s(), default=None)
        pause_s = 1.0 if first is None else min(first.next_beat_s() - now_s, 1.0)
        if pause_s <= 0:
            return first
        del resting, first
        self._idle += 1
        try:
            self._changed.wait(pause_s)
        finally:
            self._idle -= 1
        return None


HEARTBEATS = Heartbeats()
"""The process's own."""
