from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from myqueue.contract.http1 import Request
from myqueue.transport import connection as module
from myqueue.transport.connection import HttpConnection, wait_ready

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
LONG = Request("POST", "/", body=b"x" * (8 << 20), content_type="t")


@pytest.fixture
def peer() -> Iterator[tuple[HttpConnection, socket.socket]]:
    """Give both ends of a connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        connection = HttpConnection(address, connect_timeout_s=5)
        other, _ = listener.accept()
        assert wait_ready([connection], 5) == [connection]
        assert connection.advance() is None
    yield connection, other
    connection.close()
    other.close()


def test_a_peer_that_does_not_read_stops_nobody(
    peer: tuple[HttpConnection, socket.socket],
) -> None:
    connection, _ = peer
    started = time.monotonic()
    connection.send(LONG, timeout_s=0.05)
    assert connection.is_sending()
    assert connection.advance() is None
    with pytest.raises(TimeoutError):
        connection.receive()
    assert time.monotonic() - started < 5
    assert not connection.reusable


@pytest.mark.parametrize("with_poll", [True, False])
def test_a_long_request_is_sent_piece_by_piece(
    peer: tuple[HttpConnection, socket.socket], with_poll: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not with_poll:
        monkeypatch.delattr(module.select, "poll")
    connection, other = peer

    def serve() -> None:
        read = 0
        while read < len(LONG.body):
            read += len(other.recv(1 << 20))
        other.sendall(OK)

    thread = threading.Thread(target=serve)
    thread.start()
    connection.send(LONG, timeout_s=30)
    answer = connection.receive()
    thread.join()
    assert answer is not None
    assert answer.body == b"hi"
    assert connection.reusable
    assert not connection.has_input()


def test_patience_ends_before_the_answer(peer: tuple[HttpConnection, socket.socket]) -> None:
    connection, other = peer
    connection.send(Request("GET", "/"), timeout_s=30)
    assert connection.receive(0.01) is None
    other.sendall(OK[:20])
    assert connection.receive(0.01) is None
    other.sendall(OK[20:])
    answer = connection.receive(5)
    assert answer is not None
    assert answer.status == 200


def test_those_that_can_go_on_are_found(peer: tuple[HttpConnection, socket.socket]) -> None:
    connection, other = peer
    assert wait_ready([connection], 0) == []
    other.sendall(b"x")
    assert wait_ready([connection], 5) == [connection]
    assert connection.has_input()
