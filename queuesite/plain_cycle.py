"""A request that is answered without ASGI: in one write, with a task only where it has to wait."""

from __future__ import annotations

import asyncio
import logging
from contextvars import Context
from typing import TYPE_CHECKING, Any, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from http_base.hotpaths import DISCONNECT_WATCH_S

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from uvicorn.server import ServerState

    from http_base.direct import DirectAnswer

logger = logging.getLogger(__name__)


class Connection(Protocol):
    """What the request needs of the protocol of its connection."""

    loop: asyncio.AbstractEventLoop
    tasks: set[asyncio.Task[None]]
    """The server cancels them when it stops."""
    transport: asyncio.Transport
    server_state: ServerState
    hot: Any
    """The `HotPaths` that took the request."""

    def on_response_complete(self) -> None:
        """Go on with what the client sent meanwhile."""


class PlainCycle:
    """One request, as uvicorn's protocol sees the one under way.

    Attributes:
        disconnected: the client has left.
        response_started: the answer was written, as `response_complete` says, too.
        keep_alive: the connection stays open after it.
    """

    disconnected = response_started = response_complete = False
    keep_alive = True

    def __init__(self, connection: Connection, body: bytes) -> None:
        """Wait for `start`.

        Args:
            connection: where it came, and the answer goes.
            body: of the request, which `HotPaths` took.
        """
        self._connection = connection
        self._body = body
        self._task: asyncio.Task[None] | None = None

    @property
    def message_event(self) -> PlainCycle:
        """What uvicorn sets when the client leaves."""
        return self

    def start(self, answering: Coroutine[Any, Any, DirectAnswer] | None) -> None:
        """Run what gives the answer; None: `answered` is called without that."""
        if answering is None:
            return
        connection = self._connection
        task = connection.loop.create_task(self._run(answering), context=Context())
        self._task = task
        connection.tasks.add(task)
        task.add_done_callback(self._ended)

    def set(self) -> None:
        """Give up a little later, if that is not answered which nobody waits for any more."""
        if self._task is not None and not self._task.done():
            self._connection.loop.call_later(DISCONNECT_WATCH_S, self._task.cancel)

    def answered(self, answer: DirectAnswer) -> None:
        """Send the answer and go on with the connection."""
        if self.response_complete:
            return  # what came after the answer failed, which the log tells
        self.response_started = self.response_complete = True
        try:
            if not self.disconnected:
                self._send(answer)
        finally:
            self._connection.hot.end_plain(self._body)

    def _send(self, answer: DirectAnswer) -> None:
        connection = self._connection
        lines = [STATUS_LINE[answer.status]]
        for name, value in (*connection.server_state.default_headers, *answer.headers):
            lines += (name, b": ", value, b"\r\n")
        lines += (b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n", answer.body)
        connection.transport.write(b"".join(lines))
        if not self.keep_alive:
            connection.transport.close()
        connection.on_response_complete()

    async def _run(self, answering: Coroutine[Any, Any, DirectAnswer]) -> None:
        self.answered(await answering)

    def _ended(self, task: asyncio.Task[None]) -> None:
        connection = self._connection
        connection.tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("a request could not be answered", exc_info=task.exception())
        if not self.response_complete:
            connection.hot.end_plain(self._body)
            connection.transport.close()
