"""HTTP calls to brokers: one keep-alive client, connections per broker, a time limit on each call.

Calls that a broker may hold are limited per broker, and the connections for all others are beside
theirs: neither a write nor an order stands behind a long poll.

What can go wrong comes as one of three: an error that the broker answered, a connection that
failed before the request left (`NotSent`), or one that failed after it (`OutcomeUnknown`). None of
them removes anything anywhere.
"""

from __future__ import annotations

import io
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec

from http_base.tokens import cluster_token
from myqueue.contract.errors import Overloaded, from_body
from myqueue.contract.inputs import BATCH, BATCH_HEADERS, JSON, MSGPACK

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CONNECT_TIMEOUT_S = 1.0
"""To get a connection to a broker, also when many calls want one at once."""
CONNECT_SHARE = 0.8
"""Of a call's own limit, when that is shorter: a call that never left is not taken for one that got
no answer."""
CONNECTIONS_PER_BROKER = 1_000
"""For calls that do not wait; beyond it a call is kept until one is free, or was not sent."""
WAITING_CALLS_PER_BROKER = 2_000
"""Long polls, with a connection each beside those; beyond it OVERLOADED."""
RETRY_AFTER_MS = 200
"""What a call beyond it is told to wait."""
KEEP_ALIVE_S = 30.0
"""Shorter than a broker keeps an idle connection open."""
_NEVER_S = 1e9
"""aiohttp rounds limits above this up to whole seconds of its clock, by default those above 5 s."""


class BrokerConnectionError(Exception):
    """A broker could not be reached, or the connection to it broke."""


class NotSent(BrokerConnectionError):
    """The connection failed before the request left: it did not happen."""


class OutcomeUnknown(BrokerConnectionError):
    """The connection failed after the request left: it may have happened."""


def is_silent(error: Exception) -> bool:
    """Tell whether a call failed because its broker is not there, or says nothing."""
    return isinstance(error, NotSent) or isinstance(error.__cause__, TimeoutError)


@dataclass(frozen=True)
class BrokerCall:
    """One call of a broker's HTTP API."""

    method: str
    path: str
    query: Mapping[str, Any] = field(default_factory=dict)
    """None values are left out."""
    body: Mapping[str, Any] | None = None
    """Sent as MessagePack; None values are left out."""
    batch: bytes = b""
    """Sent as it is, with `query`, in place of a body."""
    wait_ms: int = 0
    """How long the broker may hold the call before it begins with its work."""
    accept: str = MSGPACK
    """Content type of the answer. With `BATCH` its fields are `batches`, the bytes as they came,
    and what the headers say: `high_watermark`, `log_start_offset`, `next_offset`."""


class BrokerClient:
    """Calls brokers in the name of the cluster; lives in one event loop."""

    def __init__(self, secret: str) -> None:
        """Make a client; `open` it in the loop.

        Args:
            secret: the cluster's.
        """
        self._headers = {"Authorization": f"Bearer {cluster_token(secret)}"}
        self._session: aiohttp.ClientSession | None = None
        self._waiting: Counter[str] = Counter()

    async def open(self) -> None:
        """Make the connection pool."""
        connector = aiohttp.TCPConnector(
            limit=0,
            limit_per_host=CONNECTIONS_PER_BROKER + WAITING_CALLS_PER_BROKER,
            keepalive_timeout=KEEP_ALIVE_S,
            use_dns_cache=True,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def call(self, address: str, call: BrokerCall, *, timeout_s: float) -> dict[str, Any]:
        """Return the fields of a successful answer.

        Args:
            address: `http://host:port` of the broker.
            call: what to ask.
            timeout_s: for all of it, in seconds: the connection, what `call.wait_ms` holds, the
                answer.

        Raises:
            Overloaded: too many calls wait at this broker; this one was not sent.
            QueueError: what the broker answered.
            NotSent: no connection could be made, or none was free in time.
            OutcomeUnknown: the connection broke, or no answer came in time.
        """
        assert self._session is not None, "call inside open() and close()"
        with self._place(address, call):
            return await self._send(address, call, timeout_s)

    @contextmanager
    def _place(self, address: str, call: BrokerCall) -> Iterator[None]:
        """Count a call that may wait at its broker."""
        if not call.wait_ms:
            yield
            return
        if self._waiting[address] >= WAITING_CALLS_PER_BROKER:
            raise Overloaded(
                f"{self._waiting[address]} calls of this manager wait at one broker already; try"
                " again, or with wait_ms=0",
                retry_after_ms=RETRY_AFTER_MS,
            )
        self._waiting[address] += 1
        try:
            yield
        finally:
            self._waiting[address] -= 1

    async def _send(self, address: str, call: BrokerCall, total_s: float) -> dict[str, Any]:
        assert self._session is not None
        # `connect` is for both: until a connection of the pool is free, and until it is made.
        timeout = aiohttp.ClientTimeout(
            total=total_s,
            connect=min(CONNECT_TIMEOUT_S, total_s * CONNECT_SHARE),
            ceil_threshold=_NEVER_S,
        )
        headers = {"Accept": call.accept}
        data: io.BytesIO | bytes | None = None
        if call.batch:
            # In pieces: bytes of this length would hold up the loop.
            data, headers["Content-Type"] = io.BytesIO(call.batch), BATCH
        elif call.body is not None:
            data, headers["Content-Type"] = msgspec.msgpack.encode(_given(call.body)), MSGPACK
        try:
            async with self._session.request(
                call.method,
                address + call.path,
                params={name: str(value) for name, value in _given(call.query).items()},
                data=data,
                headers=headers,
                timeout=timeout,
                allow_redirects=False,
            ) as response:
                body = await response.read()
                if response.status == 200 and response.content_type == BATCH:
                    return _batches(body, response.headers)
                return _fields(response.status, response.content_type, body)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NotSent(f"the broker at {address} cannot be reached: {error}") from error
        except aiohttp.InvalidURL as error:
            raise NotSent(f"{address!r} is no address of a broker") from error
        except TimeoutError as error:
            raise OutcomeUnknown(f"the broker at {address} did not answer in time") from error
        except (aiohttp.ClientError, OSError) as error:
            raise OutcomeUnknown(f"the connection to the broker at {address} broke") from error


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _batches(body: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
    """Return record batches as they came, and what their answer's headers say."""
    numbers = {name: int(headers.get(header, -1)) for name, header in BATCH_HEADERS.items()}
    return {"status": "success", "batches": body, **numbers}


def _fields(status: int, content_type: str, body: bytes) -> dict[str, Any]:
    """Return the fields of an answer, or raise the error that it describes."""
    decode = msgspec.json.decode if content_type == JSON else msgspec.msgpack.decode
    try:
        fields = decode(body)
    except msgspec.MsgspecError:
        fields = None
    if isinstance(fields, dict) and fields.get("status") == "success":
        return fields
    raise from_body(status, fields)
