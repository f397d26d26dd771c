from __future__ import annotations

import time

import pytest

from myqueue.contract.errors import (
    ClientExpired,
    InvalidRequest,
    NoLeader,
    NotLeader,
    PartitionNotFound,
    TopicDoesNotExist,
    UnauthorizedException,
)
from myqueue.contract.http1 import Request
from myqueue.contract.inputs import BATCH, JSON
from myqueue.testing.state import MemoryState, decoded, failure, parsed, required
from myqueue.transport.blocking import encode_body, read_body


def test_partitions_are_dealt_out_to_brokers() -> None:
    state = MemoryState("m", ["a", "b"])
    assert [partition.leader for partition in state.create("logs", 3)] == ["a", "b", "a"]
    assert state.partition_at("m", "logs", 1) is state.partition_at("b", "logs", 1)
    with pytest.raises(NotLeader):
        state.partition_at("a", "logs", 1)
    with pytest.raises(PartitionNotFound):
        state.partition_at("a", "logs", 3)
    with pytest.raises(TopicDoesNotExist):
        state.partitions_of("other")
    state.topics["logs"][0].leader = ""
    with pytest.raises(NoLeader):
        state.partition_at("m", "logs", 0)
    assert abs(state.now_ms() / 1000 - time.time()) < 60


def test_a_client_proves_who_it_is() -> None:
    state = MemoryState("m", ["a"])
    state.clients[1] = ("producer", "logs")
    request = Request("POST", "/", token="token-1")
    state.authorize(request, "producer", 1, "logs")
    for kind, client_id, topic in (("consumer", 1, "logs"), ("producer", 2, "logs")):
        with pytest.raises(UnauthorizedException):
            state.authorize(request, kind, client_id, topic)
    state.expired.add(1)
    with pytest.raises(ClientExpired):
        state.authorize(request, "producer", 1, "logs")


def test_requests_are_read() -> None:
    request = parsed(Request("GET", "/size?topic=a%20b", query={"partition": 3}))
    assert (request.path, request.query) == ("/size", {"topic": "a b", "partition": "3"})
    assert decoded(Request("POST", "/", body=encode_body({"a": 1}))) == {"a": 1}
    assert decoded(Request("POST", "/", body=b'{"a":1}', content_type=JSON)) == {"a": 1}
    assert decoded(Request("POST", "/", body=b"x", content_type=BATCH)) is None
    assert required("n", 0) == 0
    with pytest.raises(InvalidRequest):
        required("n", None)


def test_failures_are_raised_again_by_the_client() -> None:
    with pytest.raises(NoLeader, match="elects"):
        read_body(failure(NoLeader("elects")))
