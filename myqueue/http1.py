"""HTTP/1.1 on one socket: a request out, its answer in. Small because both ends are ours.

A general client costs several times what one exchange with a broker takes; this one renders the
request into one write and reads the answer into one buffer. It knows status, headers,
Content-Length, chunked bodies and Connection: close, and refuses everything else.
"""

from __future__ import annotations

import socket
import time
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

from myqueue.errors import InvalidRequest

MAX_HEAD_BYTES = 64 << 10
MAX_BODY_BYTES = 64 << 20
_READ_BYTES = 64 << 10


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


class Answer(NamedTuple):
    """One HTTP answer."""

    status: int
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes


def render(request: Request, host: str) -> bytes:
    """Return the bytes of a request."""
    target = f"{request.path}?{urlencode(request.query)}" if request.query else request.path
    lines = [
        f"{request.method} {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(request.body)}"
    ]
    if request.body:
        lines.append(f"Content-Type: {request.content_type}")
    if request.accept:
        lines.append(f"Accept: {request.accept}")
    if request.token:
        lines.append(f"Authorization: Bearer {request.token}")
    head = "\r\n".join(lines)
    breaks = len(lines) + 1
    if head.count("\n") != breaks or head.count("\r") != breaks or not head.isascii():
        raise InvalidRequest("a header of the request has a line break or is not ASCII")
    return head.encode("ascii") + b"\r\n\r\n" + request.body


def split_address(address: str) -> tuple[str, str, int]:
    """Return scheme, host and port of an `http://host:port` address; the scheme may be left out.

    Raises:
        InvalidRequest: it is no such address.
    """
    text = address if "://" in address else f"http://{address}"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise InvalidRequest(f"{address!r} is no address like http://host:port") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidRequest(f"{address!r} is no address like http://host:port")
    return parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80)


class HttpConnection:
    """One connection; requests go one after the other.

    Attributes:
        reusable: False once the peer said that it closes, or something went wrong.
    """

    def __init__(self, address: str, *, connect_timeout_s: float) -> None:
        scheme, host, port = split_address(address)
        self._host = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._socket = socket.create_connection((host, port), timeout=connect_timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if scheme == "https":
            import ssl

            context = ssl.create_default_context()
            self._socket = context.wrap_socket(self._socket, server_hostname=host)
        self._buffer = bytearray()
        self._deadline_s = 0.0
        self.reusable = True

    def fileno(self) -> int:
        """Return the socket's descriptor, for `select`."""
        return self._socket.fileno()

    def send(self, request: Request, *, timeout_s: float) -> None:
        """Write a request; its answer must arrive within the timeout.

        Raises:
            OSError: the connection broke.
        """
        self.reusable = False
        self._deadline_s = time.monotonic() + timeout_s
        self._socket.settimeout(timeout_s)
        self._socket.sendall(render(request, self._host))

    def receive(self) -> Answer:
        """Read the answer of the request sent last.

        Raises:
            OSError: the connection broke, time ran out, or it is no HTTP answer.
        """
        status, headers = self._read_head()
        while 100 <= status < 200:
            status, headers = self._read_head()
        if status in (204, 304):
            body = b""
        elif headers.get("transfer-encoding", "").lower() == "chunked":
            body = self._read_chunks()
        elif "content-length" in headers:
            body = self._read_exactly(_length(headers["content-length"], 10))
        else:
            body = self._read_to_end()
            headers["connection"] = "close"
        self.reusable = headers.get("connection", "").lower() != "close" and not self._buffer
        return Answer(status, headers, body)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _fill(self) -> bool:
        """Read more into the buffer; False at the end of the stream."""
        remaining_s = self._deadline_s - time.monotonic()
        if remaining_s <= 0:
            raise TimeoutError("no answer in time")
        self._socket.settimeout(remaining_s)
        data = self._socket.recv(_READ_BYTES)
        self._buffer += data
        return bool(data)

    def _read_head(self) -> tuple[int, dict[str, str]]:
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > MAX_HEAD_BYTES:
                raise BadAnswer("the answer's headers are too long")
            if not self._fill():
                raise BadAnswer("the connection was closed before an answer came")
        head = self._buffer[:end].decode("latin-1")
        del self._buffer[: end + 4]
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

    def _read_exactly(self, length: int) -> bytes:
        if len(self._buffer) >= length:
            body = bytes(self._buffer[:length])
            del self._buffer[:length]
            return body
        target = bytearray(length)
        filled = len(self._buffer)
        target[:filled] = self._buffer
        self._buffer.clear()
        view = memoryview(target)
        while filled < length:
            remaining_s = self._deadline_s - time.monotonic()
            if remaining_s <= 0:
                raise TimeoutError("no answer in time")
            self._socket.settimeout(remaining_s)
            count = self._socket.recv_into(view[filled:])
            if not count:
                raise BadAnswer("the connection was closed inside an answer")
            filled += count
        return bytes(target)

    def _read_line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            if len(self._buffer) > MAX_HEAD_BYTES or not self._fill():
                raise BadAnswer("the answer ends inside a line")
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def _read_chunks(self) -> bytes:
        parts: list[bytes] = []
        total = 0
        while True:
            size = _length(self._read_line().split(b";")[0].strip().decode("latin-1"), 16)
            if size == 0:
                break
            total += size
            if total > MAX_BODY_BYTES:
                raise BadAnswer("the answer's body is too long")
            parts.append(self._read_exactly(size))
            self._read_line()
        while self._read_line():
            pass
        return b"".join(parts)

    def _read_to_end(self) -> bytes:
        while self._fill():
            if len(self._buffer) > MAX_BODY_BYTES:
                raise BadAnswer("the answer's body is too long")
        body = bytes(self._buffer)
        self._buffer.clear()
        return body


def _length(text: str, base: int) -> int:
    try:
        length = int(text, base)
    except ValueError as error:
        raise BadAnswer(f"no length: {text[:40]!r}") from error
    if not 0 <= length <= MAX_BODY_BYTES:
        raise BadAnswer(f"a body of {length} bytes is too long")
    return length
