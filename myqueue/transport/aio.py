"""The transport of asyncio clients, and HTTP/1.1 on it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Protocol, cast

from myqueue.contract.aio_http1 import AsyncConnection
from myqueue.contract.errors import BrokerUnreachable
from myqueue.contract.http1 import (
    Answer,
    Request,
    host_header,
    render,
    require_http,
    split_address,
)
from myqueue.contract.tls import calling_context, describe_failure
from myqueue.transport.blocking import (
    IDLE_CONNECTIONS_MAX,
    IDLE_S_MAX,
    lost_answer,
    take_aged,
    trusted_file,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from ssl import SSLContext


class AsyncExchange(Protocol):
    """A request that was sent and whose answer has not been read."""

    async def answer(self, patience_s: float | None = None) -> Answer | None:
        """Wait for the answer.

        Args:
            patience_s: return None after so long; 0 only looks. Without it, wait until the answer
                is there or counts as lost.

        Raises:
            BrokerUnreachable: the connection broke, or time ran out.
        """
        ...

    def cancel(self) -> None:
        """Give the answer up."""
        ...


class AsyncTransport(Protocol):
    """How requests of one event loop travel."""

    async def begin(self, address: str, request: Request, *, timeout_s: float) -> AsyncExchange:
        """Send a request whose answer is read later.

        Raises:
            BrokerUnreachable: no connection.
        """
        ...

    async def wait(
        self, exchanges: Sequence[AsyncExchange], *, timeout_s: float
    ) -> list[AsyncExchange]:
        """Return those of the exchanges that are answered or lost, at the latest after the time."""
        ...

    def close(self) -> None:
        """Close every idle connection."""
        ...


class HttpAsyncExchange:
    """A request on its own connection, which goes back to the pool when it was answered."""

    def __init__(
        self,
        transport: HttpAsyncTransport,
        address: str,
        connection: AsyncConnection,
        until_s: float,
    ) -> None:
        assert connection.answered is not None, "a request was sent"
        self._transport = transport
        self._address = address
        self._connection = connection
        self.until_s = until_s
        self.answered = connection.answered

    async def answer(self, patience_s: float | None = None) -> Answer | None:
        """Wait for the answer."""
        loop = asyncio.get_running_loop()
        remaining_s = max(0.0, self.until_s - loop.time())
        wait_s = remaining_s if patience_s is None else min(patience_s, remaining_s)
        if not self.answered.done():
            await asyncio.wait([self.answered], timeout=wait_s)
        if not self.answered.done():
            if loop.time() < self.until_s:
                return None
            self._connection.close()
            raise lost_answer(self._address, TimeoutError("no answer in time"))
        try:
            answer = self.answered.result()
        except OSError as error:
            raise lost_answer(self._address, error) from error
        self._transport.give_back(self._address, self._connection)
        return answer

    def cancel(self) -> None:
        """Close the connection: its answer would be mistaken for the next one's."""
        self._connection.close()


class HttpAsyncTransport:
    """Requests over HTTP/1.1 with connections kept alive.

    Args:
        connect_timeout_s: longest time for a connection.
        ca: file of the authorities that https trusts; those of the system when empty.
        token: API token of requests that have no token of their own; empty for none.
    """

    def __init__(self, *, connect_timeout_s: float, ca: str = "", token: str = "") -> None:
        self._connect_timeout_s = connect_timeout_s
        self._ca = ca
        self._token = token
        self._idle: dict[str, deque[AsyncConnection]] = {}
        self._closed = False

    async def begin(self, address: str, request: Request, *, timeout_s: float) -> HttpAsyncExchange:
        """Send a request whose answer is read later."""
        self._closed = False
        connection = await self._connection(address)
        _, host, port = split_address(address)
        if self._token and not request.token:
            request = request._replace(token=self._token)
        connection.send(render(request, host_header(host, port)))
        until_s = asyncio.get_running_loop().time() + timeout_s
        return HttpAsyncExchange(self, address, connection, until_s)

    async def wait(
        self, exchanges: Sequence[AsyncExchange], *, timeout_s: float
    ) -> list[AsyncExchange]:
        """Return those of the exchanges that are answered or lost, at the latest after the time."""
        mine = [cast("HttpAsyncExchange", one) for one in exchanges]
        loop = asyncio.get_running_loop()
        remaining_s = min(one.until_s for one in mine) - loop.time()
        await asyncio.wait(
            [one.answered for one in mine],
            timeout=max(0.0, min(timeout_s, remaining_s)),
            return_when=asyncio.FIRST_COMPLETED,
        )
        now_s = loop.time()
        return [one for one in mine if one.answered.done() or one.until_s <= now_s]

    def close(self) -> None:
        """Close every idle connection."""
        self._closed = True
        idle, self._idle = self._idle, {}
        for connections in idle.values():
            for connection in connections:
                connection.close()

    def give_back(self, address: str, connection: AsyncConnection) -> None:
        """Keep a connection for the next request, when it can be used again."""
        connection.idle_since_s = now_s = asyncio.get_running_loop().time()
        for aged in take_aged(self._idle, now_s - IDLE_S_MAX):
            aged.close()
        idle = self._idle.setdefault(address, deque())
        if connection.reusable and not self._closed and len(idle) < IDLE_CONNECTIONS_MAX:
            idle.append(connection)
        else:
            connection.close()

    async def _connection(self, address: str) -> AsyncConnection:
        """Take an idle connection that the peer has not closed, or open one."""
        idle = self._idle.get(address, deque())
        while idle:
            connection = idle.pop()
            if connection.reusable:
                return connection
        scheme, host, port = split_address(address)
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                _, opened = await asyncio.get_running_loop().create_connection(
                    AsyncConnection, host, port, ssl=None if scheme == "http" else self._tls()
                )
        except OSError as error:
            raise BrokerUnreachable(
                f"no connection to {address}: {describe_failure(error)}"
            ) from error
        return opened

    def _tls(self) -> SSLContext:
        return calling_context(self._ca)


ASYNC_TRANSPORTS: dict[str, Callable[[str], AsyncTransport]] = {}
"""What makes the transport to an address, by the scheme, of those that are not HTTP."""


def make_async_transport(
    addresses: Sequence[str], *, connect_timeout_s: float, ca: str = "", token: str = ""
) -> AsyncTransport:
    """Return the transport for the managers' addresses: HTTP, or a queue in memory."""
    scheme = split_address(addresses[0])[0]
    if make := ASYNC_TRANSPORTS.get(scheme):
        return make(addresses[0])
    require_http(addresses[0])
    return HttpAsyncTransport(connect_timeout_s=connect_timeout_s, ca=trusted_file(ca), token=token)
