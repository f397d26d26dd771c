"""One connection to a server: requests go one after the other, nothing blocks unless asked to.

Finding the address of a name, connecting and the handshake of TLS go on piece by piece like all
else: a host that does not answer must not hold up whoever waits for several connections.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from typing import TYPE_CHECKING

from myqueue.contract.http1 import AnswerReader, host_header, render, split_address
from myqueue.transport.resolving import Resolving, known_addresses

if TYPE_CHECKING:
    from collections.abc import Sequence

    from myqueue.contract.http1 import Answer, Request
    from myqueue.transport.resolving import SocketAddress

_WANTS = (BlockingIOError, InterruptedError)
_CONNECTING = (errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EALREADY, errno.EINTR)


class NotConnected(OSError):
    """There was no connection: nothing of a request left."""


class Opening:
    """A socket on its way to be open: a name is looked up, TCP connects, TLS shakes hands.

    Args:
        scheme: http or https.
        host: name or address.
        port: of the server.
        timeout_s: longest time for all of it.
        ca: file of the authorities that https trusts; those of the system when empty.

    Raises:
        NotConnected: that failed at once.
    """

    def __init__(
        self, scheme: str, host: str, port: int, *, timeout_s: float, ca: str = ""
    ) -> None:
        self._tls_host = host if scheme == "https" else ""
        self._ca = ca
        self._error: OSError | None = None
        self._socket: socket.socket | None = None
        self._shakes = self._writes = False
        self.deadline_s = time.monotonic() + timeout_s
        """Monotonic time at which it is given up."""
        self._addresses: list[SocketAddress] = known_addresses(host, port)
        self._resolving: Resolving | None = None
        try:
            if self._addresses:
                self._connect()
            else:
                self._resolving = Resolving(host, port)
        except OSError as error:
            raise NotConnected(str(error)) from error

    @property
    def writes(self) -> bool:
        """True while it waits until something can be written."""
        return self._writes

    def fileno(self) -> int:
        """Return the descriptor that it waits for."""
        if self._resolving is not None:
            return self._resolving.fileno()
        assert self._socket is not None, "it connects"
        return self._socket.fileno()

    def advance(self) -> socket.socket | None:
        """Do what is possible at once; return the socket when it is open.

        Raises:
            NotConnected: it failed, or the time is over.
        """
        try:
            return self._advance()
        except _WANTS:
            return None
        except OSError as error:
            raise NotConnected(self._describe(error)) from error

    def close(self) -> None:
        """Give it up."""
        if self._resolving is not None:
            self._resolving.close()
        if self._socket is not None:
            self._socket.close()

    def _advance(self) -> socket.socket | None:
        if self._resolving is not None:
            addresses = self._resolving.addresses()
            if addresses is not None:
                self._resolving.close()
                self._resolving, self._addresses = None, addresses
                self._connect()
        if self._socket is not None and self._writes and not self._shakes:
            self._look_connected()
        if self._socket is not None and self._shakes:
            self._shake_hands()
        if self._socket is not None and not self._writes and not self._shakes:
            opened, self._socket = self._socket, None
            return opened
        if time.monotonic() >= self.deadline_s:
            raise TimeoutError("no connection in time")
        return None

    def _describe(self, error: OSError) -> str:
        if not self._shakes:
            return str(error) or type(error).__name__
        from myqueue.contract.tls import describe_failure

        return describe_failure(error)

    def _connect(self) -> None:
        """Begin to connect to the next address that does not refuse at once."""
        while self._addresses:
            address = self._addresses.pop(0)
            self._socket = socket.socket(address.family, socket.SOCK_STREAM)
            self._socket.setblocking(False)
            number = self._socket.connect_ex(address.address)
            if number in _CONNECTING:
                self._writes = True
                return
            if not number:
                self._connected()
                return
            self._socket.close()
            self._socket = None
            self._error = OSError(number, os.strerror(number))
        raise self._error or OSError("the name has no address")

    def _look_connected(self) -> None:
        """See what became of the address that is under way."""
        assert self._socket is not None, "it connects"
        number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            self._socket.close()
            self._socket, self._writes = None, False
            self._error = OSError(number, os.strerror(number))
            self._connect()
            return
        try:
            self._socket.getpeername()
        except OSError:
            return  # it still connects
        self._connected()

    def _connected(self) -> None:
        assert self._socket is not None, "it is connected"
        self._writes = False
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls_host:
            from myqueue.contract.tls import calling_context

            self._socket = calling_context(self._ca).wrap_socket(
                self._socket, server_hostname=self._tls_host, do_handshake_on_connect=False
            )
            self._shakes = True

    def _shake_hands(self) -> None:
        import ssl

        assert isinstance(self._socket, ssl.SSLSocket), "TLS was begun"
        try:
            self._socket.do_handshake()
        except ssl.SSLWantReadError:
            self._writes = False
        except ssl.SSLWantWriteError:
            self._writes = True
        else:
            self._writes = self._shakes = False


class HttpConnection:
    """A socket that never blocks, and what was written and read of the exchange under way.

    Even connecting and the sending of a long request go on piece by piece in `advance`: a server
    that stopped reading, or a host that is switched off, must not stop whoever waits for several
    connections.

    Args:
        address: `http://host:port` or `https://host:port`.
        connect_timeout_s: longest time for the name's address, TCP and TLS.
        ca: file of the authorities that https trusts; those of the system when empty.

    Raises:
        NotConnected: no connection, as far as that is known at once.
    """

    def __init__(self, address: str, *, connect_timeout_s: float, ca: str = "") -> None:
        scheme, host, port = split_address(address)
        self._host = host_header(host, port)
        self._wants: tuple[type[OSError], ...] = _WANTS
        if scheme == "https":
            import ssl

            self._wants = (*_WANTS, ssl.SSLWantReadError, ssl.SSLWantWriteError)
        self._socket: socket.socket | None = None
        self._input: select.poll | None = None
        """Waits for what the server sends; None until it is open, and where there is no `poll`."""
        self._opening: Opening | None = Opening(
            scheme, host, port, timeout_s=connect_timeout_s, ca=ca
        )
        self._unsent = memoryview(b"")
        self._reader = AnswerReader()
        self._deadline_s = 0.0
        self.idle_since_s = 0.0
        """When it was given back, by a monotonic clock."""

    @property
    def reusable(self) -> bool:
        """True when the last answer came whole and the server keeps the connection."""
        return self._reader.reusable and not self._unsent

    @property
    def deadline_s(self) -> float:
        """Monotonic time at which the answer under way counts as lost, or the connection."""
        if self._opening is not None:
            return min(self._deadline_s, self._opening.deadline_s)
        return self._deadline_s

    def fileno(self) -> int:
        """Return the descriptor that it waits for."""
        if self._opening is not None:
            return self._opening.fileno()
        assert self._socket is not None, "it is open"
        return self._socket.fileno()

    def send(self, request: Request, *, timeout_s: float) -> None:
        """Begin an exchange; its answer must be complete within the timeout.

        Raises:
            NotConnected: there is no connection.
            OSError: the connection broke.
        """
        self._reader.reusable = False
        self._deadline_s = time.monotonic() + timeout_s
        self._unsent = memoryview(render(request, self._host))
        if self._is_open():
            self._write()

    def advance(self) -> Answer | None:
        """Write and read what is possible at once; return the answer when it is complete.

        Raises:
            NotConnected: there is no connection.
            OSError: the connection broke, or it is no HTTP answer.
        """
        if not self._is_open():
            return None
        assert self._socket is not None, "it is open"
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
            NotConnected: there is no connection.
            OSError: the connection broke, time ran out, or it is no HTTP answer.
        """
        end_s = float("inf") if patience_s is None else time.monotonic() + patience_s
        while True:
            remaining_s = min(end_s, self.deadline_s) - time.monotonic()
            if self._wait(max(0.0, remaining_s)):
                answer = self.advance()
                if answer is not None:
                    return answer
            elif time.monotonic() >= self.deadline_s:
                if self._opening is not None:
                    raise NotConnected("no connection in time")
                raise TimeoutError("no answer in time")
            elif remaining_s <= 0:
                return None

    def is_sending(self) -> bool:
        """Return True while it waits until something can be written."""
        if self._opening is not None:
            return self._opening.writes
        return bool(self._unsent)

    def has_input(self) -> bool:
        """Return True when an idle connection was closed by the peer, or got what nobody wants."""
        return self._wait(0.0)

    def close(self) -> None:
        """Close the socket."""
        if self._opening is not None:
            self._opening.close()
        if self._socket is not None:
            self._socket.close()

    def _is_open(self) -> bool:
        """Go on with opening; return whether that is done."""
        if self._opening is not None:
            self._socket = self._opening.advance()
            if self._socket is None:
                return False
            self._opening = None
            if hasattr(select, "poll"):
                self._input = select.poll()
                self._input.register(self._socket.fileno(), select.POLLIN)
        return True

    def _wait(self, timeout_s: float) -> bool:
        """Wait until `advance` can do something; False when the time is over before."""
        if self._input is None or self._unsent:
            return bool(wait_ready([self], timeout_s))
        return bool(self._input.poll(timeout_s * 1000))

    def _write(self) -> None:
        assert self._socket is not None, "it is open"
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
