from __future__ import annotations

import json
from typing import Any

import pytest

from myqueue.cli.main import main
from myqueue.transport.administration import Administration
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


@pytest.mark.parametrize(
    ("options", "ms", "size"),
    [
        (["--retention", "7d", "--retention-bytes", "10GiB"], 604_800_000, 10 << 30),
        (["--retention-ms", "7d"], 604_800_000, None),
        (["--retention-ms", "60000", "--retention-bytes", "512"], 60_000, 512),
        (["--retention", "unlimited", "--retention-bytes", "unlimited"], None, None),
        ([], None, None),
    ],
)
def test_retention_has_units(
    monkeypatch: pytest.MonkeyPatch, options: list[str], ms: int | None, size: int | None
) -> None:
    asked: list[dict[str, Any]] = []

    def call(_: object, method: str, path: str, fields: dict[str, Any], **__: object) -> Any:
        assert (method, path) == ("POST", "/topics")
        asked.append(fields)
        return {"topic": "logs", "partitions": []}

    monkeypatch.setattr(Administration, "_call", call)
    assert main(["create", "logs", *options]) == 0
    assert [(one["retention_ms"], one["retention_bytes"]) for one in asked] == [(ms, size)]


def test_a_replica_that_is_down_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    replicas = [
        {"address": "a:1", "broker_state": "alive", "state": "voter"},
        {"address": "b:1", "broker_state": "dead", "state": "voter"},
        {"address": "c:1", "broker_state": "alive", "state": "faulty"},
    ]
    row = {"partition": 0, "condition": "degraded", "leader": {"address": "a:1"}, "term": 3}
    told = {"topic": "logs", "partitions": [{**row, "replicas": replicas}]}
    monkeypatch.setattr(Administration, "_call", lambda *_: told)
    status, out, _ = run(capsys, "describe", "logs")
    head, fields = (line.split("\t") for line in out.splitlines())
    shown = dict(zip(head, fields, strict=True))
    assert (status, shown["CONDITION"]) == (0, "degraded")
    assert shown["DOWN"] == "b:1 (dead),c:1 (faulty)"
