"""The ASGI application in front of Django: it calls hot views without Django's handler.

Every request passes here: its body is read under the cap of its Content-Type, chunked or not; only
managers and brokers of the cluster may send more, where a table says so. Before a long body is read
its sender's token and right are checked, and before a byte of any it has its place in the budget of
all bodies, beside the others of the same sender, or is refused. A request on a hot path is
answered by its view at once, or where nothing is to be negotiated by the operation that the view
serves; everything else, and whatever a browser asks for, goes through Django's `ASGIHandler`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from http import HTTPStatus
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.urls import Resolver404, resolve

from http_base import guard
from http_base.apidoc import doc_of
from http_base.calls import DirectCall, head_of
from http_base.cluster_http import ORIGIN
from http_base.direct import answer_directly, answer_of, count_answer
from http_base.exceptions import failure_response, to_failure
from http_base.negotiation import body_limit, body_too_large
from http_base.request_marks import CURRENT, RequestMark
from http_base.request_marks import HEADER as REQUEST_ID
from http_base.requests import HotRequest, client_address_of
from http_base.tasks import spawn
from http_base.tokens import bearer_of, is_cluster_token
from http_base.traces import TRACEPARENT, TRACESTATE, begin_trace, end_trace
from http_base.views import at_once_of, more_headers_of, operations_of
from myqueue.contract import retry_after
from myqueue.contract.errors import InvalidRequest, Overloaded, QueueError
from myqueue.contract.http1 import ORIGIN_HEADER, PASSED_HEADER
from myqueue.contract.inputs import MAX_JSON_BODY_BYTES

if TYPE_CHECKING:
    from collections.abc import (
        Awaitable,
        Callable,
        Coroutine,
        Hashable,
        Iterable,
        Mapping,
        Sequence,
    )

    import msgspec
    from django.http import HttpResponse

    from http_base.browsers import BrowserRules
    from http_base.calls import Answered, AtOnce, Call, CallHead, Operation, StoredBatches
    from http_base.direct import DirectAnswer
    from http_base.memory_budget import MemoryShare
    from myqueue.contract.tracing import Tracing

    Scope = dict[str, Any]
    Event = Mapping[str, Any]
    Receive = Callable[[], Awaitable[Event]]
    Send = Callable[[Event], Awaitable[None]]
    App = Callable[[Scope, Receive, Send], Awaitable[None]]
    View = Callable[..., Any]
    Door = Callable[[str, DirectCall], Awaitable[Hashable]]
    """Given the path and the call without its body: checks who sends it, as far as that can be told
    yet, and returns whose body it is; None for the cluster, whose bodies are of many, and an empty
    text where nobody is named."""

T = TypeVar("T")
logger = logging.getLogger(__name__)

LONG_BODY_BYTES = 64 << 10
"""A body of more, or of unknown length, is read only after its sender was checked. Others come with
the headers, more or less, and are checked once."""
DRAINED_BYTES_MAX = 64 << 20
"""How much of a body over its cap is read and dropped, so that its sender sees the answer."""
REQUESTS_MAX = 20_000
"""Requests under way in one process, long polls included; more are refused with OVERLOADED."""
LOGGED_PATH_MAX = 200
"""Characters of a slow request's path that are logged."""
DISCONNECT_WATCH_S = 0.1
"""A request that takes twice as long as this is cancelled when its client goes away."""


