from __future__ import annotations

import json

import pytest

from myqueue.cli.main import main
from myqueue.contract.http1 import Answer, Request
from myqueue.contract.records import Record, encode_batch
from tests.myqueue.http_twin import HttpCluster


def consume(
    cluster: HttpCluster, capfdbinary: pytest.CaptureFixture[bytes], *arguments: str
) -> list[bytes]:
    assert main(["consume", "--address", cluster.address, *arguments]) == 0
    return capfdbinary.readouterr().out.splitlines()


def test_json_carries_what_is_no_text(
    http_cluster: HttpCluster, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    partition = http_cluster.twin.create("logs", 1)[0]
    partition.put("héllo", b"\xff")
    partition.append(encode_batch([Record(b"ok", b"\xfe", {"a": "b", "c": b"d"}, 1_000)]))
    found = [
        json.loads(line)
        for line in consume(http_cluster, capfdbinary, "logs", "--from-beginning", "--json")
    ]
    assert found[0] == {
        "topic": "logs",
        "partition": 0,
        "offset": 0,
        "timestamp": 0,
        "message": "héllo",
        "key": None,
    }
    assert (found[1]["message"], found[1]["message_base64"]) == (None, "/w==")
    assert (found[2]["message"], found[2]["key_base64"]) == ("ok", "/g==")
    assert found[2]["headers"] == {"a": "b", "c": "d"}


def test_consume_stops_after_so_many(
    http_cluster: HttpCluster, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    http_cluster.twin.create("logs", 1)[0].put("1", "2", "3")
    found = consume(
        http_cluster, capfdbinary, "logs", "--from-beginning", "--follow", "--max-messages", "2"
    )
    assert found == [b"1", b"2"]


def test_without_from_beginning_only_new_messages_count(
    http_cluster: HttpCluster,
    capfdbinary: pytest.CaptureFixture[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    partition = http_cluster.twin.create("logs", 1)[0]
    partition.put("old")
    handle = http_cluster.twin.handle

    def handled(address: str, request: Request) -> Answer:
        answer = handle(address, request)
        if request.path == "/consumer/register":
            partition.put("new")
        return answer

    monkeypatch.setattr(http_cluster.twin, "handle", handled)
    assert consume(http_cluster, capfdbinary, "logs", "--max-messages", "1") == [b"new"]


def test_since_begins_with_what_was_stored_then(
    http_cluster: HttpCluster, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    partition = http_cluster.twin.create("logs", 1)[0]
    now_ms = http_cluster.twin.state.now_ms()
    for minutes in (90, 20, 5):
        batch = encode_batch([Record(f"{minutes} minutes ago")])
        partition.append(batch, now_ms - minutes * 60_000)
    found = consume(http_cluster, capfdbinary, "logs", "--since", "30m")
    assert found == [b"20 minutes ago", b"5 minutes ago"]
    assert len(consume(http_cluster, capfdbinary, "logs", "--since", "2h")) == 3


def test_a_refusal_is_status_one(
    http_cluster: HttpCluster, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert main(["consume", "nothing", "--address", http_cluster.address]) == 1
    assert b"TOPIC_NOT_FOUND" in capfdbinary.readouterr().err
