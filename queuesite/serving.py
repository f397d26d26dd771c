"""The HTTP server of a process: uvicorn in the process's own loop, without its signal handling."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from http_base.certificates import CERTIFICATE
from http_base.exceptions import failure_headers
from http_base.hotpaths import HotPaths
from http_base.known_heads import KnownHeads
from http_base.loop_delay import LoopDelay
from http_base.memory_budget import MemoryBudget
from http_base.negotiation import JSON_RENDERER
from http_base.tasks import cancel, spawn
from myqueue.contract.errors import InvalidRequest
from queuesite.connections import ConnectionGuard, ConnectionLimits, Stage
from queuesite.plain_cycle import PlainCycle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from ssl import SSLContext
    from typing import Any

    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from http_base.hotpaths import App, PlainHead, Receive, Scope
    from http_base.memory_budget import MemoryShare
    from http_base.tls import Tls
    from myqueue.contract.errors import QueueError

BACKLOG = 2_048
"""Connections that wait to be accepted."""
DESCRIPTORS_MAX = 65_536
"""Files and connections of a process that are asked of the system."""
DESCRIPTORS_KEPT = 256
"""Of them, those that are left for files and peers; half of them at most."""
HEAD_BYTES_MAX = 64 << 10
"""Longest request line with headers; what comes in one piece with its end may be longer."""
SHUTDOWN_S = 0.5
"""Seconds that a client gets to agree that its TLS connection ends."""
HANDSHAKES_MAX = DESCRIPTORS_KEPT // 2
"""Connections whose TLS handshake is under way; they count as no connection yet."""
ACCEPT_PAUSE_S = 0.1
"""Where a process has no descriptor for a connection, until it looks for one again."""
DRAIN_S = 1
"""Seconds that running requests get at the end, before they are cancelled."""
DATE_S = 1.0
"""How old the date of an answer may be."""
_POLL_S = 0.01


class ListenError(Exception):
    """The HTTP port cannot be listened on; one clear line says why. Exit status 2."""


def allow_descriptors(wanted: int = DESCRIPTORS_MAX) -> int:
    """Let this process have more files and connections, as far as the system's hard limit allows.

    Where nobody sets it a process may have 1,024, and clients beyond that wait for nothing.

    Returns:
        How many it may have.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    most = wanted if hard == unlimited else min(wanted, hard)
    if soft == unlimited or soft >= most:
        return soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most


class _WholeAnswers:
    """An application whose answer to one request leaves in one write if it comes in one part.

    uvicorn alone writes the head when it comes, without waiting for the body: a second system call
    that takes as long as all of an answer's Python, and wakes the client once too often.
    """

    def __init__(self, app: App, cycle: RequestResponseCycle) -> None:
        self._app = app
        self._cycle = cycle
        self._start: Mapping[str, Any] | None = None
        """The head of the answer, until there is something of its body."""

    async def __call__(self, scope: Scope, receive: Receive, _: object) -> None:
        """Answer the request."""
        await self._app(scope, receive, self._send)

    async def _send(self, event: Mapping[str, Any]) -> None:
        if event["type"] == "http.response.start":
            self._start = event
            return
        cycle, start, self._start = self._cycle, self._start, None
        if start is not None and not event.get("more_body"):
            if cycle.flow.write_paused and not cycle.disconnected:
                await cycle.flow.drain()
            if cycle.disconnected or _wrote_whole(cycle, start, event.get("body", b"")):
                return
        if start is not None:
            await cycle.send(start)  # type: ignore[arg-type]  # any mapping does
        await cycle.send(event)  # type: ignore[arg-type]


def _wrote_whole(cycle: RequestResponseCycle, start: Mapping[str, Any], body: bytes) -> bool:
    """Write an answer of known length; False when it is none."""
    lines = [STATUS_LINE[start["status"]]]
    length, closes = -1, not cycle.keep_alive
    for given, value in (*cycle.default_headers, *start.get("headers", ())):
        name = given.lower()
        if name == b"content-length":
            length = int(value)
        elif name == b"connection" and b"close" in value.lower():
            closes = True
            continue
        lines += (name, b": ", value, b"\r\n")
    is_head = cycle.scope["method"] == "HEAD"
    if length != len(body) and not is_head:
        return False
    lines += (b"connection: close\r\n\r\n" if closes else b"\r\n", b"" if is_head else body)
    cycle.response_started = cycle.response_complete = True
    cycle.transport.write(b"".join(lines))
    cycle.message_event.set()
    if closes:
        cycle.transport.close()
    cycle.on_response()
    return True


