"""HTTP calls to brokers: one keep-alive client, connections per broker, a time limit on each call.

What can go wrong comes as one of three: an error that the broker answered, a connection that
failed before the request left (`NotSent`), or one that failed after it (`OutcomeUnknown`). None of
them removes anything anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec

from http_base.tokens import cluster_token
from myqueue.failures import from_body
from myqueue.protocol import MSGPACK

if TYPE_CHECKING:
    from collections.abc import Mapping

CONNECT_TIMEOUT_S = 1.0
"""To connect to a broker, also when many calls do so at once."""
CONNECTIONS_PER_BROKER = 2_000
"""Calls beyond it wait for a connection; long polls hold one each."""
KEEP_ALIVE_S = 30.0
"""Shorter than a broker keeps an idle connection open."""
SLACK_S = 1.0
"""How much longer than its own time limit a call may take on the way."""


class BrokerConnectionError(Exception):
    """A broker could not be reached, or the connection to it broke."""


class NotSent(BrokerConnectionError):
    """The connection failed before the request left: it did not happen."""


class OutcomeUnknown(BrokerConnectionError):
    """The connection failed after the request left: it may have happened."""


@dataclass(frozen=True)
class BrokerCall:
    """One call of a broker's HTTP API."""

    method: str
    path: str
    query: Mapping[str, Any] = field(default_factory=dict)
    """None values are left out."""
    body: Mapping[str, Any] | None = None
    """Sent as MessagePack; None values are left out."""
    wait_ms: int = 0
    """How long the broker may hold the call before it begins with its work."""


class BrokerClient:
    """Calls brokers in the name of the cluster; lives in one event loop."""

    def __init__(self, secret: str) -> None:
        """Make a client; `open` it in the loop.

        Args:
            secret: the cluster's.
        """
        self._headers = {
            "Authorization": f"Bearer {cluster_token(secret)}",
            "Accept": MSGPACK,
        }
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Make the connection pool."""
        connector = aiohttp.TCPConnector(
            limit=0,
            limit_per_host=CONNECTIONS_PER_BROKER,
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
            timeout_s: the broker's own time limit, in seconds, beyond `call.wait_ms`.

        Raises:
            QueueError: what the broker answered.
            NotSent: the connection could not be made.
            OutcomeUnknown: the connection broke, or no answer came in time.
        """
        assert self._session is not None, "call inside open() and close()"
        timeout = aiohttp.ClientTimeout(
            total=timeout_s + call.wait_ms / 1000 + SLACK_S, sock_connect=CONNECT_TIMEOUT_S
        )
        data = None if call.body is None else msgspec.msgpack.encode(_given(call.body))
        try:
            async with self._session.request(
                call.method,
                address + call.path,
                params={name: str(value) for name, value in _given(call.query).items()},
                data=data,
                headers={} if data is None else {"Content-Type": MSGPACK},
                timeout=timeout,
                allow_redirects=False,
            ) as response:
                return _fields(response.status, await response.read())
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


def _fields(status: int, body: bytes) -> dict[str, Any]:
    """Return the fields of an answer, or raise the error that it describes."""
    try:
        fields = msgspec.msgpack.decode(body)
    except msgspec.MsgspecError:
        fields = None
    if isinstance(fields, dict) and fields.get("status") == "success":
        return fields
    raise from_body(status, fields)
