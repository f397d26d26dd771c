from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from myqueue.cli import produce as cli_produce
from myqueue.cli.main import main
from myqueue.contract.partitioner import partition_for_key
from myqueue.contract.records import Record, encode_batch
from tests.myqueue.http_twin import HttpCluster


def produce(cluster: HttpCluster, *arguments: str) -> int:
    return main(["produce", "--address", cluster.address, *arguments])


def consume(
    cluster: HttpCluster, capfdbinary: pytest.CaptureFixture[bytes], *arguments: str
) -> list[bytes]:
    assert main(["consume", "--address", cluster.address, *arguments]) == 0
    return capfdbinary.readouterr().out.splitlines()


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    path = tmp_path / "lines"
    path.write_bytes(b"user=1 a\r\nuser=2 b\n\nuser=1 \xff\nlast")
    return path


def test_every_line_is_a_message(
    http_cluster: HttpCluster, lines: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    http_cluster.twin.create("logs", 1)
    assert produce(http_cluster, "logs", str(lines)) == 0
    assert http_cluster.twin.topics["logs"][0].values == [
        "user=1 a",
        "user=2 b",
        "",
        b"user=1 \xff",
        "last",
    ]
    found = consume(http_cluster, capfdbinary, "logs", "--from-beginning")
    assert found == [b"user=1 a", b"user=2 b", b"", b"user=1 \xff", b"last"]
    assert http_cluster.twin.clients.keys() == {1}


@pytest.mark.parametrize("pattern", ["user=([0-9])", "user=[0-9]"])
def test_a_pattern_gives_the_key(http_cluster: HttpCluster, lines: Path, pattern: str) -> None:
    http_cluster.twin.create("logs", 3)
    assert produce(http_cluster, "logs", str(lines), "--key-regex", pattern) == 0
    keys = {
        record.value: record.key
        for partition in http_cluster.twin.topics["logs"]
        for record in partition.records
    }
    prefix = "" if "(" in pattern else "user="
    assert keys == {
        "user=1 a": f"{prefix}1",
        "user=2 b": f"{prefix}2",
        "": None,
        b"user=1 \xff": f"{prefix}1",
        "last": None,
    }


def test_one_key_for_every_line(http_cluster: HttpCluster, lines: Path) -> None:
    http_cluster.twin.create("logs", 3)
    assert produce(http_cluster, "logs", str(lines), "--key", "user-1") == 0
    expected = partition_for_key("user-1", 3)
    for index, partition in enumerate(http_cluster.twin.topics["logs"]):
        assert [one.key for one in partition.records] == ["user-1"] * (5 * (index == expected))


def given(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    buffer = io.BufferedReader(io.BytesIO(data))  # type: ignore[arg-type]
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=buffer))


