"""The ASGI application in front of Django: it calls hot views without Django's handler.

Every request passes here: its body is read under the cap of its Content-Type, chunked or not; only
managers and brokers of the cluster may send more, where a table says so. A request on a hot path is
answered by its view at once; everything else, and whatever a browser asks for, goes through
Django's `ASGIHandler`.
"""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest

from http_base.exceptions import failure_response
from http_base.negotiation import body_limit, body_too_large
from http_base.tasks import spawn
from http_base.tokens import bearer_of, is_cluster_token
from myqueue.contract import retry_after
from myqueue.contract.errors import InvalidRequest, Overloaded
from myqueue.contract.inputs import MAX_JSON_BODY_BYTES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from django.http import HttpResponse

    Scope = dict[str, Any]
    Event = Mapping[str, Any]
    Receive = Callable[[], Awaitable[Event]]
    Send = Callable[[Event], Awaitable[None]]
    App = Callable[[Scope, Receive, Send], Awaitable[None]]
    View = Callable[..., Any]

DRAINED_BYTES_MAX = 64 << 20
"""How much of a body over its cap is read and dropped, so that its sender sees the answer."""
REQUESTS_MAX = 20_000
"""Requests under way in one process, long polls included; more are refused with OVERLOADED."""
DISCONNECT_WATCH_S = 0.1
"""A request that takes longer than this is cancelled when its client goes away."""


class HotPaths:
    """Calls the views of a table by exact path, and the wrapped application for the rest."""

    def __init__(
        self, app: App, table: Mapping[str, View], json_bytes_max: Mapping[str, int] | None = None
    ) -> None:
        """Wrap an application.

        Args:
            app: Django.
            table: exact path -> what `View.as_view()` returned.
            json_bytes_max: exact path -> cap of JSON bodies there for who has the cluster's token.
        """
        self._app = app
        self._table = table
        self._json_bytes_max = json_bytes_max or {}
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._under_way >= REQUESTS_MAX:
            error = Overloaded(
                f"{REQUESTS_MAX} requests are under way", retry_after_ms=retry_after.LIMIT_MS
            )
            await _send_response(failure_response(error), send)
            return
        self._under_way += 1
        try:
            await self._answer(scope, receive, send)
        finally:
            self._under_way -= 1

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name: value for name, value in scope["headers"] if name in _HEADERS_READ}
        content_type = headers.get(b"content-type", b"").decode("latin1")
        accept = headers.get(b"accept", b"")
        limit = body_limit(content_type, self._json_cap(scope["path"], headers))
        body = await _read_body(receive, limit=limit)
        if body is None:
            return
        if isinstance(body, _TooLarge):
            error = body_too_large(content_type, limit)
            response = failure_response(error, accept.decode("latin1"))
            if not body.drained:
                response["Connection"] = "close"
            await _send_response(response, send)
        elif not scope["query_string"].isascii():
            wrong = InvalidRequest("the query string has bytes that are not percent-encoded")
            await _send_response(failure_response(wrong, accept.decode("latin1")), send)
        elif (view := self._table.get(scope["path"])) is None or b"text/" in accept:
            await self._app(scope, _replay(body, receive), send)
        else:
            await _call(view, ASGIRequest(scope, io.BytesIO(body)), receive, send)

    def _json_cap(self, path: str, headers: Mapping[bytes, bytes]) -> int:
        cap = self._json_bytes_max.get(path)
        if cap is None:
            return MAX_JSON_BODY_BYTES
        token = bearer_of(headers.get(b"authorization", b"").decode("latin1"))
        known = token is not None and is_cluster_token(settings.QUEUE.cluster_secret, token)
        return cap if known else MAX_JSON_BODY_BYTES


_HEADERS_READ = frozenset({b"content-type", b"accept", b"authorization"})


class _TooLarge:
    """A body over its cap."""

    def __init__(self, *, drained: bool) -> None:
        self.drained = drained


class _DisconnectWatch:
    """Ends a scope of `asyncio.timeout` when the client goes away before `stop`."""

    def __init__(self, receive: Receive, scope: asyncio.Timeout) -> None:
        self._watcher: asyncio.Task[None] | None = None
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(DISCONNECT_WATCH_S, self._start, receive, scope)

    def _start(self, receive: Receive, scope: asyncio.Timeout) -> None:
        self._watcher = spawn("watching for a client that leaves", _end_when_gone(receive, scope))

    def stop(self) -> None:
        """Watch no longer."""
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()


async def _end_when_gone(receive: Receive, scope: asyncio.Timeout) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.reschedule(asyncio.get_running_loop().time())


async def _call(view: View, request: ASGIRequest, receive: Receive, send: Send) -> None:
    """Await the view and send its answer; a client that leaves meanwhile ends it."""
    try:
        async with asyncio.timeout(None) as scope:
            watch = _DisconnectWatch(receive, scope)
            try:
                response = await view(request)
            finally:
                watch.stop()
    except TimeoutError:
        if scope.expired():  # nobody waits for an answer
            return
        raise
    await _send_response(response, send)


async def _send_response(response: HttpResponse, send: Send) -> None:
    content = response.content
    headers = [
        (name.lower().encode("latin1"), value.encode("latin1"))
        for name, value in response.items()
        if name != "Content-Length"
    ]
    headers.append((b"content-length", b"%d" % len(content)))
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": content})


async def _read_body(receive: Receive, *, limit: int) -> bytes | _TooLarge | None:
    """Return the body, `_TooLarge`, or None when the client went away while sending it."""
    parts: list[bytes] = []
    length = 0
    more = True
    while more and length <= max(limit, DRAINED_BYTES_MAX):
        event = await receive()
        if event["type"] == "http.disconnect":
            return None
        part = event.get("body", b"")
        more = event.get("more_body", False)
        length += len(part)
        if length <= limit:
            parts.append(part)
        else:
            parts.clear()
    if length > limit:
        return _TooLarge(drained=not more)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the body that was read already, then goes on."""
    pending = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Event:
        return pending.pop() if pending else await receive()

    return replay