class HotPaths:
    """Calls the views of a table by exact path, and the wrapped application for the rest."""

    def __init__(
        self,
        app: App,
        table: Mapping[str, View],
        json_bytes_max: Mapping[str, int] | None = None,
        *,
        bodies: MemoryShare,
        door: Door | None = None,
        rules: BrowserRules | None = None,
        slow_ms: int = 0,
        tracing: Tracing | None = None,
    ) -> None:
        """Put the hot paths in front of an application.

        Args:
            app: Django.
            table: exact path -> what `View.as_view()` returned.
            json_bytes_max: exact path -> cap of JSON bodies there for who has the cluster's token.
            bodies: what the bodies of all requests under way may take.
            door: checks the senders of long bodies; None: nobody does.
            rules: refuse what pages of others make browsers do; None: nothing does.
            slow_ms: a request that takes longer is logged, in milliseconds from when it was whole,
                without its waits for messages; 0: none is.
            tracing: makes spans for requests that belong to a trace; None: nobody records any.
        """
        self._tracing = tracing
        self._slow_s = slow_ms / 1000 or inf
        self._tells_all = logger.isEnabledFor(logging.DEBUG)
        self._rules = rules
        self._known_hosts = () if rules is None else rules.known_hosts
        plain = [path for path, view in table.items() if not iscoroutinefunction(view)]
        assert not plain, f"the views of {plain} have plain handlers, which would block the loop"
        self._app = app
        self._table = table
        self._operations = {
            (path, method): (
                _guarded(operation, _judge_of(view, method)),
                more_headers_of(view),
            )
            for path, view in table.items()
            for method, operation in operations_of(view).items()
        }
        self._at_once = {
            (path, method): _guarded_at_once(at_once, _judge_of(table[path], method))
            for path, method in self._operations
            if (at_once := at_once_of(table[path], method)) is not None
        }
        self._json_bytes_max = json_bytes_max or {}
        self._bodies = bodies
        self._door = door
        self._is_guarded = guard.is_on()
        """It matters who calls."""
        self._held: Counter[Hashable] = Counter()
        """Bytes of long bodies by whose they are."""
        self._under_way = 0
        self._leaving = _Leaving()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        mark = RequestMark()
        CURRENT.set(mark)
        if self._under_way >= REQUESTS_MAX:
            error = Overloaded(
                f"{REQUESTS_MAX} requests are under way", retry_after_ms=retry_after.LIMIT_MS
            )
            await send_response(failure_response(error), send)
            return
        headers = _headers_of(scope)
        if REQUEST_ID in headers:
            mark.take_id(headers[REQUEST_ID])
        elif self._tells_all:
            _ = mark.id  # whatever is passed on for it has the same
        if TRACEPARENT in headers:
            begin_trace(mark, scope, headers, self._tracing)
        ORIGIN.set(_origin_of(client_address_of(scope), headers))
        if self._rules is not None and (
            headers.get(b"host") not in self._known_hosts
            or b"origin" in headers
            or b"sec-fetch-site" in headers
        ):
            try:
                self._rules.require_own(scope, headers)
            except QueueError as error:
                await send_response(failure_response(error), send)
                return
        json_cap = self._json_cap(scope["path"], headers)
        body = _Body(
            self._bodies,
            self._held,
            limit=body_limit(_content_type_of(headers), json_cap),
            is_urgent=json_cap > MAX_JSON_BODY_BYTES,
        )
        self._under_way += 1
        try:
            await self._answer(scope, receive, send, headers=headers, reading=body)
        finally:
            asked = (scope.get("method", ""), scope["path"])
            self._note_end(mark, asked, client_address_of(scope))
            body.give_back()
            self._under_way -= 1

    # --- requests of which nothing is unusual ------------------------------------------------

    def plain_head(
        self, method: str, path: str, query_string: bytes, headers: Sequence[tuple[bytes, bytes]]
    ) -> PlainHead | None:
        """Return what is to be done for requests with this head and a short body.

        Returns:
            None when something is to be weighed, refused or handed on; `__call__` does that.
        """
        known = _read_of(headers)
        if (
            (found := self._operations.get((path, method))) is None
            or not DirectCall.is_plain(known)
            or not query_string.isascii()
            or not _WEIGHED.isdisjoint(known)
            or (self._rules is not None and known.get(b"host") not in self._known_hosts)
        ):
            return None
        operation, more_headers = found
        at_once = self._at_once.get((path, method))
        return PlainHead(
            *(method, path, head_of(query_string.decode(), known), known),
            *(operation, at_once, more_headers),
        )

    def admit_plain(self, body: bytes) -> bool:
        """Take a request, for which `end_plain` is called in any case; False: there is no room.

        `__call__` refuses it then.
        """
        if self._under_way >= REQUESTS_MAX or not self._bodies.admits(len(body), held_bytes=0):
            return False
        self._under_way += 1
        self._bodies.move(len(body))
        return True

    def end_plain(self, body: bytes) -> None:
        """Forget a request that is answered, or for whose answer nobody waits any more."""
        self._under_way -= 1
        self._bodies.move(-len(body))

    def answer_plain(
        self,
        head: PlainHead,
        body: bytes,
        client_address: str,
        answered: Callable[[DirectAnswer], None],
    ) -> Coroutine[Any, Any, DirectAnswer] | None:
        """Answer a request, or begin to.

        Args:
            head: of the request.
            body: of the request.
            client_address: where it comes from.
            answered: is given the answer, now or later, when there is no coroutine to wait for.

        Returns:
            What gives the answer, to be run in a task; None when nothing is left to do.
        """
        call = DirectCall(head.call, body, client_address=client_address)
        mark = RequestMark()
        mark.begun_s = monotonic()
        CURRENT.set(mark)
        if head.at_once is not None:

            def told(outcome: msgspec.Struct | BaseException) -> None:
                answer = self._answer_of(outcome, head, call, mark)
                answered(answer)  # first: somebody waits for that
                self._note_answer(answer, head, call, mark)

            try:
                if head.at_once(call, told):
                    return None
            except QueueError:
                pass  # nothing was done: the operation refuses it, as it refuses all others
            except Exception as error:  # noqa: BLE001 - the edge: every error becomes an answer
                told(error)
                return None
        return self._answer_plain(head, call, mark)

    async def _answer_plain(
        self, head: PlainHead, call: DirectCall, mark: RequestMark
    ) -> DirectAnswer:
        CURRENT.set(mark)
        ORIGIN.set(_origin_of(call.client_address, head.headers))
        outcome: msgspec.Struct | StoredBatches | BaseException
        try:
            outcome = await head.operation(call)
        except asyncio.CancelledError:
            self._note_end(mark, (head.method, head.path), call.client_address)
            raise
        except Exception as error:  # noqa: BLE001 - the edge: every error becomes an answer
            outcome = error
        answer = self._answer_of(outcome, head, call, mark)
        self._note_answer(answer, head, call, mark)
        return answer

    def _answer_of(
        self,
        outcome: msgspec.Struct | StoredBatches | BaseException,
        head: PlainHead,
        call: DirectCall,
        mark: RequestMark,
    ) -> DirectAnswer:
        CURRENT.set(mark)  # who tells of the outcome may be at work for another request
        answer = answer_of(
            outcome, call, method=head.method, path=head.path, more_headers=head.more_headers
        )
        mark.status = answer.status
        if answer.status >= HTTPStatus.BAD_REQUEST:
            answer.headers.append((REQUEST_ID, mark.id.encode("ascii")))
        return answer

    def _note_answer(
        self, answer: DirectAnswer, head: PlainHead, call: DirectCall, mark: RequestMark
    ) -> None:
        """Count a request that is answered, in its own context, and note its end."""
        count_answer(answer, call, method=head.method, path=head.path)
        self._note_end(mark, (head.method, head.path), call.client_address)

    def _note_end(self, mark: RequestMark, asked: tuple[str, str], client_address: str) -> None:
        """Note that a request is answered, and log one that was slow: (method, path)."""
        took_s = monotonic() - mark.begun_s - mark.waited_s
        if took_s > self._slow_s or self._tells_all:
            _tell(mark, asked, client_address, took_s=took_s, is_slow=took_s > self._slow_s)
        mark.is_over = True
        if mark.span is not None:
            end_trace(mark, mark.span)

    async def _answer(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        headers: Mapping[bytes, bytes],
        reading: _Body,
    ) -> None:
        accept = headers.get(b"accept", b"")
        body = await self._read(scope, receive, send, headers=headers, reading=reading)
        if body is None:
            return
        mark = CURRENT.get()
        assert mark is not None, "each request has one"
        mark.begun_s = monotonic()
        if isinstance(body, _TooLarge):
            error = body_too_large(_content_type_of(headers), reading.limit)
            response = failure_response(error, accept.decode("latin1"))
            if not body.drained:
                response["Connection"] = "close"
            await send_response(response, send)
        elif not scope["query_string"].isascii():
            wrong = InvalidRequest("the query string has bytes that are not percent-encoded")
            await send_response(failure_response(wrong, accept.decode("latin1")), send)
        elif (
            (view := self._table.get(scope["path"])) is None
            or b"text/" in accept
            or (self._is_guarded and b"cookie" in headers and b"authorization" not in headers)
        ):
            await self._app(scope, _replay(body, receive), _marking(mark, send))
        elif (answering := self._begin_directly(scope, headers, body)) is not None:
            answer = await self._leaving.unless_gone(answering, receive)
            if answer is not None:
                await _send(answer.status, answer.headers, answer.body, send)
        else:
            viewing = view(HotRequest(scope, headers, body))
            finished = await self._leaving.unless_gone(viewing, receive)
            if finished is not None:
                await send_response(finished, send)

    async def _read(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        headers: Mapping[bytes, bytes],
        reading: _Body,
    ) -> bytes | _TooLarge | None:
        """Return the body; None when it was refused, or the client went away while sending it."""
        try:
            if self._door is not None and _is_long(headers) and not reading.is_urgent:
                reading.owner = await self._owner(self._door, scope, headers)
            return await reading.read(receive, _length_of(headers))
        except Exception as error:  # noqa: BLE001 - the edge: every error becomes an answer
            refused = to_failure(error, method=scope["method"], path=scope["path"])
            accept = headers.get(b"accept", b"").decode("latin1")
            await send_response(failure_response(refused, accept), send)
            return None

    async def _owner(self, door: Door, scope: Scope, headers: Mapping[bytes, bytes]) -> Hashable:
        """Let the door judge a request by what came before its body; return whose it is."""
        query_string = scope["query_string"]
        if not query_string.isascii():
            return ""  # refused below
        call = DirectCall(head_of(query_string.decode(), headers), b"")
        if self._is_guarded:
            _check_before_body(scope, call)
        owner = await door(scope["path"], call)
        return client_address_of(scope) if owner == "" else owner

    def _begin_directly(
        self, scope: Scope, headers: Mapping[bytes, bytes], body: bytes
    ) -> Awaitable[DirectAnswer] | None:
        """Call the operation without Django; None when there is none, or negotiation is needed."""
        path, method = scope["path"], scope["method"]
        found = self._operations.get((path, method))
        if found is None or not DirectCall.is_plain(headers):
            return None
        operation, more_headers = found
        query_string, address = scope["query_string"].decode(), client_address_of(scope)
        call = DirectCall(head_of(query_string, headers), body, client_address=address)
        return answer_directly(operation, call, method=method, path=path, more_headers=more_headers)

    def _json_cap(self, path: str, headers: Mapping[bytes, bytes]) -> int:
        cap = self._json_bytes_max.get(path)
        if cap is None:
            return MAX_JSON_BODY_BYTES
        token = bearer_of(headers.get(b"authorization", b"").decode("latin1"))
        known = token is not None and is_cluster_token(settings.QUEUE.cluster_secret, token)
        return cap if known else MAX_JSON_BODY_BYTES


