"""The seam to the network: a request to an address, its answer back.

`HttpTransport` keeps idle connections per address. `begin`, `wait` and `Exchange.finish` let one
thread hold several long polls at once: each costs a socket, none a thread.
"""

from __future__ import annotations

import selectors
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from myqueue.errors import OUTCOME_UNKNOWN, BrokerUnreachable, Internal, from_body
from myqueue.http1 import Answer, HttpConnection, Request
from myqueue.protocol import JSON, MSGPACK

if TYPE_CHECKING:
    from collections.abc import Sequence

IDLE_CONNECTIONS_MAX = 32
"""Idle connections kept per address."""

_QuickSelector: type[selectors.BaseSelector] = getattr(
    selectors, "PollSelector", selectors.SelectSelector
)
"""Cheap to make, for a look at a single socket."""


class Exchange(Protocol):
    """A request that was sent and whose answer has not been read."""

    def finish(self) -> Answer:
        """Read the answer.

        Raises:
            BrokerUnreachable: the connection broke, or time ran out.
        """
        ...

    def cancel(self) -> None:
        """Give the answer up."""
        ...


class Transport(Protocol):
    """How requests travel. Safe from several threads."""

    def request(self, address: str, request: Request, *, timeout_s: float) -> Answer:
        """Send a request and return its answer, whatever its status.

        Raises:
            BrokerUnreachable: no answer came; `outcome` is unknown when the request was sent.
        """
        ...

    def begin(self, address: str, request: Request, *, timeout_s: float) -> Exchange:
        """Send a request whose answer is read later.

        Raises:
            BrokerUnreachable: no connection.
        """
        ...

    def wait(self, exchanges: Sequence[Exchange], *, timeout_s: float) -> list[Exchange]:
        """Return those of the exchanges that can be finished now, at the latest after the time."""
        ...

    def close(self) -> None:
        """Close every idle connection."""
        ...

    def restart(self) -> None:
        """Drop all state in the child of a fork; the parent keeps its connections."""
        ...


class HttpExchange:
    """A request on its own connection, which goes back to the pool when it was answered."""

    def __init__(self, transport: HttpTransport, address: str, connection: HttpConnection) -> None:
        self._transport = transport
        self._address = address
        self.connection = connection

    def finish(self) -> Answer:
        """Read the answer."""
        try:
            answer = self.connection.receive()
        except OSError as error:
            self.connection.close()
            raise _lost(self._address, error) from error
        self._transport.give_back(self._address, self.connection)
        return answer

    def cancel(self) -> None:
        """Close the connection: its answer would be mistaken for the next one's."""
        self.connection.close()


class HttpTransport:
    """Requests over HTTP/1.1 with connections kept alive.

    Args:
        connect_timeout_s: longest time for a TCP connection.
    """

    def __init__(self, *, connect_timeout_s: float) -> None:
        self._connect_timeout_s = connect_timeout_s
        self.restart()

    def restart(self) -> None:
        """Forget all connections without touching them."""
        self._lock = threading.Lock()
        self._idle: dict[str, deque[HttpConnection]] = {}

    def request(self, address: str, request: Request, *, timeout_s: float) -> Answer:
        """Send a request and return its answer, whatever its status."""
        connection = self._connection(address)
        try:
            connection.send(request, timeout_s=timeout_s)
            answer = connection.receive()
        except OSError as error:
            connection.close()
            raise _lost(address, error) from error
        except BaseException:
            connection.close()
            raise
        self.give_back(address, connection)
        return answer

    def begin(self, address: str, request: Request, *, timeout_s: float) -> HttpExchange:
        """Send a request whose answer is read later."""
        connection = self._connection(address)
        try:
            connection.send(request, timeout_s=timeout_s)
        except OSError as error:
            connection.close()
            raise _lost(address, error) from error
        return HttpExchange(self, address, connection)

    def wait(self, exchanges: Sequence[Exchange], *, timeout_s: float) -> list[Exchange]:
        """Return those of the exchanges that can be finished now, at the latest after the time."""
        with selectors.DefaultSelector() as selector:
            for exchange in exchanges:
                assert isinstance(exchange, HttpExchange), "an exchange of another transport"
                selector.register(exchange.connection, selectors.EVENT_READ, exchange)
            return [key.data for key, _ in selector.select(timeout_s)]

    def close(self) -> None:
        """Close every idle connection."""
        with self._lock:
            idle, self._idle = self._idle, {}
        for connections in idle.values():
            for connection in connections:
                connection.close()

    def give_back(self, address: str, connection: HttpConnection) -> None:
        """Keep a connection for the next request, when it can be used again."""
        if connection.reusable:
            with self._lock:
                idle = self._idle.setdefault(address, deque())
                if len(idle) < IDLE_CONNECTIONS_MAX:
                    idle.append(connection)
                    return
        connection.close()

    def _connection(self, address: str) -> HttpConnection:
        """Take an idle connection that the peer has not closed, or open one."""
        while True:
            with self._lock:
                idle = self._idle.get(address)
                connection = idle.pop() if idle else None
            if connection is None:
                break
            if not _has_input(connection):
                return connection
            connection.close()
        try:
            return HttpConnection(address, connect_timeout_s=self._connect_timeout_s)
        except OSError as error:
            raise BrokerUnreachable(f"no connection to {address}: {error}") from error


def _has_input(connection: HttpConnection) -> bool:
    """Return True when an idle connection was closed by the peer (or got what nobody asked for)."""
    with _QuickSelector() as selector:
        selector.register(connection, selectors.EVENT_READ)
        return bool(selector.select(0))


def _lost(address: str, error: OSError) -> BrokerUnreachable:
    return BrokerUnreachable(
        f"no answer from {address}: {error or type(error).__name__}", outcome=OUTCOME_UNKNOWN
    )


_msgpack = msgspec.msgpack.Decoder()
_json = msgspec.json.Decoder()


def read_body(answer: Answer) -> dict[str, Any]:
    """Decode the body of an answer in JSON or MessagePack.

    Raises:
        QueueError: the failure that the body describes; Internal when it is none of ours.
    """
    content_type = answer.headers.get("content-type", "").partition(";")[0].strip()
    body: Any = None
    try:
        if content_type == MSGPACK:
            body = _msgpack.decode(answer.body)
        elif content_type == JSON:
            body = _json.decode(answer.body)
    except msgspec.MsgspecError as error:
        raise Internal(
            f"an answer with HTTP status {answer.status} cannot be decoded: {error}",
            outcome=OUTCOME_UNKNOWN,
        ) from error
    if answer.status >= 400 or not isinstance(body, dict) or body.get("status") != "success":
        raise from_body(answer.status, body)
    return body


def encode_body(fields: dict[str, Any], *, keep_none: bool = False) -> bytes:
    """Encode a body as MessagePack, by default without the fields that are None."""
    if not keep_none:
        fields = {name: value for name, value in fields.items() if value is not None}
    return msgspec.msgpack.encode(fields)
