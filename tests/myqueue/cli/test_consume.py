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


def put(http_cluster: HttpCluster, *counts: int) -> None:
    """Put messages p/0, p/1, ... into the partitions of logs, a minute from one to the next."""
    now_ms = http_cluster.twin.state.now_ms()
    for index, partition in enumerate(http_cluster.twin.create("logs", len(counts))):
        for number in range(counts[index]):
            age_ms = (counts[index] - number) * 60_000
            partition.append(
                encode_batch([Record(f"{index}/{number}", f"k{number}")]), now_ms - age_ms
            )


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (["--offset", "earliest"], ["0/0", "0/1", "0/2", "1/0"]),
        (["--offset", "2"], ["0/2"]),
        (["--offset", "-2"], ["0/1", "0/2", "1/0"]),
        (["--offset", "-2", "--partition", "0"], ["0/1", "0/2"]),
        (["--offset", "-9", "--partition", "0", "-n", "2"], ["0/0", "0/1"]),
        (["--offset", "99"], []),
        (["--partition", "1", "--from-beginning"], ["1/0"]),
        (["--until", "90s"], ["0/0", "0/1"]),
        (["--since", "150s", "--until", "90s"], ["0/1"]),
        (["--until", "2026-01-01"], []),
        (["--offset", "1", "--until", "90s"], ["0/1"]),
    ],
)
def test_where_reading_begins_and_ends(
    http_cluster: HttpCluster,
    capfdbinary: pytest.CaptureFixture[bytes],
    where: list[str],
    expected: list[str],
) -> None:
    put(http_cluster, 3, 1)
    found = consume(http_cluster, capfdbinary, "logs", *where)
    assert sorted(found) == [one.encode() for one in expected]


@pytest.mark.parametrize(
    ("look", "expected"),
    [
        (["--keys"], b"k0\t0/0\n"),
        (["--headers"], b"\tk0\t0/0\n"),
        (["--format", r"%t-%p-%o %k=%v\0"], b"logs-0-0 k0=0/0\0"),
    ],
)
def test_what_a_message_looks_like(
    http_cluster: HttpCluster,
    capfdbinary: pytest.CaptureFixture[bytes],
    look: list[str],
    expected: bytes,
) -> None:
    put(http_cluster, 1)
    read = ["consume", "logs", "--from-beginning", "--address", http_cluster.address]
    assert main([*read, *look]) == 0
    assert capfdbinary.readouterr().out == expected


@pytest.mark.parametrize(
    "wrong",
    [
        ["--offset", "first"],
        ["--offset", "1", "--since", "1h"],
        ["--from-beginning", "--offset", "latest"],
        ["--until", "1h", "--follow"],
        ["--until", "1h", "--offset", "latest"],
        ["--group", "g", "--partition", "0"],
        ["--group", "g", "--since", "1h"],
        ["--group", "g", "--until", "1h"],
        ["--group", "g", "--offset", "5"],
        ["--format", "%q"],
        ["--format", "%v", "--keys"],
    ],
)
def test_what_contradicts_itself_is_wrong_use(
    wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["consume", "logs", *wrong])
    assert "usage: myqueue consume" in capsys.readouterr().err
