"""HTTP/1.1 without I/O: the bytes of a request, and bytes turned into answers.

Small because both ends are ours: a general client costs several times what one exchange with a
broker takes. It knows status, headers, Content-Length, chunked bodies and Connection: close, and
refuses everything else. `transport/connection.py` moves the bytes of blocking clients, `aio_http1`
those of asyncio clients and between servers.
"""

from __future__ import annotations

from enum import Enum, auto
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote_plus, urlsplit

from myqueue.contract.errors import InvalidRequest

MAX_HEAD_BYTES = 64 << 10
PREPARED_HEADS = 256
"""Heads of requests that are kept, since a producer sends the same one all the time."""
QUOTED_TEXTS = 256
"""Texts of queries that are kept: names of topics and fields."""
READ_HEADS = 64
"""Heads of answers that are kept: those of one kind and length are the same for a second."""
MAX_BODY_BYTES = 64 << 20
READ_BYTES = 64 << 10
"""Most bytes that a reader takes at once, other than a body's of known length."""


PASSED_HEADER = "X-Queue-Passed"
"""On a call that a manager passed on to the primary: no other passes it on again. Its value is the
cluster's token, which vouches for `ORIGIN_HEADER`."""
ORIGIN_HEADER = "X-Queue-Origin"
"""On a call that a manager passes on: the address of the client that it came from."""
REQUEST_ID_HEADER = "X-Request-Id"
"""The id of a request: of its answer, of what is passed on for it, and in the lines of logs."""


class BadAnswer(OSError):
    """What came back is not an HTTP/1.1 answer within the limits."""


class Request(NamedTuple):
    """One HTTP request; the body is encoded already."""

    method: str
    path: str
    query: dict[str, str | int] | None = None
    body: bytes = b""
    content_type: str = ""
    accept: str = ""
    token: str = ""
    """Bearer token; empty for none."""
    passed: str = ""
    """Header `PASSED_HEADER`; empty for none."""
    origin: str = ""
    """Header `ORIGIN_HEADER`; empty for none."""
    marks: str = ""
    """Further header lines, each ended by CR and LF: those that differ from request to request."""


class Answer(NamedTuple):
    """One HTTP answer."""

    status: int
    headers: dict[str, str]
    """Names in lower case; not to be changed."""
    body: bytes


def render(request: Request, host: str) -> bytes:
    """Return the bytes of a request."""
    method, path, query, body, content_type, accept, token, passed, origin, marks = request
    parameters = tuple(query.items()) if query else ()
    content_type = content_type if body else ""
    head = _head(host, (method, path), parameters, (content_type, accept, token, passed, origin))
    if marks:
        return b"%b%d\r\n%b\r\n%b" % (head, len(body), marks.encode("ascii"), body)
    return b"%b%d\r\n\r\n%b" % (head, len(body), body)


@lru_cache(maxsize=PREPARED_HEADS)
def _head(
    host: str,
    asked: tuple[str, str],
    parameters: tuple[tuple[str, str | int], ...],
    described: tuple[str, str, str, str, str],
) -> bytes:
    """Return the head of a request up to the length of its body.

    Args:
        host: of the server.
        asked: method, and path without the query.
        parameters: of the query.
        described: Content-Type, Accept, bearer token, `PASSED_HEADER` and `ORIGIN_HEADER`; those
            that are empty are left out.
    """
    method, path = asked
    query = "&".join([f"{_quoted(name)}={_quoted(value)}" for name, value in parameters])
    target = f"{path}?{query}" if query else path
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    names = (
        "Content-Type: ",
        "Accept: ",
        "Authorization: Bearer ",
        f"{PASSED_HEADER}: ",
        f"{ORIGIN_HEADER}: ",
    )
    lines += [name + text for name, text in zip(names, described, strict=True) if text]
    lines.append("Content-Length: ")
    head = "\r\n".join(lines)
    breaks = len(lines) - 1
    if head.count("\n") != breaks or head.count("\r") != breaks or not head.isascii():
        raise InvalidRequest("a header of the request has a line break or is not ASCII")
    return head.encode("ascii")


def split_address(address: str) -> tuple[str, str, int]:
    """Return scheme, host and port of an `http://host:port` address.

    The scheme may be left out, and so may the port of a manager, 8000.

    Raises:
        InvalidRequest: it is no such address.
    """
    text = address if "://" in address else f"http://{address}"
    refusal = InvalidRequest(f"{address!r} is no address like {EXAMPLE_ADDRESS}", field="address")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise refusal from error
    host = parts.hostname
    if parts.scheme not in SCHEMES or not host or host.isdecimal() or parts.path not in ("", "/"):
        raise refusal
    return parts.scheme, host, port or (443 if parts.scheme == "https" else DEFAULT_PORT)


