"""HTTP calls between our own processes, in the name of the cluster.

Every call carries the cluster's token and has one time limit for all of it. It returns the answer
of a success, or raises: the error that the other process answered, as a `QueueError`, or a
`CallFailed`, which says whether the request may have taken effect.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from http_base.connections import Connections, NotConnected
from http_base.request_marks import CURRENT
from http_base.tokens import cluster_token
from myqueue.contract.errors import InvalidRequest, from_body
from myqueue.contract.http1 import REQUEST_ID_HEADER, Request
from myqueue.contract.inputs import BATCH, JSON, MSGPACK, prepare_type
from myqueue.contract.tracing import header_lines

if TYPE_CHECKING:
    from collections.abc import Mapping

    from http_base.tls import Tls

ORIGIN: ContextVar[str] = ContextVar("ORIGIN", default="")
"""Address of the client whose request is answered; empty for what the cluster does for itself."""
KEEP_ALIVE_S = 30.0
"""Shorter than our servers keep an idle connection open."""
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding raises; a proxy may answer anything."""

T = TypeVar("T")


class CallFailed(Exception):
    """A process could not be reached, the connection broke, or the answer cannot be read."""


class NotSent(CallFailed):
    """The connection failed before the request was sent: it had no effect."""


class OutcomeUnknown(CallFailed):
    """The connection failed after the request was sent: it may have had its effect."""


class Unreadable(OutcomeUnknown):
    """The answer cannot be read; it is a proxy's, or of another version."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status
        """HTTP status of the answer."""


def is_silent(error: Exception) -> bool:
    """Tell whether a call failed because the other process is not reached or does not answer."""
    return isinstance(error, NotSent) or isinstance(error.__cause__, TimeoutError)


@dataclass(frozen=True)
class ClusterCall:
    """One call of another process's HTTP API."""

    method: str
    path: str
    query: Mapping[str, Any] = field(default_factory=dict)
    """None values are left out."""
    body: Mapping[str, Any] | msgspec.Struct | None = None
    """Sent in the language of the answer, as MessagePack with `BATCH`; a mapping's None values are
    left out."""
    batch: bytes = b""
    """Sent as it is, with `query`, in place of a body."""
    accept: str = MSGPACK
    """Content type of the answer: `JSON`, `MSGPACK` or `BATCH`."""


@dataclass(frozen=True)
class ForwardedCall:
    """A call of somebody else, sent on as it came and in their name."""

    method: str
    target: str
    """Path and query, percent-encoded."""
    body: bytes
    content_type: str
    accept: str
    token: str
    """Bearer token; empty if it came without: it is not sent as the cluster's."""


@dataclass(frozen=True)
class ClusterAnswer:
    """The answer to a call that succeeded."""

    address: str
    """Of the process that gave it."""
    status: int
    content_type: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    accept: str
    """Content type that was asked for."""

    def read(self, answer_type: type[T]) -> T:
        """Decode the body.

        Raises:
            Unreadable: it is not of this type.
        """
        prepare_type(answer_type)
        try:
            if self.content_type == JSON or (self.accept == JSON and self.content_type != MSGPACK):
                return msgspec.json.decode(self.body, type=answer_type)
            return msgspec.msgpack.decode(self.body, type=answer_type)
        except _UNREADABLE as error:
            raise Unreadable(
                f"the answer of {self.address} cannot be read: {error}", self.status
            ) from error


