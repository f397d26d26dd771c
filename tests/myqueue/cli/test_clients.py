from __future__ import annotations

from myqueue import Consumer, Producer
from myqueue.contract.errors import UnauthorizedException
from tests.myqueue.cli.operated import Operated, operated, terminal

__all__ = ["operated", "terminal"]


def test_whoever_is_there_is_listed(operated: Operated) -> None:
    heads = ["KIND", "ID", "TOPICS", "STATE", "GROUP", "PARTITIONS", "ADDRESS", "LAST_HEARTBEAT"]
    assert operated.run("clients") == [heads]
    with Producer("logs"), Consumer("logs"), Consumer("logs", group="billing") as member:
        member.poll(1)
        rows = operated.run("clients", "list", "--topic", "logs")
        assert rows[0] == heads
        assert rows[1][:4] == ["producer", "1", "logs", "alive"]
        assert [row[0] for row in rows[1:]] == ["producer", "consumer", "consumer", "member"]
        assert rows[4][2:6] == ["logs", "alive", "billing", "logs/0,logs/1"]
        [told] = operated.told("clients", "--kind", "member")
        assert (told["group"], told["partitions"]) == ("billing", ["logs/0", "logs/1"])
        assert told["last_heartbeat"] is not None
        assert operated.told("clients", "--kind", "producer")[0]["id"] == "1"
        assert operated.run("clients", "--state", "expired") == [heads]
        assert len(operated.run("clients", "--state", "alive")) == 5


def test_one_is_forgotten_after_a_question(operated: Operated) -> None:
    operated.answers["DELETE /consumers/17"] = {"partitions_pending": [2]}
    assert "Forget consumer 17" in operated.refused("clients", "forget", "consumer", "17")
    assert operated.asked == []
    assert operated.run("clients", "forget", "consumer", "17", "--yes") == [
        ["consumer 17 is forgotten; partition 2 will be told later"]
    ]
    operated.answers["DELETE /producers/1"] = UnauthorizedException("must show a token")
    operated.run("clients", "forget", "producer", "1", "--yes", status=1)
    assert "invalid choice" in operated.refused("clients", "forget", "member", "1")


def test_people_see_addresses_and_ages(operated: Operated, terminal: None) -> None:
    client = {"producer_id": 7, "topic": "logs", "state": "expired", "address": "10.0.0.9"}
    heard = {"last_heartbeat": 1_769_904_000_000}
    operated.answers["GET /producers"] = {"producers": [{**client, **heard}], "next": None}
    [head], [row] = operated.run("clients", "--kind", "producer")
    assert head == "KIND      ID  TOPICS  STATE    GROUP  PARTITIONS  ADDRESS   HEARD"
    assert row.startswith("producer  7   logs    expired  -      -           10.0.0.9  2026-0")
