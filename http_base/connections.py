"""Connections of one event loop to other processes of the cluster, kept open between calls.

HTTP/1.1 is read and written by the same code as in the client: both ends are ours, and a general
HTTP client costs several times what one exchange takes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from myqueue.contract.aio_http1 import AsyncConnection
from myqueue.contract.http1 import (
    READ_BYTES,
    host_header,
    render,
    split_address,
)
from myqueue.contract.tls import calling_context, describe_failure

if TYPE_CHECKING:
    from http_base.tls import Tls
    from myqueue.contract.http1 import Answer, Request

REPEATABLE = frozenset({"GET", "PUT", "DELETE"})
"""A call with one of these is sent once more when the connection it took was about to close."""

AGED_LOOKS = 30
"""How often, while one may be idle, those that are idle for longer are looked for, at most."""


class NotConnected(OSError):
    """There is no connection: nothing of a request left."""


class _Server:
    """The connections to one address."""

    def __init__(self, address: str, per_server: int) -> None:
        self.scheme, self.host, self.port = split_address(address)
        self.host_header = host_header(self.host, self.port)
        self.idle: deque[AsyncConnection] = deque()
        """The one used last at the right."""
        self.places = asyncio.Semaphore(per_server) if per_server else None


class Connections:
    """The connections of one event loop, by address."""

    def __init__(self, *, per_server: int, keep_alive_s: float, tls: Tls | None = None) -> None:
        """Open nothing yet.

        Args:
            per_server: most at once to an address, others wait for one of them; 0 is no limit.
            keep_alive_s: how long an idle one is kept; servers have to keep it for longer.
            tls: whom `https://` trusts, and what is shown there; None: the system's authorities.
        """
        self._tls = tls
        self._per_server = per_server
        self._keep_alive_s = keep_alive_s
        self._space = memoryview(bytearray(READ_BYTES))
        self._servers: dict[str, _Server] = {}
        self._open: set[AsyncConnection] = set()
        self._looked_s = 0.0
        """When connections that are idle for too long were last looked for, by the loop's clock."""

    async def exchange(
        self, address: str, request: Request, *, timeout_s: float, connect_timeout_s: float
    ) -> Answer:
        """Send a request and return its answer, whatever its status.

        Args:
            address: `http://host:port`.
            request: its body encoded.
            timeout_s: for all of it.
            connect_timeout_s: until a connection is free, and until it is made, of that time.

        Raises:
            NotConnected: there was no connection, or none was free in time.
            TimeoutError: no answer came in time.
            OSError: the connection broke, or it is no HTTP answer.
            InvalidRequest: it is no address.
        """
        server = self._servers.get(address)
        if server is None:
            server = self._servers[address] = _Server(address, self._per_server)
        end_s = asyncio.get_running_loop().time() + timeout_s
        connect_s = min(connect_timeout_s, timeout_s)
        if server.places is None:
            return await self._exchange(server, request, end_s, connect_s)
        if not server.places.locked():
            await server.places.acquire()
        else:
            await _wait_for_place(server.places, connect_s)
        try:
            return await self._exchange(server, request, end_s, connect_s)
        finally:
            server.places.release()

    def close(self) -> None:
        """Close every connection, whatever is under way."""
        self._servers.clear()
        for connection in self._open:
            connection.close()
        self._open.clear()

    async def _exchange(
        self, server: _Server, request: Request, end_s: float, connect_s: float
    ) -> Answer:
        data = render(request, server.host_header)
        connection = self._take_idle(server)
        if connection is not None:
            try:
                return await self._ask(server, connection, data, end_s)
            except TimeoutError:
                raise
            except OSError:
                if request.method not in REPEATABLE:
                    raise
        connection = await self._connect(server, connect_s)
        return await self._ask(server, connection, data, end_s)

    async def _ask(
        self, server: _Server, connection: AsyncConnection, data: bytes, end_s: float
    ) -> Answer:
        answered = connection.send(data)
        timer = asyncio.get_running_loop().call_at(end_s, _expire, answered)
        try:
            answer = await answered
        except BaseException:
            self._drop(connection)
            raise
        finally:
            timer.cancel()
        self._give_back(server, connection)
        return answer

    def _take_idle(self, server: _Server) -> AsyncConnection | None:
        """Take an idle connection that the other side has not closed, nor is about to close."""
        oldest_s = asyncio.get_running_loop().time() - self._keep_alive_s
        while server.idle:
            connection = server.idle.pop()
            if connection.reusable and connection.idle_since_s >= oldest_s:
                return connection
            self._drop(connection)
        return None

    async def _connect(self, server: _Server, timeout_s: float) -> AsyncConnection:
        ssl = None
        if server.scheme == "https":
            ssl = calling_context("") if self._tls is None else self._tls.calling
        try:
            async with asyncio.timeout(timeout_s):
                _, connection = await asyncio.get_running_loop().create_connection(
                    partial(AsyncConnection, self._space), server.host, server.port, ssl=ssl
                )
        except TimeoutError as error:
            raise NotConnected("no connection in time") from error
        except OSError as error:
            raise NotConnected(describe_failure(error)) from error
        except UnicodeError as error:
            raise NotConnected(str(error)) from error
        self._open.add(connection)
        return connection

    def _give_back(self, server: _Server, connection: AsyncConnection) -> None:
        """Keep a connection for the next request, when it can be used again."""
        if not connection.reusable or connection not in self._open:
            self._drop(connection)
            return
        connection.idle_since_s = now_s = asyncio.get_running_loop().time()
        server.idle.append(connection)
        if now_s - self._looked_s >= self._keep_alive_s / AGED_LOOKS:
            self._looked_s = now_s
            self._drop_aged(now_s - self._keep_alive_s)

    def _drop_aged(self, before_s: float) -> None:
        """Close what is idle since before a time, wherever: nobody may ask there again."""
        for server in self._servers.values():
            while server.idle and server.idle[0].idle_since_s < before_s:
                self._drop(server.idle.popleft())

    def _drop(self, connection: AsyncConnection) -> None:
        connection.close()
        self._open.discard(connection)


async def _wait_for_place(places: asyncio.Semaphore, timeout_s: float) -> None:
    """Take a place when one is free.

    Raises:
        NotConnected: none was in time.
    """
    try:
        async with asyncio.timeout(timeout_s):
            await places.acquire()
    except TimeoutError as error:
        raise NotConnected("no connection was free in time") from error


def _expire(answered: asyncio.Future[Answer]) -> None:
    if not answered.done():
        answered.set_exception(TimeoutError("no answer in time"))
