"""Names to addresses without holding anybody up: a slow resolver costs a thread of its own."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any, NamedTuple

from myqueue.transport.selfpipe import SelfPipe

REMEMBERED_S = 30.0
"""How long an answer of the resolver is used again."""
NAMES_MAX = 1_000
"""Most names that are remembered."""


class SocketAddress(NamedTuple):
    """Where a socket connects to."""

    family: int
    address: tuple[Any, ...]


_known: dict[tuple[str, int], tuple[float, list[SocketAddress]]] = {}
"""(host, port) -> when the answer is too old, in monotonic seconds, and the answer."""


def numeric_addresses(host: str, port: int) -> list[SocketAddress]:
    """Return the address of a host that is written as one; none for a name."""
    try:
        return _look_up(host, port, socket.AI_NUMERICHOST)
    except socket.gaierror:
        return []


def known_addresses(host: str, port: int) -> list[SocketAddress]:
    """Return the addresses of a host that need no asking; none when it has to be resolved."""
    until_s, addresses = _known.get((host, port), (0.0, []))
    if addresses and time.monotonic() < until_s:
        return list(addresses)
    return numeric_addresses(host, port)


def _look_up(host: str, port: int, flags: int = 0) -> list[SocketAddress]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return [SocketAddress(int(family), address) for family, _, _, _, address in found]


class Resolving:
    """A name that is looked up by a thread.

    Args:
        host: its name.
        port: of the addresses.

    Raises:
        OSError: no thread could be started.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._waker = SelfPipe()
        self._closing = threading.Lock()
        self._closed = False
        self._found: list[SocketAddress] | OSError | None = None
        thread = threading.Thread(target=self._run, name="myqueue-resolver", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            self._waker.close()
            raise OSError(f"{host} cannot be looked up: {error}") from error

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when there is an answer."""
        return self._waker.fileno()

    def addresses(self) -> list[SocketAddress] | None:
        """Return the answer; None while there is none.

        Raises:
            OSError: the name is unknown, or the resolver failed.
        """
        if isinstance(self._found, OSError):
            raise self._found
        return None if self._found is None else list(self._found)

    def close(self) -> None:
        """Stop waiting; the thread ends when the resolver answers."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._waker.close()

    def _run(self) -> None:
        try:
            found = _look_up(self._host, self._port)
            if len(_known) >= NAMES_MAX:
                _known.clear()
            _known[self._host, self._port] = (time.monotonic() + REMEMBERED_S, found)
            self._found = found
        except (OSError, UnicodeError) as error:
            self._found = error if isinstance(error, OSError) else OSError(str(error))
        with self._closing:
            if not self._closed:
                self._waker.wake()
