from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from myqueue.cli import events as cli_events
from myqueue.cli.main import main
from myqueue.transport.administration import Administration

NOW_MS = 1_800_000_000_000


def event(number: int, text: str = "Topic created") -> dict[str, Any]:
    return {
        "id": number,
        "at": NOW_MS + number,
        "kind": "configuration",
        "action": "topic created",
        "text": text,
        "about": ["topic:logs"],
        "person": "user 'ada'",
        "origin": "",
        "outcome": "done",
        "details": {"asked": 1},
    }


class Manager:
    """Answers GET /events, two a page; what was asked is kept."""

    def __init__(self) -> None:
        self.rows = [event(number) for number in range(1, 6)]
        self.asked: list[dict[str, list[str]]] = []

    def call(self, _: object, method: str, path: str) -> dict[str, Any]:
        assert method == "GET"
        assert path.startswith("/events?")
        query = parse_qs(urlsplit(path).query)
        self.asked.append(query)
        after = int(query.get("after", [str(1 << 60)])[0])
        older = [row for row in self.rows[::-1] if row["id"] < after]
        return {"events": older[:2], "next": str(older[1]["id"]) if older[2:] else None}


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Manager:
    manager = Manager()
    monkeypatch.setattr(Administration, "_call", lambda *args: manager.call(*args))
    return manager


def test_events_are_printed_the_oldest_first(
    manager: Manager, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["events", "-n", "3"]) == 0
    head, *rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert head == ["AT", "KIND", "TEXT", "PERSON", "ORIGIN", "OUTCOME"]
    assert [row[0] for row in rows] == [str(NOW_MS + number) for number in (3, 4, 5)]
    assert rows[0][1:] == ["configuration", "Topic created", "user 'ada'", "-", "done"]


def test_json_has_everything(manager: Manager, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["events", "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert told == manager.rows


def test_what_is_asked_for_is_chosen_by_the_manager(manager: Manager) -> None:
    chosen = ["--kind", "election", "--about", "topic:logs", "--person", "ada"]
    times = ["--since", "2026-01-31T00:00+00:00", "--until", "2026-02-01T00:00+00:00"]
    assert main(["events", *chosen, *times]) == 0
    assert manager.asked[0] == {
        "kind": ["election"],
        "about": ["topic:logs"],
        "person": ["ada"],
        "since": ["1769817600000"],
        "until": ["1769904000000"],
        "limit": ["1000"],
    }
    assert len(manager.asked) == 3


def test_following_prints_each_event_once(
    manager: Manager, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    more = [[], [event(6, "six"), event(7, "seven"), event(8, "eight")], []]

    def sleep(_: float) -> None:
        if not more:
            raise KeyboardInterrupt
        manager.rows += more.pop(0)

    monkeypatch.setattr(cli_events.time, "sleep", sleep)
    assert main(["events", "-n", "1", "--follow"]) == 130
    rows = [line.split("\t")[2] for line in capsys.readouterr().out.splitlines()]
    assert rows == ["TEXT", "Topic created", "six", "seven", "eight"]
    assert manager.asked[-1]["since"] == [str(NOW_MS + 8 - 60_000)]


def test_following_has_no_end(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["events", "--follow", "--until", "1h"])
    assert "has an end" in capsys.readouterr().err
