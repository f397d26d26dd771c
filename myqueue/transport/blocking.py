"""The transport of blocking clients: a request to an address, its answer back.

`HttpTransport` keeps idle connections per address. `begin`, `wait` and `Exchange.answer` let one
thread have several requests out at once: each costs a socket, none a thread.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from myqueue.contract.errors import OUTCOME_UNKNOWN, BrokerUnreachable, Internal, from_body
from myqueue.contract.http1 import CA_VARIABLE, Answer, Request, require_http, split_address
from myqueue.contract.inputs import JSON, MSGPACK
from myqueue.transport.connection import HttpConnection, NotConnected, wait_ready

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from myqueue.transport.selfpipe import SelfPipe

IDLE_CONNECTIONS_MAX = 32
"""Idle connections kept per address: as many threads call it at once without connecting anew."""
IDLE_S_MAX = 60.0
"""How long one is kept, in seconds; servers keep it for longer."""
IDLE_LOOKS = 60
"""How often in that time those that are idle for longer are looked for, at most."""


class Exchange(Protocol):
    """A request that was sent and whose answer has not been read."""

    def answer(self, patience_s: float | None = None) -> Answer | None:
        """Wait for the answer.

        Args:
            patience_s: return None after so long; 0 only looks. Without it, wait until the answer
                is there or counts as lost.

        Raises:
            BrokerUnreachable: there was no connection, it broke, or time ran out; `outcome` is
                unknown when the request may have left.
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
        """Send a request whose answer is read later; does not wait, not even for a connection.

        Raises:
            BrokerUnreachable: no connection, as far as that is known at once.
        """
        ...

    def wait(
        self,
        exchanges: Sequence[Exchange],
        *,
        timeout_s: float | None,
        waker: SelfPipe | None = None,
    ) -> list[Exchange]:
        """Return those of the exchanges whose answer may be there.

        Args:
            exchanges: of this transport.
            timeout_s: longest wait; None waits for ever.
            waker: ends the wait too.
        """
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
        self._answered = False
        self.connection = connection

    def answer(self, patience_s: float | None = None) -> Answer | None:
        """Wait for the answer."""
        try:
            answer = self.connection.receive(patience_s)
        except OSError as error:
            self.connection.close()
            raise failed_exchange(self._address, error) from error
        except BaseException:
            self.connection.close()
            raise
        if answer is not None:
            self._answered = True
            self._transport.give_back(self._address, self.connection)
        return answer

    def cancel(self) -> None:
        """Close the connection: its answer would be mistaken for the next one's."""
        if not self._answered:
            self.connection.close()


