"""One daemon thread per process that keeps every open producer and consumer alive."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from typing import Protocol

from myqueue import forks

logger = logging.getLogger(__name__)


class Beating(Protocol):
    """A client whose heartbeats are due now and then."""

    def next_beat_s(self) -> float:
        """Return the monotonic time of the next heartbeat."""
        ...

    def beat(self) -> None:
        """Send the heartbeats; failures are the client's own affair."""
        ...


class Heartbeats:
    """The thread and its clients; it ends with the last client and starts again with the next.

    A client that is dropped without `close` stops beating when it is collected.
    """

    def __init__(self) -> None:
        self._clients: weakref.WeakSet[Beating] = weakref.WeakSet()
        self.restart_after_fork()
        forks.remember(self)

    def restart_after_fork(self) -> None:
        """Forget the parent's thread; the clients of the child join again by themselves."""
        self._clients = weakref.WeakSet()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def join(self, client: Beating) -> None:
        """Begin to send a client's heartbeats.

        Raises:
            RuntimeError: the system starts no further thread; the next client tries again.
        """
        with self._changed:
            self._clients.add(client)
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="myqueue-heartbeats", daemon=True)
                thread.start()
                self._thread = thread
            self._changed.notify()

    def leave(self, client: Beating) -> None:
        """Stop sending them."""
        with self._changed:
            self._clients.discard(client)
            self._changed.notify()

    def hurry(self) -> None:
        """Look again at when the next heartbeats are due: a client wants one sooner."""
        with self._changed:
            self._changed.notify()

    def _run(self) -> None:
        while self._beat_or_wait():
            pass

    def _beat_or_wait(self) -> bool:
        """Beat for those that are due, or wait; keep no client alive in between."""
        with self._changed:
            due = self._due_or_wait()
        for client in due or ():
            try:
                client.beat()
            except Exception:  # the edge of the thread: the other clients' beats must go on
                logger.exception("a heartbeat failed in an unexpected way")
        return due is not None

    def _due_or_wait(self) -> list[Beating] | None:
        """Return the clients that are due, perhaps none; None when no client is left."""
        clients = list(self._clients)
        if not clients:
            self._thread = None
            return None
        now_s = time.monotonic()
        due = [client for client in clients if client.next_beat_s() <= now_s]
        if not due:
            pause_s = min(client.next_beat_s() for client in clients) - now_s
            del clients
            self._changed.wait(min(pause_s, 1.0))
        return due


HEARTBEATS = Heartbeats()
"""The process's own."""
