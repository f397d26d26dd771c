"""Waking a thread that waits for sockets."""

from __future__ import annotations

import contextlib
import socket


class SelfPipe:
    """A pair of sockets: what one thread writes ends another's wait.

    A wake-up before the wait is not lost; several are one.
    """

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._woken = False

    def fileno(self) -> int:
        """Return the descriptor that becomes readable."""
        return self._reader.fileno()

    @property
    def woken(self) -> bool:
        """True from `wake` until `clear`."""
        return self._woken

    def wake(self) -> None:
        """End the wait, or the next one."""
        if not self._woken:
            self._woken = True
            # Full means that the reader has not looked yet: it will find something to read.
            with contextlib.suppress(BlockingIOError):
                self._writer.send(b"\0")

    def clear(self) -> None:
        """Make ready for the next wake-up; what it told must be looked at after this."""
        with contextlib.suppress(BlockingIOError):
            self._reader.recv(64)
        self._woken = False

    def close(self) -> None:
        """Close both ends."""
        self._reader.close()
        self._writer.close()