class HttpTransport:
    """Requests over HTTP/1.1 with connections kept alive.

    Args:
        connect_timeout_s: longest time for a TCP connection.
        ca: file of the authorities that https trusts; those of the system when empty.
        token: API token of requests that have no token of their own; empty for none.
    """

    def __init__(self, *, connect_timeout_s: float, ca: str = "", token: str = "") -> None:
        self._connect_timeout_s = connect_timeout_s
        self._ca = ca
        self._token = token
        self.restart()

    def restart(self) -> None:
        """Forget all connections without touching them."""
        self._lock = threading.Lock()
        self._idle: dict[str, deque[HttpConnection]] = {}
        self._closed = False
        self._looked_s = 0.0
        """When connections that are idle for too long were last looked for."""

    def request(self, address: str, request: Request, *, timeout_s: float) -> Answer:
        """Send a request and return its answer, whatever its status."""
        answer = self.begin(address, request, timeout_s=timeout_s).answer()
        assert answer is not None, "without patience there is an answer or an error"
        return answer

    def begin(self, address: str, request: Request, *, timeout_s: float) -> HttpExchange:
        """Send a request whose answer is read later."""
        connection = self._connection(address)
        if self._token and not request.token:
            request = request._replace(token=self._token)
        try:
            connection.send(request, timeout_s=timeout_s)
        except OSError as error:
            connection.close()
            raise failed_exchange(address, error) from error
        except BaseException:
            connection.close()
            raise
        return HttpExchange(self, address, connection)

    def wait(
        self,
        exchanges: Sequence[Exchange],
        *,
        timeout_s: float | None,
        waker: SelfPipe | None = None,
    ) -> list[Exchange]:
        """Return those of the exchanges whose answer may be there, or whose time is over."""
        by_connection = {}
        for exchange in exchanges:
            assert isinstance(exchange, HttpExchange), "an exchange of another transport"
            by_connection[exchange.connection] = exchange
        now_s = time.monotonic()
        if by_connection:
            remaining_s = min(one.deadline_s for one in by_connection) - now_s
            timeout_s = remaining_s if timeout_s is None else min(timeout_s, remaining_s)
        also = None if waker is None else waker.fileno()
        ready = wait_ready(list(by_connection), timeout_s, also=also)
        now_s = time.monotonic()
        return [
            exchange
            for connection, exchange in by_connection.items()
            if connection in ready or connection.deadline_s <= now_s
        ]

    def close(self) -> None:
        """Close every idle connection."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, {}
        for connections in idle.values():
            for connection in connections:
                connection.close()

    def give_back(self, address: str, connection: HttpConnection) -> None:
        """Keep a connection for the next request, when it can be used again."""
        if connection.reusable:
            connection.idle_since_s = now_s = time.monotonic()
            aged: list[HttpConnection] = []
            with self._lock:
                if now_s - self._looked_s >= IDLE_S_MAX / IDLE_LOOKS:
                    self._looked_s = now_s
                    aged = take_aged(self._idle, now_s - IDLE_S_MAX)
                idle = self._idle.setdefault(address, deque())
                is_kept = not self._closed and len(idle) < IDLE_CONNECTIONS_MAX
                if is_kept:
                    idle.append(connection)
            for one in aged:
                one.close()
            if is_kept:
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
            if not connection.has_input():
                return connection
            connection.close()
        try:
            return HttpConnection(address, connect_timeout_s=self._connect_timeout_s, ca=self._ca)
        except NotConnected as error:
            raise failed_exchange(address, error) from error


class Idle(Protocol):
    """A connection that waits for its next request."""

    idle_since_s: float
    """When it was given back, by a monotonic clock."""


Kept = TypeVar("Kept", bound=Idle)


def take_aged(idle: dict[str, deque[Kept]], before_s: float) -> list[Kept]:
    """Take out what is idle since before a time, wherever: nobody may ask at its address again."""
    aged: list[Kept] = []
    for address, waiting in list(idle.items()):
        while waiting and waiting[0].idle_since_s < before_s:
            aged.append(waiting.popleft())
        if not waiting:
            del idle[address]
    return aged


TRANSPORTS: dict[str, Callable[[str], Transport]] = {}
"""What makes the transport to an address, by the scheme, of those that are not HTTP."""


def make_transport(
    addresses: Sequence[str], *, connect_timeout_s: float, ca: str = "", token: str = ""
) -> Transport:
    """Return the transport for the managers' addresses: HTTP, or a queue in memory."""
    scheme = split_address(addresses[0])[0]
    if make := TRANSPORTS.get(scheme):
        return make(addresses[0])
    require_http(addresses[0])
    return HttpTransport(connect_timeout_s=connect_timeout_s, ca=trusted_file(ca), token=token)


def trusted_file(ca: str) -> str:
    """Return the file of authorities to trust, empty for those of the system.

    Args:
        ca: named by the program; when empty, MYQUEUE_CA of the environment.

    Raises:
        InvalidRequest: the file cannot be used.
    """
    ca = ca or os.environ.get(CA_VARIABLE, "")
    if ca:  # a wrong one shows at once, not as a server that is not trusted
        from myqueue.contract.tls import calling_context

        calling_context(ca)
    return ca


def failed_exchange(address: str, error: OSError) -> BrokerUnreachable:
    """Return the error for a request that got no answer: known not to have left, or not known."""
    if isinstance(error, NotConnected):
        return BrokerUnreachable(f"no connection to {address}: {error}")
    return lost_answer(address, error)


def lost_answer(address: str, error: OSError) -> BrokerUnreachable:
    """Return the error for an answer that was lost after its request was sent."""
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


def msgpack_request(method: str, path: str, fields: dict[str, Any], *, token: str = "") -> Request:
    """Return a request whose body and answer are MessagePack; fields that are None are left out."""
    return Request(
        method,
        path,
        body=encode_body(fields),
        content_type=MSGPACK,
        accept=MSGPACK,
        token=token,
    )


def encode_body(fields: dict[str, Any], *, keep_none: bool = False) -> bytes:
    """Encode a body as MessagePack, by default without the fields that are None."""
    if not keep_none:
        fields = {name: value for name, value in fields.items() if value is not None}
    return msgspec.msgpack.encode(fields)