class ClusterHttp:
    """Calls other processes of the cluster; lives in one event loop."""

    def __init__(
        self, secret: str, *, connections_per_server: int = 0, tls: Tls | None = None
    ) -> None:
        """Make a client; nothing is opened before the first call.

        Args:
            secret: the cluster's.
            connections_per_server: at once, others wait for one of them; 0 is no limit.
            tls: whom `https://` trusts, and what is shown there; None: the system's authorities.
        """
        self._token = cluster_token(secret)
        self._encrypts = tls is not None and tls.serving is not None
        self._connections = Connections(
            per_server=connections_per_server, keep_alive_s=KEEP_ALIVE_S, tls=tls
        )

    async def call(
        self,
        address: str,
        call: ClusterCall,
        *,
        timeout_s: float,
        connect_timeout_s: float | None = None,
    ) -> ClusterAnswer:
        """Return the answer of a call that succeeded.

        Args:
            address: `http://host:port` of the process.
            call: what to ask.
            timeout_s: for all of it, in seconds, the connection and the whole answer included.
            connect_timeout_s: to get a free connection or to make one, in seconds.

        Raises:
            QueueError: what the process answered.
            NotSent: no connection could be made, or none was free in time.
            OutcomeUnknown: the connection broke, or no answer came in time.
            Unreadable: it was refused with something that is no failure body.
        """
        answer = await self._send(address, call, timeout_s, connect_timeout_s or timeout_s)
        if 200 <= answer.status < 300:
            return answer
        raise from_body(answer.status, answer.read(object))

    async def forward(
        self, address: str, call: ForwardedCall, *, timeout_s: float, connect_timeout_s: float
    ) -> ClusterAnswer:
        """Return the answer to somebody else's call, whatever it says.

        Args:
            address: `http://host:port` of the process.
            call: as it came.
            timeout_s: for all of it, in seconds, the connection and the whole answer included.
            connect_timeout_s: to get a free connection or to make one, in seconds.

        Raises:
            NotSent: no connection could be made, or none was free in time.
            OutcomeUnknown: the connection broke, or no answer came in time.
        """
        request = Request(
            call.method,
            call.target,
            body=call.body,
            content_type=call.content_type,
            accept=call.accept,
            token=call.token,
            passed=self._token,
            origin=ORIGIN.get(),
            marks=_marks(),
        )
        return await self._exchange(address, request, timeout_s, connect_timeout_s)

    async def _send(
        self, address: str, call: ClusterCall, timeout_s: float, connect_timeout_s: float
    ) -> ClusterAnswer:
        body, content_type = _encoded(call)
        query = {name: _in_query(value) for name, value in _given(call.query).items()}
        request = Request(
            call.method,
            call.path,
            query,
            body,
            content_type,
            call.accept,
            self._token,
            origin=ORIGIN.get(),
            marks=_marks(),
        )
        return await self._exchange(address, request, timeout_s, connect_timeout_s)

    async def _exchange(
        self, address: str, request: Request, timeout_s: float, connect_timeout_s: float
    ) -> ClusterAnswer:
        if self._encrypts and not address.lower().startswith("https:"):
            raise NotSent(f"{address} has no TLS, and tokens are not sent there in the clear")
        try:
            status, headers, content = await self._connections.exchange(
                address, request, timeout_s=timeout_s, connect_timeout_s=connect_timeout_s
            )
        except NotConnected as error:
            raise NotSent(f"{address} cannot be reached: {error}") from error
        except InvalidRequest as error:
            raise NotSent(f"{address!r} is no address") from error
        except TimeoutError as error:
            raise OutcomeUnknown(f"{address} did not answer in time") from error
        except OSError as error:
            raise OutcomeUnknown(f"the connection to {address} broke: {error}") from error
        if "x-request-id" in headers:
            _adopt_id(headers)
        content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        return ClusterAnswer(address, status, content_type, headers, content, accept=request.accept)

    async def close(self) -> None:
        """Close all connections; a later call opens new ones."""
        self._connections.close()


def _marks() -> str:
    """Return the header lines that say for which request a call is made."""
    mark = CURRENT.get()
    if mark is None or mark.is_over:
        return ""
    own_id = f"{REQUEST_ID_HEADER}: {mark.known_id}\r\n" if mark.known_id else ""
    return f"{own_id}{header_lines(mark.place)}"


def _adopt_id(headers: Mapping[str, str]) -> None:
    """Take over the id that another process made for the request that is answered here."""
    mark, made = CURRENT.get(), headers.get("x-request-id")
    if made and mark is not None and not (mark.is_over or mark.known_id):
        mark.take_id(made.encode("latin1", "replace"))


def _encoded(call: ClusterCall) -> tuple[bytes, str]:
    """Return the bytes to send and their content type."""
    if call.batch:
        return call.batch, BATCH
    if call.body is None:
        return b"", ""
    fields = call.body if isinstance(call.body, msgspec.Struct) else _given(call.body)
    if call.accept == JSON:
        return msgspec.json.encode(fields), JSON
    return msgspec.msgpack.encode(fields), MSGPACK


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _in_query(value: object) -> str | int:
    return value if type(value) is int else str(value)
