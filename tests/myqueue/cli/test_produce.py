from __future__ import annotations

import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from myqueue.cli import produce as cli_produce
from myqueue.cli.main import main
from myqueue.contract.partitioner import partition_for_key
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


def test_nothing_to_send_creates_nothing(
    http_cluster: HttpCluster,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    for data, said in ((b"", "0 messages sent"), (b"x\n", "1 message sent")):
        assert not http_cluster.twin.topics
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(data)))
        assert produce(http_cluster, "misspelt") == 0
        assert capsys.readouterr().err.splitlines()[-1].endswith(said)
    assert list(http_cluster.twin.topics) == ["misspelt"]


def test_the_standard_input_is_the_default(
    http_cluster: HttpCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = b"".join(b"%d\n" % number for number in range(2_500))
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BufferedReader(io.BytesIO(data))))
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
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    assert produce(http_cluster, "logs", str(lines)) == 0
    assert "5 messages" in terminal.getvalue()
    quiet = Terminal()
    monkeypatch.setattr("sys.stderr", quiet)
    assert produce(http_cluster, "logs", str(lines), "--quiet") == 0
    assert quiet.getvalue() == ""


def test_without_rich_there_is_no_bar(
    http_cluster: HttpCluster, lines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    assert produce(http_cluster, "logs", str(lines)) == 0
    assert terminal.getvalue() == "5 messages sent\n"


def test_lines_are_cut_by_number_and_bytes() -> None:
    cut = [len(batch) for batch, _ in cli_produce._cut([b"x"] * 5, 2)]
    assert cut == [2, 2, 1]
    large = [b"x" * 600_000] * 3
    assert [len(batch) for batch, _ in cli_produce._cut(large, 100)] == [1, 1, 1]
