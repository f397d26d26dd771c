"""What the API promises, through real HTTP on a real cluster."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
import pytest

from myqueue import Client, Consumer, Producer
from myqueue.contract.errors import NotFound

if TYPE_CHECKING:
    from tests.cluster.processes import Cluster

pytestmark = pytest.mark.cluster

MSGPACK = {"Content-Type": "application/msgpack", "Accept": "application/msgpack"}
JSON = {"Content-Type": "application/json"}


class Pair:
    """A producer and a consumer of one topic, by plain HTTP through the manager."""

    def __init__(self, cluster: Cluster, topic: str, partitions: int) -> None:
        self.cluster = cluster
        self.topic = topic
        created = cluster.post("/topics", topic=topic, number_of_partitions=partitions)
        assert created["http_status"] == 201, created
        assert created["message"] == f"Topic '{topic}' created successfully"
        self.producer_id = cluster.post("/producer/register", topic=topic)["producer_id"]
        self.consumer_id = cluster.post("/consumer/register", topic=topic)["consumer_id"]

    def produce(self, message: str, **more: Any) -> dict[str, Any]:
        return self.cluster.post(
            "/producer/produce",
            topic=self.topic,
            producer_id=self.producer_id,
            message=message,
            **more,
        )

    def consume(self, **more: Any) -> dict[str, Any]:
        return self.cluster.get(
            "/consumer/consume", topic=self.topic, consumer_id=self.consumer_id, **more
        )


def test_hundred_keyless_messages_over_four_partitions_are_25_each(
    shared_cluster: Cluster,
) -> None:
    pair = Pair(shared_cluster, "round", 4)
    for number in range(100):
        assert pair.produce(f"message {number}")["status"] == "success"
    size = shared_cluster.get("/size", topic="round", consumer_id=pair.consumer_id)
    assert size["size"] == 100
    assert sorted(size["sizes"].values()) == [25] * 4


def test_explicit_partition_gets_all_and_a_bad_one_is_not_found(shared_cluster: Cluster) -> None:
    pair = Pair(shared_cluster, "explicit", 4)
    answers = [pair.produce(f"message {number}", partition=2) for number in range(20)]
    assert [(answer["partition"], answer["offset"]) for answer in answers] == [
        (2, number) for number in range(20)
    ]
    for partition in (4, -1, 10**12):
        answer = pair.produce("lost", partition=partition)
        assert (answer["http_status"], answer["code"]) == (404, "PARTITION_NOT_FOUND")


def test_keyless_consume_finds_whatever_is_left_and_then_says_empty(
    shared_cluster: Cluster,
) -> None:
    pair = Pair(shared_cluster, "scattered", 3)
    sent = {f"message {number}" for number in range(10)}
    for message in sorted(sent):
        pair.produce(message, partition=1)
    assert {pair.consume()["message"] for _ in sent} == sent
    empty = pair.consume()
    assert (empty["http_status"], empty["code"]) == (404, "QUEUE_EMPTY")
    assert empty["message"].startswith("QEmpty:")


TEXTS = ["", "\0", "a\0b", "'; DROP TABLE x; --", '"quoted"', "\U0001f980 \u00fc \u05d0", " \r\n\t"]


def test_text_comes_back_exactly_as_sent(shared_cluster: Cluster) -> None:
    pair = Pair(shared_cluster, "exact", 1)
    for text in TEXTS:
        assert pair.produce(text, key=text or None)["status"] == "success"
        answer = pair.consume()
        assert answer["message"] == text
        assert answer["key"] == (text or None)


def test_binary_comes_back_exactly_as_sent(shared_cluster: Cluster) -> None:
    pair = Pair(shared_cluster, "binary", 1)
    message = bytes(range(256))
    body = {"topic": "binary", "producer_id": pair.producer_id, "message": message}
    produced = shared_cluster.http.post(
        f"{shared_cluster.manager}/producer/produce",
        data=msgspec.msgpack.encode(body),
        headers=MSGPACK,
        timeout=10,
    )
    assert produced.status_code == 200, produced.content
    consumed = shared_cluster.http.post(
        f"{shared_cluster.manager}/consumer/consume",
        data=msgspec.msgpack.encode({"topic": "binary", "consumer_id": pair.consumer_id}),
        headers=MSGPACK,
        timeout=10,
    )
    assert msgspec.msgpack.decode(consumed.content)["message"] == message


def test_retried_consume_gets_the_same_message_and_moves_nothing(shared_cluster: Cluster) -> None:
    pair = Pair(shared_cluster, "retried", 1)
    for number in range(3):
        pair.produce(f"message {number}")
    first = pair.consume(partition=0, request_id="once")
    again = pair.consume(partition=0, request_id="once")
    assert first["message"] == again["message"] == "message 0"
    assert pair.consume(partition=0)["message"] == "message 1"


def test_retried_produce_is_one_message(shared_cluster: Cluster) -> None:
    pair = Pair(shared_cluster, "once", 3)
    answers = [pair.produce("only", request_id="the same") for _ in range(3)]
    assert len({(answer["partition"], answer["offset"]) for answer in answers}) == 1
    size = shared_cluster.get("/size", topic="once", consumer_id=pair.consumer_id)
    assert size["size"] == 1


@pytest.mark.parametrize("kind", ["producer", "consumer"])
def test_unknown_client_is_unauthorized(shared_cluster: Cluster, kind: str) -> None:
    Pair(shared_cluster, f"unknown-{kind}", 1)
    for wrong in (999_999, 0, -1, 2**62):
        if kind == "producer":
            answer = shared_cluster.post(
                "/producer/produce", topic="unknown-producer", producer_id=wrong, message="x"
            )
        else:
            answer = shared_cluster.get(
                "/consumer/consume", topic="unknown-consumer", consumer_id=wrong
            )
        assert (answer["http_status"], answer["code"]) == (401, "UNAUTHORIZED"), wrong


def _bad_bodies(pair: Pair) -> list[tuple[str, bytes, dict[str, str]]]:
    good = {"topic": pair.topic, "producer_id": pair.producer_id, "message": "x"}

    def body(**changes: Any) -> bytes:
        return json.dumps({**good, **changes}).encode()

    return [
        ("over-long message", body(message="x" * (1 << 20)), JSON),
        ("over-long key", body(key="k" * 10_000), JSON),
        ("over-long topic", body(topic="t" * 1_000), JSON),
        ("non-UTF-8", b'{"topic": "\xff\xfe"}', JSON),
        ("broken", b'{"topic": ', JSON),
        ("empty", b"", JSON),
        ("no object", b"[1, 2]", JSON),
        ("nested", b"[" * 100_000, JSON),
        ("negative partition", body(partition=-1), JSON),
        ("partition as text", body(partition="one"), JSON),
        ("partition as float", body(partition=1.5), JSON),
        ("number as message", body(message=5), JSON),
        ("null as message", body(message=None), JSON),
        ("lone surrogate", b'{"topic": "x", "producer_id": 1, "message": "\\ud800"}', JSON),
        ("huge integer", body(producer_id=10**30), JSON),
        ("unknown field", body(wibble=1), JSON),
        ("contradictory aliases", body(topic_name="another"), JSON),
        ("partition and key", body(partition=0, partition_key="a"), JSON),
        ("message and messages", body(messages=["y"]), JSON),
        ("too many headers", body(headers={str(one): "x" for one in range(100)}), JSON),
        ("long request id", body(request_id="r" * 65), JSON),
        ("wrong content type", body(), {"Content-Type": "text/csv"}),
        ("broken msgpack", b"\xc1\xff", MSGPACK),
        ("huge body", b'{"message": "' + b"x" * (20 << 20) + b'"}', JSON),
    ]


@pytest.mark.parametrize("server", ["manager", "broker"])
def test_bad_input_is_refused_in_one_shape_and_the_next_good_request_works(
    shared_cluster: Cluster, server: str
) -> None:
    pair = Pair(shared_cluster, f"bad-{server}", 1)
    address = shared_cluster.manager
    if server == "broker":
        address = shared_cluster.leader_of(pair.topic, 0)
    for name, body, headers in _bad_bodies(pair):
        answer = shared_cluster.http.post(
            f"{address}/producer/produce",
            data=body,
            headers={**headers, "Accept": "application/json"},
            timeout=10,
        )
        assert 400 <= answer.status_code < 500, (name, answer.status_code, answer.text[:300])
        failure = answer.json()
        assert failure["status"] == "failure", name
        assert failure["code"], name
        assert failure["message"], name
        assert pair.produce("good")["status"] == "success", name


@pytest.mark.parametrize(("chunks", "ends"), [(32, True), (140, False)])
def test_chunked_body_over_the_limit_is_refused_whether_it_ends_or_not(
    shared_cluster: Cluster, chunks: int, ends: bool
) -> None:
    parts = urlsplit(shared_cluster.manager)
    with socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=20) as peer:
        peer.sendall(
            b"POST /producer/produce HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        # A server that has had enough may close before all is sent; its answer counts.
        with contextlib.suppress(ConnectionError):
            for _ in range(chunks):
                peer.sendall(b"80000\r\n" + b"x" * 0x80000 + b"\r\n")
            if ends:
                peer.sendall(b"0\r\n\r\n")
        answer = b""
        while b"\r\n" not in answer and (more := peer.recv(65_536)):
            answer += more
    assert answer.startswith(b"HTTP/1.1 413")


def test_chunked_body_within_the_limit_is_read(shared_cluster: Cluster) -> None:
    pair = Pair(shared_cluster, "chunked", 1)
    body = json.dumps(
        {"topic": "chunked", "producer_id": pair.producer_id, "message": "in pieces"}
    ).encode()
    answer = shared_cluster.http.post(
        f"{shared_cluster.manager}/producer/produce",
        data=iter([body[:10], body[10:]]),
        headers=JSON,
        timeout=10,
    )
    assert answer.json()["status"] == "success"
    assert pair.consume()["message"] == "in pieces"


@pytest.mark.parametrize("path", ["/nothing", "/topics/absent", "/topics/"])
def test_unknown_url_has_the_one_failure_shape(shared_cluster: Cluster, path: str) -> None:
    answer = shared_cluster.get(path)
    assert (answer["http_status"], answer["status"]) == (404, "failure")


def test_client_that_is_given_the_address_of_a_broker_is_told_so(shared_cluster: Cluster) -> None:
    _, broker, *_ = shared_cluster.places()
    for kind in (Producer, Consumer):
        with pytest.raises(
            NotFound, match="of this broker: clients are given the address of a man"
        ):
            kind("logs", broker["address"])


def test_wrong_method_has_the_one_failure_shape(shared_cluster: Cluster) -> None:
    answer = shared_cluster.http.put(f"{shared_cluster.manager}/topics", timeout=5)
    assert (answer.status_code, answer.json()["code"]) == (405, "METHOD_NOT_ALLOWED")


@pytest.mark.parametrize("path", ["/docs", "/schema"])
def test_documentation_is_served_offline_by_every_process(
    shared_cluster: Cluster, path: str
) -> None:
    for place in shared_cluster.places():
        answer = shared_cluster.http.get(f"{place['address']}{path}", timeout=20)
        assert answer.status_code == 200
        assert "https://cdn" not in answer.text
        assert "//unpkg" not in answer.text


def test_admin_asks_for_a_login(shared_cluster: Cluster) -> None:
    answer = shared_cluster.http.get(f"{shared_cluster.manager}/admin/", timeout=10)
    assert answer.status_code == 200
    assert "password" in answer.text


def test_every_alias_of_the_original_api_is_taken(shared_cluster: Cluster) -> None:
    made = shared_cluster.post("/topics", topic_name="aliases", partitions=2)
    assert made["http_status"] == 201
    producer = shared_cluster.post("/producer/register", name="aliases")
    answer = shared_cluster.post(
        "/producer/produce",
        topic_name="aliases",
        producer_id=producer["producer_id"],
        log_message="old words",
        part=1,
    )
    assert answer["partition"] == 1
    consumer = shared_cluster.post("/consumer/register", topic_name="aliases")
    answer = shared_cluster.get(
        "/consumer/consume",
        topic_name="aliases",
        consumer_id=consumer["consumer_id"],
        partition_index=1,
    )
    assert answer["message"] == "old words"
    with Client(shared_cluster.manager) as client:
        assert "aliases" in client.list_topics()