def _class_of(view: View) -> Any:
    """Return the class of a view of `as_view`; None for another function."""
    return getattr(view, "view_class", None)


def _judge_of(view: View, method: str) -> Callable[[Call], None] | None:
    """Return what has to be checked before an operation; None where nothing has to."""
    doc = doc_of(_class_of(view), method)
    if not guard.is_on() and (doc is None or not doc.access.is_cluster):
        return None

    def judge(call: Call) -> None:
        guard.judge(call, doc, {})

    return judge


def _guarded(operation: Operation, judge: Callable[[Call], None] | None) -> Operation:
    if judge is None:
        return operation

    async def checked(call: Call) -> msgspec.Struct | StoredBatches:
        judge(call)
        return await operation(call)

    return checked


def _guarded_at_once(at_once: AtOnce, judge: Callable[[Call], None] | None) -> AtOnce:
    if judge is None:
        return at_once

    def checked(call: Call, answered: Answered) -> bool:
        judge(call)
        return at_once(call, answered)

    return checked


def _check_before_body(scope: Scope, call: DirectCall) -> None:
    """Refuse a call before its long body is read; forms of people are Django's affair.

    Raises:
        QueueError: whoever calls may not, or it is not known who it is.
    """
    try:
        found = resolve(scope["path"])
    except Resolver404:
        guard.current().before_body(call, None)
        return
    if "admin" not in found.app_names:
        doc = doc_of(_class_of(found.func), scope["method"])
        guard.current().before_body(call, doc)


