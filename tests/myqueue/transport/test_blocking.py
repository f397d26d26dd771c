from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from pathlib import Path

import msgspec
import pytest

from myqueue.contract.errors import BrokerUnreachable, Internal, NoLeader, TopicDoesNotExist
from myqueue.contract.http1 import Answer, Request
from myqueue.contract.inputs import JSON, MSGPACK
from myqueue.transport import blocking, connection, resolving
from myqueue.transport.blocking import HttpTransport, encode_body, read_body
from tests.certificates import Authority
from tests.myqueue.dead_ends import dead_end
from tests.myqueue.http_twin import HttpCluster

TOPICS = Request("GET", "/topics", accept=MSGPACK)


@pytest.fixture
def transport() -> HttpTransport:
    return HttpTransport(connect_timeout_s=5)


def answer(status: int, body: object, content_type: str = MSGPACK) -> Answer:
    encoded = msgspec.msgpack.encode(body) if content_type == MSGPACK else json.dumps(body).encode()
    return Answer(status, {"content-type": content_type}, encoded)


def test_connections_are_kept_and_closed(
    http_cluster: HttpCluster, transport: HttpTransport
) -> None:
    for _ in range(3):
        assert transport.request(http_cluster.address, TOPICS, timeout_s=5).status == 200
    assert [len(idle) for idle in transport._idle.values()] == [1]
    transport.close()
    assert transport._idle == {}