class _Protocol(HttpToolsProtocol):
    """uvicorn's protocol, guarded, with a limit on headers, that refuses in the API's own shape.

    A request whose head came before, whole in one piece, is answered without uvicorn: most are.
    """

    _in_head = _in_message = False
    _head_bytes = _received_bytes = _request_number = 0
    _unknown: bytes = b""
    """What a request begins with that is about to be parsed."""
    _address = ""

    def __init__(
        self,
        *args: Any,
        guard: ConnectionGuard,
        asks_certificates: bool,
        hot: HotPaths | None,
        heads: KnownHeads[PlainHead],
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._guard = guard
        self._asks_certificates = asks_certificates
        self.hot: Any = hot
        self._heads = heads

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, unless there are too many connections."""
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""
        self._guard.admit(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._guard.forget(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what arrived, unless the headers never end."""
        self._received_bytes += len(data)
        if self.hot is not None and not self._in_message and self._is_free():
            known = self._heads.find(data)
            if known is not None and self._answered_plainly(*known):
                return
            self._unknown = data
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self.send_400_response(f"the headers have more than {HEAD_BYTES_MAX} bytes")
                return
        super().data_received(data)

    def _is_free(self) -> bool:
        """Tell whether no request is under way and no answer waits for its reader."""
        is_answered = self.cycle is None or self.cycle.response_complete
        return is_answered and not self.flow.write_paused

    def _answered_plainly(self, head: PlainHead, body: bytes) -> bool:
        """Begin to answer a request without ASGI; False when there is no room for it."""
        if not self.hot.admit_plain(body):
            return False
        self._request_number += 1
        cycle: Any = PlainCycle(self, body)
        self.cycle = cycle
        cycle.start(self.hot.answer_plain(head, body, self._address, cycle.answered))
        return True

    def _learn(self) -> None:
        """Remember the head that was parsed, if requests with it can be answered without ASGI."""
        data, self._unknown = self._unknown, b""
        scope: Any = self.scope
        if scope["http_version"] != "1.1" or not self.parser.should_keep_alive():
            return
        path, query_string = scope["path"], scope["query_string"]
        head = self.hot.plain_head(scope["method"], path, query_string, self.headers)
        if head is not None:
            self._heads.learn(data, self.headers, head)

    def on_message_begin(self) -> None:
        """Begin to count."""
        self._in_head, self._head_bytes = True, 0
        self._in_message = True
        self._request_number += 1
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Count no longer."""
        self._in_head = False
        super().on_headers_complete()
        if self._unknown:
            self._learn()

    def on_message_complete(self) -> None:
        """Note that the whole request is here."""
        self._in_message = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on with what the client sent meanwhile; count what it has to read yet.

        The guard closes idle connections: a timer of each, as uvicorn has it, would close those
        whose next request came while this process was paused.
        """
        self.server_state.total_requests += 1
        if not self.transport.is_closing():
            self.flow.resume_reading()
            if self.pipeline:
                self._start_asgi_task(*self.pipeline.pop())
        if self.transport.get_write_buffer_size():
            self._guard.count_unsent(self)

    def resume_writing(self) -> None:
        """Count what the client has read."""
        super().resume_writing()
        self._guard.count_unsent(self)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Let the answer leave in one write."""
        if self._asks_certificates:
            scope: Any = cycle.scope
            scope[CERTIFICATE] = bool(self.transport.get_extra_info("peercert"))
        whole: Any = _WholeAnswers(app, cycle)
        super()._start_asgi_task(cycle, whole)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, and close the connection."""
        self.refuse(InvalidRequest(msg))

    def stage(self) -> Stage:
        """Return what the connection waits for."""
        if self.transport.get_write_buffer_size():
            return Stage.UNSENT
        is_answered = self.cycle is None or self.cycle.response_complete
        if self._in_head:
            return Stage.HEAD if is_answered else Stage.WORKING
        if self._in_message:
            return Stage.WORKING if self.flow.read_paused else Stage.BODY
        return Stage.IDLE if is_answered else Stage.WORKING

    def request_number(self) -> int:
        """Return how many requests began."""
        return self._request_number

    def received_bytes(self) -> int:
        """Return how many bytes came."""
        return self._received_bytes

    def unsent_bytes(self) -> int:
        """Return how many bytes the client has to read yet."""
        return self.transport.get_write_buffer_size()

    def refuse(self, error: QueueError) -> None:
        """Answer with an error, unless the request under way has its answer, and close."""
        is_in_body = self._in_message and not self._in_head
        if not (is_in_body and self.cycle.response_started):
            body = JSON_RENDERER.render(error.to_body())
            headers = {
                "content-type": "application/json",
                **failure_headers(error),
                "content-length": len(body),
                "connection": "close",
            }
            head = "".join(f"{name.lower()}: {value}\r\n" for name, value in headers.items())
            self.transport.write(
                b"%b%b\r\n%b" % (STATUS_LINE[error.http_status], head.encode(), body)
            )
        self.transport.close()

    def abort(self) -> None:
        """Close at once, whatever is not sent."""
        self.transport.abort()


class _Server(uvicorn.Server):
    """uvicorn's server, whose signals are the process's affair."""

    def __init__(self, config: uvicorn.Config, tls: Tls | None, handshake_s: float) -> None:
        super().__init__(config)
        self._tls = tls
        self._handshake_s = handshake_s
        self._accepting: list[asyncio.Task[None]] = []
        self._shaking: dict[asyncio.Task[Any], None] = {}
        """Connections whose handshake is under way, the oldest first."""
        self._ends = asyncio.Event()

    def end(self) -> None:
        """Have `serve` end."""
        self.should_exit = True
        self._ends.set()

    async def main_loop(self) -> None:
        """Renew the date that answers bear; uvicorn wakes ten times as often to see the end."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DATE_S):
                    await self._ends.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no signal handlers: the process has its own."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen; with TLS, whoever connects has some seconds for the handshake, and for the end.

        uvicorn gives a minute for the one, half a minute for the other.
        """
        if self._tls is None or self._tls.serving is None:
            await super().startup(sockets)
            return
        await super().startup([])
        protocol: Any = self.config.http_protocol_class
        make = partial(
            protocol,
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
        self._accepting = [
            spawn("accepting connections", self._accept(one, make, self._tls.serving))
            for one in sockets or ()
        ]

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept nothing more, then do what uvicorn does."""
        await cancel([*self._accepting, *self._shaking])
        await super().shutdown(sockets)

    async def _accept(
        self, listener: socket.socket, make: Callable[[], Any], tls: SSLContext
    ) -> None:
        """Accept connections; beyond a limit the oldest that has not shaken hands gives way."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listener)
            except OSError:  # there is no descriptor for it; it waits where it is
                await asyncio.sleep(ACCEPT_PAUSE_S)
                continue
            shaking = loop.connect_accepted_socket(
                make,
                connection,
                ssl=tls,
                ssl_handshake_timeout=self._handshake_s,
                ssl_shutdown_timeout=SHUTDOWN_S,
            )
            task = spawn("a handshake of TLS", shaking, expected=(OSError,))
            self._shaking[task] = None
            task.add_done_callback(self._shaken)
            if len(self._shaking) > HANDSHAKES_MAX:
                oldest = next(iter(self._shaking))
                del self._shaking[oldest]
                oldest.cancel()
            await asyncio.sleep(0)  # what was accepted begins, and what gives way ends

    def _shaken(self, task: asyncio.Task[Any]) -> None:
        self._shaking.pop(task, None)


class HttpServer:
    """An HTTP server that listens from `bind` on and answers from `start` to `stop`."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        limits: ConnectionLimits | None = None,
        answers: MemoryShare | None = None,
        tls: Tls | None = None,
    ) -> None:
        """Remember where to listen; nothing is opened yet.

        Args:
            host: address to listen on.
            port: 0 for any that is free.
            limits: of its connections.
            answers: counts what clients have not read yet.
            tls: of this process; without a certificate HTTP is not encrypted.
        """
        self._tls = tls
        self._host = host
        self._port = port
        self._limits = limits or ConnectionLimits()
        self._answers = answers or MemoryBudget().answers
        self._guard: ConnectionGuard | None = None
        self._delay = LoopDelay()
        self._socket: socket.socket | None = None
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._port

    @property
    def connections(self) -> int:
        """Open connections."""
        return 0 if self._guard is None else len(self._guard)

    @property
    def ended(self) -> asyncio.Future[None]:
        """Done when the server is; before `stop`, it broke, and its process must end."""
        assert self._serving is not None, "start comes first"
        return self._serving

    def bind(self) -> None:
        """Listen; connections wait until `start`. The process may have many from now on.

        Raises:
            ListenError: the address cannot be used.
        """
        descriptors = allow_descriptors()
        connections_max = max(descriptors - DESCRIPTORS_KEPT, descriptors // 2)
        if connections_max < self._limits.connections_max:
            self._limits = replace(self._limits, connections_max=connections_max)
        try:
            family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
            self._socket = socket.create_server(
                (self._host, self._port), family=family, backlog=BACKLOG
            )
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ListenError(
                f"cannot listen on {self._host}:{self._port}: {reason}; choose another QUEUE_PORT"
            ) from error
        self._socket.setblocking(False)
        self._port = self._socket.getsockname()[1]

    async def start(self, app: App) -> None:
        """Answer requests with `app`."""
        assert self._socket is not None, "bind comes first"
        self._guard = ConnectionGuard(self._limits, self._answers)
        asks = self._tls is not None and self._tls.asks_certificates
        guarded: Any = partial(
            _Protocol,
            guard=self._guard,
            asks_certificates=asks,
            hot=app if isinstance(app, HotPaths) else None,
            heads=KnownHeads(),
        )
        config = uvicorn.Config(
            app,
            http=guarded,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            reset_contextvars=True,  # else a pipelined request keeps a thread of the one before it
            timeout_graceful_shutdown=DRAIN_S,
            backlog=BACKLOG,
        )
        self._server = _Server(config, self._tls, self._limits.window_s)
        self._serving = spawn("the HTTP server", self._server.serve(sockets=[self._socket]))
        while not self._server.started and not self._serving.done():
            await asyncio.sleep(_POLL_S)
        if self._serving.done():
            await self._serving
        self._guard.start()
        self._delay.start()

    async def stop(self) -> None:
        """Accept nothing more, let running requests end, close the connections."""
        self._delay.stop()
        if self._guard is not None:
            self._guard.stop()
        if self._server is not None and self._serving is not None:
            self._server.end()
            await self._serving
        if self._socket is not None:
            self._socket.close()
