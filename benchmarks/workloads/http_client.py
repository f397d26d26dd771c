"""One HTTP client of many in a loop: a request out, its answer in, the next request out."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from benchmarks.workloads.plain_http import HttpFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class HttpClient(asyncio.Protocol):
    """A connection kept alive. Small, so that the servers are measured and not the client.

    Attributes:
        answers: body of each answer with the seconds that it took.
        done: resolves when the deadline has passed and nothing is on its way.
    """

    def __init__(self, make_request: Callable[[int], bytes], deadline: float) -> None:
        """Be ready to send.

        Args:
            make_request: number of the request, from 0 -> its bytes.
            deadline: no request starts after it, in `time.perf_counter` seconds.
        """
        self.answers: list[tuple[bytes, float]] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._make_request = make_request
        self._deadline = deadline
        self._buffer = bytearray()
        self._sent_s = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own is no subclass.
        self._send()

    def data_received(self, data: bytes) -> None:
        """Send the next request when the answer is complete."""
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._buffer[:end]).lower()
        length_at = head.find(b"content-length:")
        if length_at < 0:
            self._fail(f"an answer without length: {head!r}")
            return
        length = int(head[length_at + 15 :].split(b"\r\n", 1)[0])
        if len(self._buffer) < end + 4 + length:
            return
        body = bytes(self._buffer[end + 4 : end + 4 + length])
        self._buffer.clear()
        if b" 200 " not in head[:16]:
            self._fail(f"{head[:40]!r} {body!r}")
            return
        now = time.perf_counter()
        self.answers.append((body, now - self._sent_s))
        if now < self._deadline:
            self._send()
        elif not self.done.done():
            self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail when something was still on its way."""
        self._fail(f"the connection was closed: {exc}")

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()

    def _send(self) -> None:
        assert self._transport is not None, "connected"
        request = self._make_request(len(self.answers))
        self._sent_s = time.perf_counter()
        self._transport.write(request)

    def _fail(self, text: str) -> None:
        if not self.done.done():
            self.done.set_exception(HttpFailure(text))


async def run_clients(
    address: str, makers: Sequence[Callable[[int], bytes]], seconds: float
) -> list[HttpClient]:
    """Run one client per element of `makers` side by side for some seconds.

    Args:
        address: `http://host:port`.
        makers: number of a client's request -> its bytes.
        seconds: when they stop.

    Raises:
        HttpFailure: an answer was no success, or a connection broke.
    """
    parts = urlsplit(address)
    assert parts.hostname, f"{address} has no host"
    assert parts.port, f"{address} has no port"
    loop = asyncio.get_running_loop()
    deadline = time.perf_counter() + seconds
    clients: list[HttpClient] = []
    try:
        for make_request in makers:
            _, client = await loop.create_connection(
                lambda make_request=make_request: HttpClient(make_request, deadline),  # type: ignore[misc] # the default binds the loop's variable
                parts.hostname,
                parts.port,
            )
            clients.append(client)
        await asyncio.gather(*(client.done for client in clients))
    finally:
        for client in clients:
            client.close()
    return clients