def test_a_connection_to_an_address_that_nobody_asks_any_more_is_closed(
    http_cluster: HttpCluster, transport: HttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = http_cluster.address.replace("127.0.0.1", "localhost")
    transport.request(other, TOPICS, timeout_s=5)
    [[gone]] = transport._idle.values()
    transport.request(http_cluster.address, TOPICS, timeout_s=5)
    assert set(transport._idle) == {http_cluster.address, other}
    monkeypatch.setattr(blocking, "IDLE_S_MAX", 0.0)
    transport.request(http_cluster.address, TOPICS, timeout_s=5)
    assert set(transport._idle) == {http_cluster.address}
    assert gone._socket is not None
    assert gone._socket.fileno() == -1
    transport.close()


def test_a_connection_that_the_peer_closed_is_replaced(
    http_cluster: HttpCluster, transport: HttpTransport
) -> None:
    transport.request(http_cluster.address, TOPICS, timeout_s=5)
    (idle,) = transport._idle.values()
    idle[0]._socket.shutdown(socket.SHUT_RDWR)
    assert transport.request(http_cluster.address, TOPICS, timeout_s=5).status == 200
    transport.close()


def test_a_lost_answer_has_an_unknown_outcome(
    http_cluster: HttpCluster, transport: HttpTransport
) -> None:
    http_cluster.twin.fail("/topics")
    with pytest.raises(BrokerUnreachable) as caught:
        transport.request(http_cluster.address, TOPICS, timeout_s=5)
    assert not caught.value.outcome_known


def test_without_a_connection_nothing_happened(
    http_cluster: HttpCluster, transport: HttpTransport
) -> None:
    http_cluster.stop(http_cluster.address)
    for call in (transport.request, transport.begin):
        with pytest.raises(BrokerUnreachable) as caught:
            call(http_cluster.address, TOPICS, timeout_s=5)
        assert caught.value.outcome_known


def test_several_exchanges_are_waited_for_at_once(
    http_cluster: HttpCluster, transport: HttpTransport
) -> None:
    cluster = http_cluster
    cluster.twin.create("logs", 2)
    cluster.twin.clients[1] = ("consumer", "logs")
    exchanges = []
    for index, partition in enumerate(cluster.twin.topics["logs"]):
        query: dict[str, str | int] = {
            "topic": "logs",
            "consumer_id": 1,
            "partition": index,
            "wait_ms": 5_000,
        }
        request = Request("GET", "/size", query=query, accept=MSGPACK, token="token-1")
        exchanges.append(transport.begin(partition.leader, request, timeout_s=10))
    assert transport.wait(exchanges, timeout_s=0.0) == []
    cluster.put("logs", 1, "x")
    assert transport.wait(exchanges, timeout_s=5.0) == [exchanges[1]]
    assert read_body(exchanges[1].answer())["size"] == 1
    exchanges[0].cancel()
    transport.close()


def test_a_broken_exchange_is_unreachable(
    http_cluster: HttpCluster, transport: HttpTransport
) -> None:
    http_cluster.twin.fail("/topics")
    exchange = transport.begin(http_cluster.address, TOPICS, timeout_s=5)
    assert transport.wait([exchange], timeout_s=5.0) == [exchange]
    with pytest.raises(BrokerUnreachable):
        exchange.answer()


def test_a_fork_leaves_the_parents_connections_alone(
    http_cluster: HttpCluster, transport: HttpTransport
) -> None:
    transport.request(http_cluster.address, TOPICS, timeout_s=5)
    (idle,) = transport._idle.values()
    transport.restart()
    assert transport._idle == {}
    assert idle[0].fileno() > 0
    idle[0].close()


@pytest.mark.parametrize("content_type", [MSGPACK, JSON, f"{JSON}; charset=utf-8"])
def test_bodies_come_in_two_forms(content_type: str) -> None:
    body = read_body(answer(200, {"status": "success", "n": 1}, content_type))
    assert body["n"] == 1


def test_a_failure_is_raised_again() -> None:
    with pytest.raises(NoLeader, match="elects"):
        read_body(answer(503, NoLeader("elects").to_body()))
    with pytest.raises(TopicDoesNotExist):
        read_body(answer(208, TopicDoesNotExist("x").to_body()))


@pytest.mark.parametrize(
    "wrong",
    [
        Answer(502, {"content-type": "text/html"}, b"<html>"),
        Answer(200, {}, b""),
        Answer(200, {"content-type": JSON}, b"{"),
        Answer(200, {"content-type": MSGPACK}, b"\xc1"),
        answer(200, []),
        answer(200, {"n": 1}),
        answer(500, {"status": "success"}),
    ],
)
def test_what_is_not_ours_is_internal_and_of_unknown_outcome(wrong: Answer) -> None:
    with pytest.raises(Internal) as caught:
        read_body(wrong)
    assert not caught.value.outcome_known


def test_fields_without_value_are_left_out() -> None:
    assert msgspec.msgpack.decode(encode_body({"a": 1, "b": None})) == {"a": 1}
    assert msgspec.msgpack.decode(encode_body({"b": None}, keep_none=True)) == {"b": None}


@pytest.mark.parametrize("kind", ["never answers", "cannot be reached"])
def test_a_server_that_is_silent_holds_nobody_up(kind: str) -> None:
    transport = HttpTransport(connect_timeout_s=30)
    with dead_end(kind) as address:
        started_s = time.monotonic()
        exchange = transport.begin(address, TOPICS, timeout_s=30)
        assert transport.wait([exchange], timeout_s=0.1) in ([], [exchange])
        assert exchange.answer(0.1) is None
        assert time.monotonic() - started_s < 5
        exchange.cancel()


def test_a_connection_that_does_not_come_about_is_given_up_in_time() -> None:
    transport = HttpTransport(connect_timeout_s=0.2)
    with dead_end("cannot be reached") as address:
        exchange = transport.begin(address, TOPICS, timeout_s=60)
        assert transport.wait([exchange], timeout_s=30) == [exchange]
        with pytest.raises(BrokerUnreachable) as caught:
            exchange.answer()
    assert caught.value.outcome_known
    assert "no connection" in caught.value.message


def test_the_next_place_of_a_name_is_tried(
    http_cluster: HttpCluster, transport: HttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(http_cluster.address.rpartition(":")[2])
    with dead_end("refuses") as refusing:
        places = [
            resolving.SocketAddress(
                socket.AF_INET, ("127.0.0.1", int(refusing.rpartition(":")[2]))
            ),
            resolving.SocketAddress(socket.AF_INET, ("127.0.0.1", port)),
        ]
        monkeypatch.setattr(connection, "known_addresses", lambda *_: list(places))
        assert transport.request("http://two-places.test", TOPICS, timeout_s=5).status == 200
    transport.close()


def test_tls_is_shaken_hands_piece_by_piece(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    issued = authority.issue()
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(issued.cert, issued.key)
    transport = HttpTransport(connect_timeout_s=10, ca=str(authority.ca))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"https://127.0.0.1:{listener.getsockname()[1]}"
        exchange = transport.begin(address, TOPICS, timeout_s=10)
        plain, _ = listener.accept()
        assert exchange.answer(0.05) is None  # the server has not begun to shake hands

        def serve() -> None:
            with serving.wrap_socket(plain, server_side=True) as peer:
                while b"\r\n\r\n" not in peer.recv(65_536):
                    pass
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")

        thread = threading.Thread(target=serve)
        thread.start()
        answer = exchange.answer()
        thread.join()
    assert answer is not None
    assert answer.body == b"hi"
    transport.close()
