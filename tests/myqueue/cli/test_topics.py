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
    assert run(capsys, "create", "logs", "--partitions", "2") == (0, "", "")
    assert run(capsys, "topics") == (0, "logs\n", "")
    status, out, _ = run(capsys, "describe", "logs")
    rows = [line.split("\t") for line in out.splitlines()]
    assert rows[0][0] == "PARTITION"
    assert [row[1] for row in rows[1:]] == http_cluster.twin.brokers[:2]
    status, out, _ = run(capsys, "describe", "logs", "--json")
    assert len(json.loads(out)["partitions"]) == 2
    status, out, _ = run(capsys, "brokers")
    assert out.splitlines()[0] == f"{http_cluster.twin.brokers[0]}\talive"
    assert run(capsys, "delete", "logs") == (0, "", "")
    assert run(capsys, "topics") == (0, "", "")
    status, out, err = run(capsys, "delete", "logs")
    assert (status, out) == (1, "")
    assert err == "myqueue: TOPIC_NOT_FOUND: topic 'logs' does not exist\n"