DEFAULT_PORT = 8000
"""Where a manager listens that was not told otherwise."""
EXAMPLE_ADDRESS = f"http://127.0.0.1:{DEFAULT_PORT}"
CA_VARIABLE = "MYQUEUE_CA"
"""Names the file of authorities that https trusts, for a program that does not name one."""
MEMORY = "memory"
"""Scheme of the addresses of `myqueue.testing.queue.InMemoryQueue`."""
SCHEMES = ("http", "https", MEMORY)


def require_http(address: str) -> None:
    """Refuse an address of a queue in memory, where nothing made one.

    Raises:
        InvalidRequest: only `myqueue.testing.queue` makes such addresses, and it is not imported.
    """
    if split_address(address)[0] == MEMORY:
        raise InvalidRequest(f"there is no queue at {address}: make one with myqueue.testing.queue")


def host_header(host: str, port: int) -> str:
    """Return what the header Host says for a host and a port."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _quoted(value: str | int) -> str:
    return str(value) if isinstance(value, int) else _quoted_text(value)


@lru_cache(maxsize=QUOTED_TEXTS)
def _quoted_text(text: str) -> str:
    return quote_plus(text)


class _Stage(Enum):
    HEAD = auto()
    LENGTH = auto()
    """A body of known length goes straight where it belongs."""
    PARTS = auto()
    TO_END = auto()


class AnswerReader:
    """Turns the bytes of a connection into answers, one after the other.

    Who has the socket does three things in turn: put received bytes into `room()`, say with
    `filled` how many, and stop when that returns an answer.

    Args:
        space: where received bytes go first, `READ_BYTES`, its own when left out. Readers that take
            at once what was put there may share it.

    Attributes:
        reusable: whether the connection can carry another request after the last answer.
    """

    def __init__(self, space: memoryview | None = None) -> None:
        self._space = memoryview(bytearray(READ_BYTES)) if space is None else space
        self._buffer = bytearray()
        self._body = bytearray()
        self._body_bytes = 0
        self._status = 0
        self._headers: dict[str, str] = {}
        self._stage = _Stage.HEAD
        self.reusable = True

    def room(self) -> memoryview:
        """Return where the next bytes go."""
        if self._stage is _Stage.LENGTH:
            return memoryview(self._body)[self._body_bytes :]
        return self._space

    def filled(self, count: int) -> Answer | None:
        """Take the bytes that were put into `room()`.

        Args:
            count: how many; 0 at the end of the stream.

        Returns:
            The answer when it is complete.

        Raises:
            BadAnswer: it is none, or the stream ended inside it.
        """
        self.reusable = False
        if not count:
            return self._ended()
        if self._stage is _Stage.LENGTH:
            self._body_bytes += count
            return self._answer(bytes(self._body)) if self._body_bytes == len(self._body) else None
        if self._stage is _Stage.HEAD and not self._buffer:
            return self._take_whole(bytes(self._space[:count]))
        self._buffer += self._space[:count]
        return self._parse()

    def _take_whole(self, data: bytes) -> Answer | None:
        """Take an answer that came in one piece, as most do; begin with what is none."""
        end = data.find(b"\r\n\r\n")
        if end > 0:
            head = _read_head(data[:end])
            if head.length == len(data) - end - 4:
                self._status, self._headers = head.status, head.headers
                self.reusable = head.keeps_connection
                return Answer(head.status, head.headers, data[end + 4 :])
        self._buffer += data
        return self._parse()

    def _parse(self) -> Answer | None:
        if self._stage is _Stage.HEAD and not self._take_head():
            return None
        if self._stage is _Stage.HEAD:
            return self._answer(b"")
        if self._stage is _Stage.LENGTH:
            return self._begin_body()
        if self._stage is _Stage.PARTS:
            return self._take_parts()
        if len(self._buffer) > MAX_BODY_BYTES:
            raise BadAnswer("the answer's body is too long")
        return None

    def _answer(self, body: bytes) -> Answer:
        self._stage = _Stage.HEAD
        self.reusable = _keeps_connection(self._headers) and not self._buffer
        return Answer(self._status, self._headers, body)

    def _ended(self) -> Answer:
        if self._stage is _Stage.TO_END:
            body = bytes(self._buffer)
            self._buffer.clear()
            self._headers = {**self._headers, "connection": "close"}
            return self._answer(body)
        if self._stage is _Stage.HEAD:
            raise BadAnswer("the connection was closed before an answer came")
        raise BadAnswer("the connection was closed inside an answer")

    def _take_head(self) -> bool:
        """Read status and headers, and choose how the body comes; False when more is needed."""
        while True:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > MAX_HEAD_BYTES:
                    raise BadAnswer("the answer's headers are too long")
                return False
            head = _read_head(bytes(self._buffer[:end]))
            del self._buffer[: end + 4]
            self._status, self._headers = head.status, head.headers
            if not 100 <= self._status < 200:
                break
        if self._status in (204, 304):
            return True
        if self._headers.get("transfer-encoding", "").lower() == "chunked":
            self._stage = _Stage.PARTS
            self._body = bytearray()
        elif "content-length" in self._headers:
            self._stage = _Stage.LENGTH
        else:
            self._stage = _Stage.TO_END
        return True

    def _begin_body(self) -> Answer | None:
        length = _length(self._headers["content-length"], 10)
        if len(self._buffer) >= length:
            body = bytes(self._buffer[:length])
            del self._buffer[:length]
            return self._answer(body)
        self._body = bytearray(length)
        self._body_bytes = len(self._buffer)
        self._body[: self._body_bytes] = self._buffer
        self._buffer.clear()
        return None

    def _take_parts(self) -> Answer | None:
        """Move whole chunks from the buffer to the body; the last one completes the answer."""
        while (end := self._buffer.find(b"\r\n")) >= 0:
            size = _length(self._buffer[:end].split(b";")[0].strip().decode("latin-1"), 16)
            if not size:
                return self._take_trailers(end + 2)
            if len(self._body) + size > MAX_BODY_BYTES:
                raise BadAnswer("the answer's body is too long")
            following = end + 2 + size + 2
            if len(self._buffer) < following:
                return None
            self._body += self._buffer[end + 2 : end + 2 + size]
            del self._buffer[:following]
        if len(self._buffer) > MAX_HEAD_BYTES:
            raise BadAnswer("the answer's chunks are malformed")
        return None

    def _take_trailers(self, start: int) -> Answer | None:
        """Drop what follows the last chunk up to an empty line."""
        position = start
        while (end := self._buffer.find(b"\r\n", position)) >= 0:
            if end == position:
                del self._buffer[: end + 2]
                return self._answer(bytes(self._body))
            position = end + 2
        if len(self._buffer) > MAX_HEAD_BYTES:
            raise BadAnswer("the answer's trailers are too long")
        return None


class _Head(NamedTuple):
    """The head of an answer; several answers may share it."""

    status: int
    headers: dict[str, str]
    """Not to be changed."""
    length: int
    """Of the body, where it comes right behind and nothing is to be looked at; else -1."""
    keeps_connection: bool


@lru_cache(maxsize=READ_HEADS)
def _read_head(data: bytes) -> _Head:
    """Read the head of an answer, without the empty line at its end.

    Raises:
        BadAnswer: it is none.
    """
    status, headers = _parse_head(data.decode("latin-1"))
    text = headers.get("content-length", "")
    is_plain = status >= 200 and status not in (204, 304) and "transfer-encoding" not in headers
    length = _length(text, 10) if is_plain and text else -1
    return _Head(status, headers, length, _keeps_connection(headers))


def _keeps_connection(headers: dict[str, str]) -> bool:
    return headers.get("connection", "").lower() != "close"


def _parse_head(head: str) -> tuple[int, dict[str, str]]:
    status_line, *lines = head.split("\r\n")
    version, _, rest = status_line.partition(" ")
    if not version.startswith("HTTP/1.") or not rest[:3].isdigit():
        raise BadAnswer(f"no HTTP answer: {status_line[:80]!r}")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    if version == "HTTP/1.0":
        headers.setdefault("connection", "close")
    return int(rest[:3]), headers


def _length(text: str, base: int) -> int:
    try:
        length = int(text, base)
    except ValueError as error:
        raise BadAnswer(f"no length: {text[:40]!r}") from error
    if not 0 <= length <= MAX_BODY_BYTES:
        raise BadAnswer(f"a body of {length} bytes is too long")
    return length
