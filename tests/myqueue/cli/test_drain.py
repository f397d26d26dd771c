from __future__ import annotations

import pytest

from myqueue.cli.main import main
from myqueue.contract.errors import Forbidden
from tests.myqueue.cli.operated import Operated, operated

__all__ = ["operated"]


def broker(number: int, *, replicas: int = 0, draining: bool = False) -> dict[str, object]:
    return {
        "broker_id": number,
        "address": f"http://queue-{number}:8001",
        "state": "alive",
        "replicas": replicas,
        "draining": draining,
    }


THREE = [broker(1), broker(2), broker(3, replicas=2)]


def test_a_broker_is_drained_by_its_id_or_its_address(operated: Operated) -> None:
    operated.answers["GET /brokers"] = {"brokers": THREE, "next": None}
    operated.answers["DELETE /brokers/3"] = {"broker_id": 3, "replicas": 2}
    for name in ("3", "http://queue-3:8001", "queue-3:8001"):
        assert operated.run("brokers", "drain", name) == [
            ["broker 3 is being emptied of 2 replicas"]
        ]
    told = {"broker_id": 3, "replicas": 2, "removed": False}
    assert operated.told("brokers", "drain", "3") == [told]
    operated.answers["DELETE /brokers/3"] = {"broker_id": 3, "replicas": 0}
    assert operated.run("brokers", "drain", "3") == [["broker 3 is removed"]]
    assert operated.run("brokers", "drain", "9", status=1) == []


def test_the_wait_ends_when_it_is_removed(
    operated: Operated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("myqueue.cli.drain.LOOK_S", 0.0)
    moved = [broker(3, replicas=1, draining=True)]
    lists = [{"brokers": rows, "next": None} for rows in (THREE, moved, THREE[:2])]
    operated.answers["GET /brokers"] = lists
    operated.answers["DELETE /brokers/3"] = {"broker_id": 3, "replicas": 2}
    assert operated.run("brokers", "drain", "3", "--wait") == [["broker 3 is removed"]]
    assert len([line for line, _ in operated.asked if line == "GET /brokers"]) == 3


def test_the_wait_ends_when_somebody_keeps_it(operated: Operated) -> None:
    operated.answers["GET /brokers"] = {"brokers": THREE, "next": None}
    operated.answers["DELETE /brokers/3"] = {"broker_id": 3, "replicas": 2}
    assert "not drained any more" in operated.refused("brokers", "drain", "3", "--wait")


def test_a_broker_is_kept_relieved_and_forgotten(
    operated: Operated, capsys: pytest.CaptureFixture[str]
) -> None:
    operated.answers["GET /brokers"] = {"brokers": THREE, "next": None}
    operated.answers["PATCH /brokers/3"] = {"broker_id": 3, "draining": False}
    operated.answers["POST /brokers/3/hand-over"] = {"broker_id": 3, "agreed": 1, "asked": 2}
    operated.answers["DELETE /brokers/1"] = {"broker_id": 1, "replicas": 0}
    assert operated.run("brokers", "undrain", "3") == [["broker 3 stays"]]
    assert operated.told("brokers", "hand-over", "3") == [{"broker_id": 3, "agreed": 1, "asked": 2}]
    assert operated.run("brokers", "hand-over", "3") == [
        ["1 of 2 leaderships of broker 3 handed over"]
    ]
    assert main(["brokers", "forget", "3", "--yes"]) == 1
    assert "holds 2 replicas: myqueue brokers drain 3" in capsys.readouterr().err
    assert "Remove broker 1 at http://queue-1:8001?" in operated.refused("brokers", "forget", "1")
    assert operated.run("brokers", "forget", "1", "--yes") == [["broker 1 is removed"]]


def test_a_refused_call_names_the_role(
    operated: Operated, capsys: pytest.CaptureFixture[str]
) -> None:
    operated.answers["GET /brokers"] = {"brokers": THREE, "next": None}
    operated.answers["DELETE /brokers/3"] = Forbidden("the API token 'ci' lacks the role operator")
    assert main(["brokers", "drain", "3"]) == 1
    assert capsys.readouterr().err == (
        "myqueue: FORBIDDEN: the API token 'ci' lacks the role operator\n"
    )
