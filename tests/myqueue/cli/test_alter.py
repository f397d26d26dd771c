from __future__ import annotations

import pytest

from myqueue.cli.main import main
from tests.myqueue.cli.operated import Operated, operated, terminal

__all__ = ["operated", "terminal"]
PURGED = {
    "topic": "logs",
    "removed": 1_200,
    "partitions": [{"partition": 0, "log_start_offset": 1_200, "removed": 1_200}],
}
LOST = {"partition": 1, "log_start_offset": None, "removed": None, "reason": "NO_LEADER: electing"}


def topic(partitions: int = 2, **settings: int | None) -> dict[str, object]:
    both = {"retention_ms": None, "retention_bytes": None, **settings}
    return {"topic": "logs", "number_of_partitions": partitions, "settings": both, "partitions": []}


def test_a_topic_keeps_longer_without_a_question(operated: Operated) -> None:
    operated.answers["GET /topics/logs"] = topic(retention_ms=1_000)
    operated.answers["PATCH /topics/logs"] = topic(3, retention_ms=604_800_000)
    assert operated.run("alter", "logs", "--retention", "7d", "--partitions", "3") == [
        ["topic logs has 3 partitions and keeps messages for 7 d"]
    ]
    fields = {"number_of_partitions": 3, "retention_ms": 604_800_000}
    assert operated.asked[-1] == ("PATCH /topics/logs", fields)
    assert operated.told("topics", "alter", "logs", "--retention", "unlimited") == [
        {"topic": "logs", "partitions": 3, "retention_ms": 604_800_000, "retention_bytes": None}
    ]
    assert operated.asked[-1] == ("PATCH /topics/logs", {"retention_ms": None})


def test_what_lets_a_topic_keep_less_is_asked_for(operated: Operated) -> None:
    operated.answers["GET /topics/logs"] = topic(retention_bytes=1 << 40)
    operated.answers["PATCH /topics/logs"] = topic(retention_bytes=10 << 30)
    less = ("alter", "logs", "--retention-bytes", "10GiB", "--retention", "1h")
    told = operated.refused(*less)
    assert "keep messages for 1 h and 10.0 GiB of each partition; more is deleted" in told
    assert "--yes" in told
    assert [line for line, _ in operated.asked] == ["GET /topics/logs"]
    operated.run(*less, "--yes")
    assert "--partitions, --retention or --retention-bytes" in operated.refused("alter", "logs")


def test_messages_are_purged_after_a_question(operated: Operated) -> None:
    operated.answers["POST /topics/logs/purge"] = PURGED
    assert "Delete all messages of topic logs for good?" in operated.refused("purge", "logs")
    assert operated.asked == []
    rows = operated.run("purge", "logs", "--yes", "--partition", "0,1", "--offset", "1200")
    assert rows == [
        ["PARTITION", "REMOVED", "LOG_START_OFFSET", "REASON"],
        ["0", "1200", "1200", "-"],
    ]
    assert operated.asked == [("POST /topics/logs/purge", {"offset": 1_200, "partitions": [0, 1]})]
    told = operated.refused("purge", "logs", "--offset", "3", "--partition", "1")
    assert "the messages below offset 3 in partition 1 of topic logs" in told
    assert "not allowed with" in operated.refused(
        "purge", "logs", "--offset", "3", "--before", "1h"
    )


def test_people_see_aligned_numbers(operated: Operated, terminal: None) -> None:
    operated.answers["POST /topics/logs/purge"] = PURGED
    assert operated.run("purge", "logs", "--yes", "--before", "2026-01-31T12:00") == [
        ["PARTITION  REMOVED  OLDEST  REASON"],
        ["        0    1,200   1,200  -"],
    ]


def test_a_partition_that_was_not_purged_is_an_error(
    operated: Operated, capsys: pytest.CaptureFixture[str]
) -> None:
    operated.answers["POST /topics/logs/purge"] = {
        **PURGED,
        "partitions": [*PURGED["partitions"], LOST],  # type: ignore[misc]
    }
    with pytest.raises(SystemExit, match="1"):
        main(["purge", "logs", "--yes"])
    out, err = capsys.readouterr()
    assert out.splitlines()[-1].split("\t") == ["1", "-", "-", "NO_LEADER: electing"]
    assert "partition 1" in err
