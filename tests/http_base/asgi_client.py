"""A client that calls an ASGI application in the same loop, without a socket."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from http_base.known_heads import BODY_BYTES_MAX

if TYPE_CHECKING:
    from http_base.direct import DirectAnswer
    from http_base.hotpaths import HotPaths


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return msgspec.json.decode(self.body)


def scope_of(method: str, target: str, headers: dict[str, str]) -> dict[str, Any]:
    """Return an ASGI scope as uvicorn makes it."""
    path, _, query = target.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode("latin1"),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 8000),
    }


def events_of(body: bytes | list[bytes]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Return the events that carry a body, and the header that announces it."""
    parts = [body] if isinstance(body, bytes) else body
    events = [
        {"type": "http.request", "body": part, "more_body": position < len(parts)}
        for position, part in enumerate(parts, 1)
    ]
    if isinstance(body, list):
        return events, {"transfer-encoding": "chunked"}
    return events, {"content-length": str(len(body))} if body else {}


async def call(
    app: Any,
    method: str,
    target: str,
    *,
    body: bytes | list[bytes] = b"",
    headers: dict[str, str] | None = None,
    gone: asyncio.Event | None = None,
) -> Answer | None:
    """Send one request; None when the application sent nothing.

    Args:
        app: the application.
        method: of the request.
        target: path and query.
        body: the body; a list comes chunked, without a Content-Length.
        headers: of the request.
        gone: the client disconnects when it is set.
    """
    incoming, length_header = events_of(body)
    sent: list[dict[str, Any]] = []
    done = gone or asyncio.Event()

    async def receive() -> dict[str, Any]:
        if incoming:
            return incoming.pop(0)
        await done.wait()
        return {"type": "http.disconnect"}

    async def send(event: dict[str, Any]) -> None:
        sent.append(event)

    await app(scope_of(method, target, length_header | (headers or {})), receive, send)
    if not sent:
        return None
    start = sent[0]
    return Answer(
        start["status"],
        {name.decode().lower(): value.decode() for name, value in start["headers"]},
        b"".join(event.get("body", b"") for event in sent[1:]),
    )


async def call_plainly(
    app: HotPaths,
    method: str,
    target: str,
    *,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
) -> Answer | None:
    """Send a request as a connection does on which its head came before.

    Through ASGI where there is something to be weighed; the arguments are those of `call`.
    """
    scope = scope_of(method, target, events_of(body)[1] | (headers or {}))
    head = app.plain_head(method, scope["path"], scope["query_string"], scope["headers"])
    if head is None or len(body) > BODY_BYTES_MAX or not app.admit_plain(body):
        return await call(app, method, target, body=body, headers=headers)
    try:
        told: asyncio.Future[DirectAnswer] = asyncio.get_running_loop().create_future()
        answering = app.answer_plain(head, body, scope["client"][0], told.set_result)
        answer = await (told if answering is None else answering)
    finally:
        app.end_plain(body)
    sent = {name.decode().lower(): value.decode() for name, value in answer.headers}
    return Answer(answer.status, sent, answer.body)
