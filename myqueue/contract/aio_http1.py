"""HTTP/1.1 on a connection of asyncio: what clients and servers send requests on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from myqueue.contract.http1 import AnswerReader, BadAnswer

if TYPE_CHECKING:
    from myqueue.contract.http1 import Answer


class AsyncConnection(asyncio.BufferedProtocol):
    """One connection; its requests go one after the other.

    Args:
        space: where received bytes go first; one may serve all connections of a loop. Its own when
            left out.

    Attributes:
        answered: what the answer to the last request comes in; None before the first.
        closed: whether one of both sides has closed it.
        idle_since_s: when it was given back, by the loop's clock.
    """

    def __init__(self, space: memoryview | None = None) -> None:
        self._reader = AnswerReader(space)
        self._transport: asyncio.Transport | None = None
        self.closed = False
        self.answered: asyncio.Future[Answer] | None = None
        self.idle_since_s = 0.0

    @property
    def reusable(self) -> bool:
        """True when the last answer came whole and the other side keeps the connection."""
        return self._reader.reusable and not self.closed

    def send(self, data: bytes) -> asyncio.Future[Answer]:
        """Send a request and return what its answer comes in."""
        assert self._transport is not None, "connected"
        self._reader.reusable = False
        self.answered = asyncio.get_running_loop().create_future()
        self._transport.write(data)
        return self.answered

    def close(self) -> None:
        """Close it, whatever is under way."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    # What the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where the next bytes go."""
        return self._reader.room()

    def buffer_updated(self, nbytes: int) -> None:
        """Take bytes that came."""
        self._take(nbytes)

    def eof_received(self) -> None:
        """Take the end of the stream."""
        self._take(0)

    def connection_lost(self, exc: Exception | None) -> None:
        """End what is under way."""
        self.closed = True
        self._settle(exc or BadAnswer("the connection was closed before an answer came"))

    def _take(self, count: int) -> None:
        if self.answered is None or self.answered.done():
            self.close()  # nobody asked for this
            return
        try:
            answer = self._reader.filled(count)
        except BadAnswer as error:
            self._settle(error)
            self.close()
            return
        if answer is not None:
            self._settle(answer)

    def _settle(self, result: Answer | Exception) -> None:
        if self.answered is None or self.answered.done():
            return
        if isinstance(result, Exception):
            self.answered.set_exception(result)
            self.answered.exception()  # somebody who gave up does not ask for it
        else:
            self.answered.set_result(result)
