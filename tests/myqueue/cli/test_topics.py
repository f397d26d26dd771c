from __future__ import annotations

import json

import pytest

from myqueue.cli.main import main
from tests.myqueue.http_twin import HttpCluster


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(arguments)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_topics_come_and_go(
    http_cluster: HttpCluster, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MYQUEUE_ADDRESS", http_cluster.address)
    made = run(capsys, "create", "logs", "--partitions", "2")
    assert made == (0, "topic logs created with 2 partitions\n", "")
    assert run(capsys, "topics") == (0, "TOPIC\nlogs\n", "")
    status, out, _ = run(capsys, "describe", "logs")
    rows = [line.split("\t") for line in out.splitlines()]
    assert rows[0][0] == "PARTITION"
    assert [row[2] for row in rows[1:]] == http_cluster.twin.brokers[:2]
    status, out, _ = run(capsys, "describe", "logs", "--json")
    assert len(json.loads(out)["partitions"]) == 2
    status, out, _ = run(capsys, "brokers")
    assert out.splitlines()[1].split("\t")[1:3] == [http_cluster.twin.brokers[0], "alive"]
    assert run(capsys, "delete", "logs", "--yes") == (0, "topic logs deleted\n", "")
    assert run(capsys, "topics") == (0, "TOPIC\n", "")
    status, out, err = run(capsys, "delete", "logs", "--yes")
    assert (status, out) == (1, "")
    assert err == "myqueue: TOPIC_NOT_FOUND: topic 'logs' does not exist\n"
