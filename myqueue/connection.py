"""One connection to a server: requests go one after the other, nothing blocks unless asked to."""

from __future__ import annotations

import select
import socket
import time
from typing import TYPE_CHECKING

from myqueue.http1 import AnswerReader, host_header, render, split_address

if TYPE_CHECKING:
    from collections.abc import Sequence

    from myqueue.http1 import Answer, Request

_WANTS = (BlockingIOError, InterruptedError)


class HttpConnection:
    """A socket that never blocks, and what was written and read of the exchange under way.

    Even the sending of a long request goes on piece by piece in `advance`: a server that stopped
    reading must not stop whoever waits for several connections.

    Args:
        address: `http://host:port` or `https://host:port`.
        connect_timeout_s: longest time for TCP and TLS.

    Raises:
        OSError: no connection.
    """

    def __init__(self, address: str, *, connect_timeout_s: float) -> None:
        scheme, host, port = split_address(address)
        self._host = host_header(host, port)
        self._socket = socket.create_connection((host, port), timeout=connect_timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._wants: tuple[type[OSError], ...] = _WANTS
        if scheme == "https":
            import ssl

            context = ssl.create_default_context()
            self._socket = context.wrap_socket(self._socket, server_hostname=host)
            self._wants = (*_WANTS, ssl.SSLWantReadError, ssl.SSLWantWriteError)
        self._socket.setblocking(False)
        self._unsent = memoryview(b"")
        self._reader = AnswerReader()
        self._deadline_s = 0.0

    @property
    def reusable(self) -> bool:
        """True when the last answer came whole and the server keeps the connection."""
        return self._reader.reusable and not self._unsent

    @property
    def deadline_s(self) -> float:
        """Monotonic time at which the answer under way counts as lost."""
        return self._deadline_s

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._socket.fileno()

    def send(self, request: Request, *, timeout_s: float) -> None:
        """Begin an exchange; its answer must be complete within the timeout.

        Raises:
            OSError: the connection broke.
        """
        self._reader.reusable = False
        self._deadline_s = time.monotonic() + timeout_s
        self._unsent = memoryview(render(request, self._host))
        self._write()

    def advance(self) -> Answer | None:
        """Write and read what is possible at once; return the answer when it is complete.

        Raises:
            OSError: the connection broke, or it is no HTTP answer.
        """
        if self._unsent:
            self._write()
        while True:
            try:
                count = self._socket.recv_into(self._reader.room())
            except self._wants:
                return None
            answer = self._reader.filled(count)
            if answer is not None:
                return answer

    def receive(self, patience_s: float | None = None) -> Answer | None:
        """Wait for the answer.

        Args:
            patience_s: return None after so long; without it only the deadline ends the wait.

        Raises:
            OSError: the connection broke, time ran out, or it is no HTTP answer.
        """
        until_s = self._deadline_s
        if patience_s is not None:
            until_s = min(until_s, time.monotonic() + patience_s)
        while True:
            remaining_s = until_s - time.monotonic()
            if wait_ready([self], max(0.0, remaining_s)):
                answer = self.advance()
                if answer is not None:
                    return answer
            elif time.monotonic() >= self._deadline_s:
                raise TimeoutError("no answer in time")
            elif remaining_s <= 0:
                return None

    def is_sending(self) -> bool:
        """Return True while part of the request could not be written."""
        return bool(self._unsent)

    def has_input(self) -> bool:
        """Return True when an idle connection was closed by the peer, or got what nobody wants."""
        return bool(wait_ready([self], 0.0))

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _write(self) -> None:
        try:
            while self._unsent:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except self._wants:
            pass


def wait_ready(
    connections: Sequence[HttpConnection], timeout_s: float | None, *, also: int | None = None
) -> list[HttpConnection]:
    """Return the connections that `advance` can do something for.

    Args:
        connections: with an exchange under way, or idle.
        timeout_s: longest wait; None waits for ever.
        also: a further descriptor whose input ends the wait.
    """
    if not hasattr(select, "poll"):
        return _wait_by_select(connections, timeout_s, also)
    poller = select.poll()
    by_descriptor = {}
    for connection in connections:
        descriptor = connection.fileno()
        by_descriptor[descriptor] = connection
        sending = select.POLLOUT if connection.is_sending() else 0
        poller.register(descriptor, select.POLLIN | sending)
    if also is not None:
        poller.register(also, select.POLLIN)
    found = poller.poll(None if timeout_s is None else max(0.0, timeout_s * 1000))
    return [by_descriptor[descriptor] for descriptor, _ in found if descriptor in by_descriptor]


def _wait_by_select(
    connections: Sequence[HttpConnection], timeout_s: float | None, also: int | None
) -> list[HttpConnection]:
    """Do the same where there is no `poll`."""
    reading = [*connections, *(() if also is None else (also,))]
    writing = [connection for connection in connections if connection.is_sending()]
    readable, writable, _ = select.select(reading, writing, [], timeout_s)
    ready = {id(one) for one in (*readable, *writable)}
    return [connection for connection in connections if id(connection) in ready]
