"""HTTP calls between our own processes, in the name of the cluster.

Every call carries the cluster's token and has one time limit for all of it. It returns the answer
of a success, or raises: the error that the other process answered, as a `QueueError`, or a
`CallFailed`, which says whether the request may have taken effect. Nothing else in the servers uses
aiohttp.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp
import msgspec

from http_base.tokens import cluster_token
from myqueue.contract.errors import from_body
from myqueue.contract.inputs import BATCH, JSON, MSGPACK, prepare_type

if TYPE_CHECKING:
    from collections.abc import Mapping

KEEP_ALIVE_S = 30.0
"""Shorter than our servers keep an idle connection open."""
_NEVER_S = 1e9
"""aiohttp rounds limits above this up to whole seconds of its clock, by default those above 5 s."""
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
class ClusterAnswer:
    """The answer to a call that succeeded."""

    address: str
    """Of the process that gave it."""
    status: int
    content_type: str
    headers: Mapping[str, str]
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

    def __init__(self, secret: str, *, connections_per_server: int = 0) -> None:
        """Make a client; nothing is opened before the first call.

        Args:
            secret: the cluster's.
            connections_per_server: at once, others wait for one of them; 0 is no limit.
        """
        self._headers = {"Authorization": f"Bearer {cluster_token(secret)}"}
        self._connections_per_server = connections_per_server
        self._session: aiohttp.ClientSession | None = None

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
        answer = await self._send(
            address,
            call,
            # `connect` is for both: until a connection of the pool is free, and until it is made.
            aiohttp.ClientTimeout(
                total=timeout_s, connect=connect_timeout_s, ceil_threshold=_NEVER_S
            ),
        )
        if 200 <= answer.status < 300:
            return answer
        raise from_body(answer.status, answer.read(object))

    async def _send(
        self, address: str, call: ClusterCall, timeout: aiohttp.ClientTimeout
    ) -> ClusterAnswer:
        data, content_type = _encoded(call)
        headers = {"Accept": call.accept}
        if content_type:
            headers["Content-Type"] = content_type
        try:
            async with self._open().request(
                call.method,
                address + call.path,
                params={name: str(value) for name, value in _given(call.query).items()},
                data=data,
                headers=headers,
                timeout=timeout,
                allow_redirects=False,
            ) as response:
                return ClusterAnswer(
                    address,
                    response.status,
                    response.content_type,
                    response.headers,
                    await response.read(),
                    accept=call.accept,
                )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NotSent(f"{address} cannot be reached: {error}") from error
        except aiohttp.InvalidURL as error:
            raise NotSent(f"{address!r} is no address") from error
        except TimeoutError as error:
            raise OutcomeUnknown(f"{address} did not answer in time") from error
        except (aiohttp.ClientError, OSError) as error:
            raise OutcomeUnknown(f"the connection to {address} broke: {error}") from error

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=0,
                limit_per_host=self._connections_per_server,
                keepalive_timeout=KEEP_ALIVE_S,
                use_dns_cache=True,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                headers=self._headers,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        return self._session

    async def close(self) -> None:
        """Close all connections; a later call opens new ones."""
        if self._session is not None:
            await self._session.close()
            self._session = None


def _encoded(call: ClusterCall) -> tuple[io.BytesIO | bytes | None, str]:
    """Return the bytes to send and their content type."""
    if call.batch:
        # In pieces: bytes of this length would hold up the loop.
        return io.BytesIO(call.batch), BATCH
    if call.body is None:
        return None, ""
    fields = call.body if isinstance(call.body, msgspec.Struct) else _given(call.body)
    if call.accept == JSON:
        return msgspec.json.encode(fields), JSON
    return msgspec.msgpack.encode(fields), MSGPACK


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