_ORIGIN, _PASSED = ORIGIN_HEADER.lower().encode(), PASSED_HEADER.lower().encode()
_HEADERS_READ = frozenset(
    {b"content-type", b"content-length", b"transfer-encoding", b"accept", b"authorization"}
    | {b"host", b"origin", b"sec-fetch-site", b"cookie", _ORIGIN, _PASSED, REQUEST_ID}
    | {TRACEPARENT, TRACESTATE}
)


_WEIGHED = frozenset({b"origin", b"sec-fetch-site", b"cookie", REQUEST_ID, TRACEPARENT})
"""Of a request without any of these, by a host that is known, nothing has to be asked but who
sends it."""


class PlainHead(NamedTuple):
    """What is known of a request before its body, where there is nothing to be weighed."""

    method: str
    path: str
    call: CallHead
    headers: Mapping[bytes, bytes]
    operation: Operation
    at_once: AtOnce | None
    """Does the same without a coroutine, where it can."""
    more_headers: Callable[[], Mapping[str, str]]


def _headers_of(scope: Scope) -> dict[bytes, bytes]:
    return _read_of(scope["headers"])


def _read_of(pairs: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return the headers that are read here; repeated ones are joined, as Django does."""
    headers: dict[bytes, bytes] = {}
    for name, value in pairs:
        if name in _HEADERS_READ:
            headers[name] = headers[name] + b"," + value if name in headers else value
    return headers


def _origin_of(address: str, headers: Mapping[bytes, bytes]) -> str:
    """Return whose request it is: what another manager passed on has the address of its client."""
    passed = headers.get(_PASSED)
    if passed and is_cluster_token(settings.QUEUE.cluster_secret, passed.decode("latin1")):
        return headers.get(_ORIGIN, b"").decode("latin1")
    return address


class _TooLarge:
    """A body over its cap."""

    def __init__(self, *, drained: bool) -> None:
        self.drained = drained


class _Body:
    """The body of one request, and its place in the budget of all bodies."""

    def __init__(
        self, share: MemoryShare, held_by: Counter[Hashable], *, limit: int, is_urgent: bool
    ) -> None:
        """Prepare.

        Args:
            share: of all bodies.
            held_by: bytes of it by owner.
            limit: most bytes.
            is_urgent: it is taken whatever the budget: the cluster itself is at work.
        """
        self.limit = limit
        self.is_urgent = is_urgent
        self.owner: Hashable = None
        """Whose body it is; None: it has no other."""
        self._share = share
        self._held_by = held_by
        self._held = 0
        """Bytes of the share that are kept for it."""

    async def read(self, receive: Receive, announced: int) -> bytes | _TooLarge | None:
        """Return the body, `_TooLarge`, or None when the client went away while sending it.

        Args:
            receive: of ASGI.
            announced: its length in bytes, as the client says; 0 when it does not.

        Raises:
            Overloaded: the bodies under way leave no room for it; the rest of it was not read.
        """
        if 0 < announced <= self.limit:
            self._hold(announced)
        parts: list[bytes] = []
        length = 0
        more = True
        while more and length <= max(self.limit, DRAINED_BYTES_MAX):
            event = await receive()
            if event["type"] == "http.disconnect":
                return None
            part = event.get("body", b"")
            more = event.get("more_body", False)
            length += len(part)
            if length > self.limit:
                parts.clear()
                self.give_back()
                continue
            if length > self._held:
                self._hold(length - self._held)
            parts.append(part)
        if length > self.limit:
            return _TooLarge(drained=not more)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def give_back(self) -> None:
        """Give the body's bytes back to the budget."""
        if self._held:
            self._move(-self._held)

    def _hold(self, size_bytes: int) -> None:
        share = self._share
        held_bytes = self._held if self.owner is None else self._held_by[self.owner]
        if not (self.is_urgent or share.admits(size_bytes, held_bytes=held_bytes)):
            raise Overloaded(
                f"the bodies of the requests under way take {share.used_bytes} of"
                f" {share.limit_bytes} bytes (QUEUE_MEMORY_BUDGET_BYTES), those of the same sender"
                f" {held_bytes}; try again",
                retry_after_ms=retry_after.LIMIT_MS,
            )
        self._move(size_bytes)

    def _move(self, change_bytes: int) -> None:
        self._share.move(change_bytes)
        self._held += change_bytes
        if self.owner is not None:
            self._held_by[self.owner] += change_bytes
            if not self._held_by[self.owner]:
                del self._held_by[self.owner]


def _content_type_of(headers: Mapping[bytes, bytes]) -> str:
    return headers.get(b"content-type", b"").decode("latin1")


def _is_long(headers: Mapping[bytes, bytes]) -> bool:
    """Tell whether a body is long, or may be."""
    return b"transfer-encoding" in headers or _length_of(headers) > LONG_BODY_BYTES


def _length_of(headers: Mapping[bytes, bytes]) -> int:
    """Return the Content-Length, 0 when there is none."""
    text = headers.get(b"content-length", b"")
    return int(text) if text.isdigit() else 0


class _Leaving:
    """Cancels requests whose clients disconnect before they are answered.

    One timer for all of them: most are answered before it is due, and cost nothing but their place
    in a set.
    """

    def __init__(self) -> None:
        self._young: set[_Waiting] = set()
        """Requests that the timer has not seen yet."""
        self._seen: set[_Waiting] = set()
        """Requests that it has seen once; the next time their clients are watched."""
        self._loop: asyncio.AbstractEventLoop | None = None
        """Where the timer runs; None while there is none."""

    async def unless_gone(self, answering: Awaitable[T], receive: Receive) -> T | None:
        """Return the answer; None when the client disconnected, which cancels the work."""
        waiting = _Waiting(receive)
        self._young.add(waiting)
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop = loop
            loop.call_later(DISCONNECT_WATCH_S, self._look)
        try:
            return await answering
        except asyncio.CancelledError:
            if waiting.is_gone():  # nobody waits for an answer
                return None
            raise
        finally:
            self._young.discard(waiting)
            self._seen.discard(waiting)
            waiting.stop()

    def _look(self) -> None:
        for waiting in self._seen:
            waiting.watch()
        self._seen, self._young = self._young, set()
        if self._seen:
            asyncio.get_running_loop().call_later(DISCONNECT_WATCH_S, self._look)
        else:
            self._loop = None


class _Waiting:
    """One request that is being answered."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._task = asyncio.current_task()
        self._watcher: asyncio.Task[None] | None = None
        self._has_left = False

    def watch(self) -> None:
        """Cancel the request when its client disconnects."""
        self._watcher = spawn("watching for a client that leaves", self._end_when_gone())

    def is_gone(self) -> bool:
        """Tell whether the request was cancelled because the client disconnected."""
        return self._has_left and self._task is not None and not self._task.uncancel()

    def stop(self) -> None:
        """Stop watching for the client's disconnect."""
        if self._watcher is not None:
            self._watcher.cancel()

    async def _end_when_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        assert self._task is not None, "requests are answered in tasks"
        self._has_left = True
        self._task.cancel()


async def send_response(response: HttpResponse, send: Send) -> None:
    """Send a response of Django as the answer to a request of ASGI."""
    content = response.content
    headers = [
        (name.lower().encode("latin1"), value.encode("latin1"))
        for name, value in response.items()
        if name != "Content-Length"
    ]
    headers.append((b"content-length", b"%d" % len(content)))
    await _send(response.status_code, headers, content, send)


async def _send(
    status: int, headers: list[tuple[bytes, bytes]], content: bytes, send: Send
) -> None:
    mark = CURRENT.get()
    if mark is not None:
        mark.status = status
        if status >= 400 or mark.known_id:
            headers.append((REQUEST_ID, mark.id.encode("ascii")))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def _marking(mark: RequestMark, send: Send) -> Send:
    """Return a `send` that gives the answer of Django the id of its request."""

    async def marking(event: Event) -> None:
        if event["type"] == "http.response.start":
            mark.status = event["status"]
            if mark.status >= 400 or mark.known_id:
                added = (REQUEST_ID, mark.id.encode("ascii"))
                event = {**event, "headers": [*event.get("headers", ()), added]}
        await send(event)

    return marking


def _tell(
    mark: RequestMark, asked: tuple[str, str], address: str, *, took_s: float, is_slow: bool
) -> None:
    """Log a request: what was asked for, and nothing of its query or body."""
    logger.log(
        logging.WARNING if is_slow else logging.DEBUG,
        "%s%s %s took %.3f s beside %.3f s of waiting for messages, answer %s, client %s",
        *("slow: " if is_slow else "", asked[0], asked[1][:LOGGED_PATH_MAX]),
        *(max(0.0, took_s), mark.waited_s, mark.status or "none", address),
    )


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the body that was read already, then goes on."""
    pending = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Event:
        return pending.pop() if pending else await receive()

    return replay
