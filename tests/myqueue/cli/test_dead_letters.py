from __future__ import annotations

import pytest

from myqueue import Producer, Worker
from myqueue.cli.main import main
from tests.myqueue.cli.operated import Operated, operated, terminal

__all__ = ["operated", "terminal"]
PLACE = {"group": "mailers", "topic": "logs", "dead_letter_topic": "logs.dead", "left": 3}
LETTER = {
    "topic": "logs.dead",
    "partition": 0,
    "offset": 7,
    "timestamp": 1_769_817_600_000,
    "message": "x" * 100,
    "key": b"k",
    "headers": None,
    "died_topic": "logs",
    "died_partition": 1,
    "died_offset": 41,
    "died_group": "mailers",
    "deliveries": 5,
}


@pytest.fixture
def dead(operated: Operated) -> Operated:
    operated.answers["GET /dead-letters"] = {"dead_letters": [PLACE], "next": None}
    operated.answers["GET /topics/logs/dead-letters"] = {"letters": [LETTER]}
    return operated


def test_where_they_are_is_listed(dead: Operated) -> None:
    rows = [["GROUP", "TOPIC", "DEAD_LETTER_TOPIC", "LEFT"], ["mailers", "logs", "logs.dead", "3"]]
    assert dead.run("dead-letters") == rows
    assert dead.told("dead-letters", "list", "--group", "mailers") == [PLACE]
    assert dead.asked[-1][1]["group"] == "mailers"


def test_the_oldest_are_shown_with_where_they_died(dead: Operated) -> None:
    heads, row = dead.run("dead-letters", "peek", "logs", "-n", "2")
    assert heads[:4] == ["PARTITION", "OFFSET", "DIED", "DIED_GROUP"]
    at = ["0", "7", "logs/1/41", "mailers", "5", "1769817600000", "k"]
    assert row == [*at, "x" * 100]
    _, asked = dead.asked[-1]
    assert asked == {"max_messages": "2", "dead_letter_topic": "logs.dead"}
    [told] = dead.told("dead-letters", "peek", "logs")
    assert (told["message"], told["died_offset"], told["deliveries"]) == ("x" * 100, 41, 5)


def test_on_a_terminal_long_ones_are_cut(dead: Operated, terminal: None) -> None:
    assert dead.run("dead-letters") == [
        ["GROUP    TOPIC  DEAD LETTER TOPIC  LEFT"],
        ["mailers  logs   logs.dead             3"],
    ]
    _, [line] = dead.run("dead-letters", "peek", "logs")
    assert line.endswith(f"k    {'x' * 60}...")


def test_groups_that_do_not_agree_have_to_be_told_apart(
    dead: Operated, capsys: pytest.CaptureFixture[str]
) -> None:
    other = {**PLACE, "group": "auditors", "dead_letter_topic": "audit.dead"}
    dead.answers["GET /dead-letters"] = {"dead_letters": [PLACE, other], "next": None}
    assert main(["dead-letters", "peek", "logs"]) == 1
    assert "audit.dead, logs.dead: say which with --dead-letter-topic" in capsys.readouterr().err
    dead.run("dead-letters", "peek", "logs", "--dead-letter-topic", "audit.dead")
    assert dead.asked[-1][1]["dead_letter_topic"] == "audit.dead"


def test_they_are_purged_after_a_question(dead: Operated) -> None:
    purged = {"partition": 0, "log_start_offset": 3, "removed": 3}
    dead.answers["POST /topics/logs.dead/purge"] = {"removed": 3, "partitions": [purged]}
    told = dead.refused("dead-letters", "purge", "logs")
    assert "Delete all messages of topic logs.dead for good?" in told
    rows = dead.run("dead-letters", "purge", "logs", "--yes")
    assert rows[1] == ["0", "3", "3", "-"]


@pytest.mark.parametrize("command", [["dead-letters", "redrive"], ["redrive"]])
def test_they_go_back(operated: Operated, command: list[str]) -> None:
    operated.answers["GET /dead-letters"] = {"dead_letters": [], "next": None}
    with Producer("logs") as producer, Worker("logs", group="mailers", delivery_limit=1) as worker:
        producer.produce_many("logs", ["a", "b"], partition=0)
        while found := worker.receive(timeout=0):
            worker.nack(*found)
    assert operated.run(*command, "logs") == [["2 messages came back"]]
    assert operated.run(*command, "logs", "--group", "other") == [["2 messages came back"]]
    with Worker("logs", group="mailers") as worker:
        assert len(worker.receive(10, timeout=0)) == 2, "another group sent none again"