def test_nothing_to_send_creates_nothing(
    http_cluster: HttpCluster,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    for data, said in ((b"", "0 messages sent"), (b"x\n", "1 message sent")):
        assert not http_cluster.twin.topics
        given(monkeypatch, data)
        assert produce(http_cluster, "new", "--create") == 0
        assert capsys.readouterr().err.splitlines()[-1].endswith(said)
    assert list(http_cluster.twin.topics) == ["new"]


@pytest.mark.parametrize("data", [b"", b"x\n"])
def test_a_misspelt_topic_is_refused(
    http_cluster: HttpCluster,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    data: bytes,
) -> None:
    given(monkeypatch, data)
    assert produce(http_cluster, "misspelt") == 1
    said = capsys.readouterr().err
    assert said == "myqueue: TOPIC_NOT_FOUND: topic 'misspelt' does not exist; --create makes it\n"
    assert not http_cluster.twin.topics


def test_headers_are_those_of_every_message(http_cluster: HttpCluster, lines: Path) -> None:
    http_cluster.twin.create("logs", 1)
    options = ["--header", "a=1", "--header", "b=x=y"]
    assert produce(http_cluster, "logs", str(lines), *options) == 0
    headers = [one.headers for one in http_cluster.twin.topics["logs"][0].records]
    assert headers == [{"a": "1", "b": "x=y"}] * 5


def test_messages_may_have_lines(
    http_cluster: HttpCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    http_cluster.twin.create("logs", 1)
    given(monkeypatch, b"a\nb\r\0c\0\0d")
    assert produce(http_cluster, "logs", "-0") == 0
    assert http_cluster.twin.topics["logs"][0].values == ["a\nb\r", "c", "", "d"]


def test_json_has_keys_headers_and_partitions(
    http_cluster: HttpCluster,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, second = http_cluster.twin.create("logs", 2)
    told = [
        {"value": "a", "key": "k", "partition": 1, "headers": {"x": "1"}},
        {"message": None, "message_base64": "/w==", "partition": 0, "topic": "other", "offset": 9},
        {"value": "b", "partition": 1, "timestamp": 1_000},
    ]
    given(monkeypatch, "\n".join(map(json.dumps, told)).encode())
    assert produce(http_cluster, "logs", "--json", "--header", "y=2") == 0
    assert json.loads(capsys.readouterr().out) == {"topic": "logs", "messages": 3}
    assert first.values == [b"\xff"]
    assert [(one.value, one.key, one.headers) for one in second.records] == [
        ("a", "k", {"x": "1", "y": "2"}),
        ("b", None, {"y": "2"}),
    ]
    assert second.records[1].timestamp == 1_000


def test_what_one_cluster_says_another_takes(
    http_cluster: HttpCluster,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    partition = http_cluster.twin.create("logs", 1)[0]
    partition.append(encode_batch([Record(b"\xff", "k", {"a": b"\xfe"}, 5), Record("x")]))
    http_cluster.twin.create("copies", 1)
    printed = consume(http_cluster, capfdbinary, "logs", "--from-beginning", "--json")
    given(monkeypatch, b"\n".join(printed))
    assert produce(http_cluster, "copies", "--json", "--quiet") == 0
    copies = http_cluster.twin.topics["copies"][0].records
    assert [one[:3] for one in copies] == [one[:3] for one in partition.records]


@pytest.mark.parametrize("wrong", [b"no json", b"[]", b'{"value": 1}'])
def test_a_line_that_describes_nothing_is_named(
    http_cluster: HttpCluster,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    wrong: bytes,
) -> None:
    http_cluster.twin.create("logs", 1)
    given(monkeypatch, b'{"value": "a"}\n{"value": "b"}\n' + wrong)
    assert produce(http_cluster, "logs", "--json", "--batch", "2") == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first == "myqueue: 2 messages or more sent before this"
    assert second.startswith("myqueue: INVALID_REQUEST: message 3: ")


def test_the_standard_input_is_the_default(
    http_cluster: HttpCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = b"".join(b"%d\n" % number for number in range(2_500))
    given(monkeypatch, data)
    http_cluster.twin.create("logs", 2)
    assert produce(http_cluster, "logs", "--partition", "1", "--batch", "1000") == 0
    partition = http_cluster.twin.topics["logs"][1]
    assert partition.values == [f"{number}" for number in range(2_500)]
    assert len(partition.batches) == 3


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar_and_a_summary(
    http_cluster: HttpCluster, lines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    http_cluster.twin.create("logs", 1)
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    assert produce(http_cluster, "logs", str(lines)) == 0
    assert "4 messages  [" in terminal.getvalue()
    assert terminal.getvalue().endswith("5 messages sent\n")
    quiet = Terminal()
    monkeypatch.setattr("sys.stderr", quiet)
    assert produce(http_cluster, "logs", str(lines), "--quiet") == 0
    assert quiet.getvalue() == ""


def test_lines_are_cut_by_number_and_bytes() -> None:
    cut = [len(batch) for batch, _ in cli_produce._cut([b"x"] * 5, 2)]
    assert cut == [2, 2, 1]
    large = [b"x" * 600_000] * 3
    assert [len(batch) for batch, _ in cli_produce._cut(large, 100)] == [1, 1, 1]
