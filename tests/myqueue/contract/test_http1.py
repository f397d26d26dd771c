from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from myqueue.contract.errors import InvalidRequest
from myqueue.contract.http1 import (
    Answer,
    AnswerReader,
    BadAnswer,
    Request,
    render,
    require_http,
    split_address,
)
from myqueue.transport.connection import HttpConnection

Serve = Callable[..., HttpConnection]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Connect to a socket that answers each request with the given bytes, then closes."""
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []
    opened: list[HttpConnection] = []

    def start(*answers: bytes) -> HttpConnection:
        def run() -> None:
            peer, _ = listener.accept()
            with peer:
                for answer in answers:
                    peer.recv(65_536)
                    peer.sendall(answer)

        threads.append(threading.Thread(target=run))
        threads[-1].start()
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        opened.append(HttpConnection(address, connect_timeout_s=5))
        return opened[-1]

    yield start
    for connection in opened:
        connection.close()
    for thread in threads:
        thread.join()
    listener.close()


def ask(connection: HttpConnection, timeout_s: float = 5) -> Answer:
    connection.send(Request("GET", "/"), timeout_s=timeout_s)
    return connection.receive()


def test_a_request_is_one_text() -> None:
    request = Request(
        "POST", "/a", {"q": "x y", "n": 1}, b"body", content_type="t", accept="u", token="v"
    )
    assert render(request, "h:1") == (
        b"POST /a?q=x+y&n=1 HTTP/1.1\r\nHost: h:1\r\nContent-Type: t\r\nAccept: u\r\n"
        b"Authorization: Bearer v\r\nContent-Length: 4\r\n\r\nbody"
    )
    assert render(Request("GET", "/"), "h").endswith(b"Content-Length: 0\r\n\r\n")


@pytest.mark.parametrize("token", ["a\r\nX: y", "a\nb", "a\rb", "é"])
def test_a_header_carries_no_line_break(token: str) -> None:
    with pytest.raises(InvalidRequest):
        render(Request("GET", "/", token=token), "h")
    with pytest.raises(InvalidRequest):
        render(Request("GET", f"/{token}"), "h")


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("http://a:1", ("http", "a", 1)),
        ("a:1", ("http", "a", 1)),
        ("https://a", ("https", "a", 443)),
        ("http://[::1]:8000", ("http", "::1", 8000)),
        ("localhost", ("http", "localhost", 8000)),
        ("http://a/", ("http", "a", 8000)),
    ],
)
def test_addresses(address: str, parts: tuple[str, str, int]) -> None:
    assert split_address(address) == parts


@pytest.mark.parametrize(
    "address",
    [
        "",
        "http://",
        "ftp://a:1",
        "http://a:x",
        "http://a:99999",
        "8000",
        "http://8000",
        "http://a:1/b",
    ],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(InvalidRequest):
        split_address(address)


def test_a_connection_is_used_again(serve: Serve) -> None:
    connection = serve(OK, OK)
    for _ in range(2):
        assert ask(connection) == Answer(200, {"content-length": "2"}, b"hi")
        assert connection.reusable


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", b"hi"),
        (
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"1;x=y\r\nh\r\n1\r\ni\r\n0\r\nT: z\r\n\r\n"
            ),
            b"hi",
        ),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, b"hi"),
        (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", b""),
    ],
)
def test_forms_of_an_answer(serve: Serve, answer: bytes, body: bytes) -> None:
    connection = serve(answer)
    assert ask(connection).body == body
    assert connection.reusable


@pytest.mark.parametrize(
    "data",
    [
        OK,
        OK + b"more",
        OK + OK,
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n" + OK,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 7\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
)
def test_an_answer_in_one_piece_is_read_like_one_in_many(data: bytes) -> None:
    def read(pieces: list[bytes]) -> tuple[list[Answer], str, bool]:
        reader, answers = AnswerReader(), []
        try:
            for piece in pieces:
                reader.room()[: len(piece)] = piece
                answer = reader.filled(len(piece))
                if answer is not None:
                    answers.append(answer)
        except BadAnswer as error:
            return answers, str(error), False
        return answers, "", reader.reusable

    whole, bytewise = read([data]), read([data[at : at + 1] for at in range(len(data))])
    # A second answer that comes with the first one is what nobody asked for.
    assert whole[0] == bytewise[0][:1]
    if not data.startswith((OK + b"m", OK + OK)) and b"204" not in data:
        assert whole == bytewise
    assert read([data]) == whole  # what was kept of the head is as it was


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\n\r\nhi",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        OK + b"more",
    ],
)
def test_a_connection_that_ends_is_not_used_again(serve: Serve, answer: bytes) -> None:
    connection = serve(answer)
    assert ask(connection).body == b"hi"
    assert not connection.reusable


def test_a_long_body_arrives_whole(serve: Serve) -> None:
    body = bytes(range(256)) * 20_000
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    assert ask(serve(head + body)).body == body


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhi",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"x" * 70_000,
    ],
)
def test_what_is_no_answer_is_refused(serve: Serve, answer: bytes) -> None:
    connection = serve(answer)
    with pytest.raises((BadAnswer, ConnectionError)):
        ask(connection)
    assert not connection.reusable


def test_a_silent_peer_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        connection = HttpConnection(address, connect_timeout_s=5)
        with pytest.raises(TimeoutError):
            ask(connection, timeout_s=0.05)
        connection.close()


def test_an_address_in_memory_needs_the_module_that_makes_queues() -> None:
    require_http("http://127.0.0.1:8000")
    with pytest.raises(InvalidRequest, match=r"myqueue\.testing"):
        require_http("memory://queue-1:80")
