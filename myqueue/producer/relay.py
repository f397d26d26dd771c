"""Wakes threads that wait for one answer one after the other: each that is awake wakes the next.

Woken at once they would all compete for the interpreter, which costs each of them more than what
they have to do.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Lock

PATIENCE_S = 0.005
"""After which those who still wait are woken together, in seconds: who was interrupted in its wait
wakes nobody."""


class Relay:
    """The locks behind which threads wait, in the order in which they are opened.

    One thread, its owner, opens the first and looks whether it goes on; any thread passes it on.

    Args:
        now_s: returns the monotonic time.
    """

    __slots__ = ("_began_s", "_closed", "_now_s")

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._closed: deque[Lock] = deque()
        self._began_s = 0.0

    def add(self, lock: Lock) -> None:
        """Have a lock opened behind those before it; the owner's `begin` follows."""
        self._closed.append(lock)

    def begin(self) -> None:
        """Wake the first thread that waits."""
        self._began_s = self._now_s()
        self.pass_on()

    def pass_on(self) -> None:
        """Wake the next thread, if one waits: the first thing that one does who was woken."""
        if self._closed:
            try:
                lock = self._closed.popleft()
            except IndexError:  # another thread was quicker
                return
            lock.release()

    @property
    def until_s(self) -> float | None:
        """Monotonic time at which `look` is to be called; None while nobody waits to be woken."""
        return self._began_s + PATIENCE_S if self._closed else None

    def look(self) -> None:
        """Wake all that still wait, if their time is over."""
        if self._closed and self._now_s() >= self._began_s + PATIENCE_S:
            self.end()

    def end(self) -> None:
        """Wake all that still wait."""
        while self._closed:
            self.pass_on()
