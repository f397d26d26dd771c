from __future__ import annotations

import json
import time

import pytest

from myqueue import Client, Consumer, Producer, UnauthorizedException
from myqueue.cli.main import main
from myqueue.contract.errors import ClientExpired
from myqueue.testing.queue import InMemoryQueue

LOST = UnauthorizedException("forgotten")


def test_each_consumer_and_partition_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with InMemoryQueue({"logs": 2}) as queue, Producer("logs", queue.address) as producer:
        producer.produce_many("logs", ["a", "b", "c"], partition=1)
        with Consumer("logs", queue.address) as one, Consumer("logs", queue.address) as other:
            other.poll(2)
            ids = [one.registration("logs").client_id, other.registration("logs").client_id]
            time.sleep(0.02)
            assert main(["lag", "logs", "--address", queue.address]) == 0
            rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
            assert rows[0] == ["CONSUMER_ID", "STATE", "PARTITION", "LAG", "AGE_MS"]
            assert [row[:1] + row[2:4] for row in rows[1:]] == [
                [str(ids[0]), "0", "0"],
                [str(ids[0]), "1", "3"],
                [str(ids[1]), "0", "0"],
                [str(ids[1]), "1", "1"],
            ]
            assert int(rows[1][4]) == 0
            assert 10 < int(rows[2][4]) < 60_000
            assert main(["lag", "logs", "--json", "--address", queue.address]) == 0
            last = json.loads(capsys.readouterr().out.splitlines()[-1])
            assert (last["consumer_id"], last["partition"], last["lag"]) == (ids[1], 1, 1)
            assert len(queue._api.state.clients) == 3


def test_a_topic_without_consumers_has_a_head_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with InMemoryQueue({"logs": 1}) as queue:
        assert main(["lag", "logs", "--address", queue.address]) == 0
        assert capsys.readouterr().out.count("\n") == 1
        assert main(["lag", "nothing", "--address", queue.address]) == 1


def test_a_consumer_that_expired_has_a_line_without_figures(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with InMemoryQueue({"logs": 1}) as queue, Producer("logs", queue.address) as producer:
        producer.enqueue("logs", "a")
        with Consumer("logs", queue.address), Consumer("logs", queue.address):
            *_, silent, living = queue._api.state.clients
            queue._api.state.expired.add(silent)
            assert main(["lag", "logs", "--address", queue.address]) == 0
            rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()[1:]]
            assert rows[0] == [str(silent), "expired", "-", "-", "-"]
            assert rows[1][:4] == [str(living), "alive", "0", "1"]
            assert main(["lag", "logs", "--json", "--address", queue.address]) == 0
            first = json.loads(capsys.readouterr().out.splitlines()[0])
            assert (first["state"], first["lag"]) == ("expired", None)


@pytest.mark.parametrize(("error", "lines"), [(ClientExpired("late"), 2), (LOST, 1)])
def test_a_consumer_that_goes_while_lag_is_asked_stops_nothing(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    lines: int,
) -> None:
    def refused(*_: object) -> None:
        raise error

    monkeypatch.setattr(Client, "consumer_sizes", refused)
    with InMemoryQueue({"logs": 1}) as queue, Consumer("logs", queue.address):
        assert main(["lag", "logs", "--address", queue.address]) == 0
        assert capsys.readouterr().out.count("\n") == lines
