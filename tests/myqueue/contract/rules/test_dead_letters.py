"""What a dead letter says of where it died, and the message that it is again."""

from __future__ import annotations

import pytest

from myqueue.contract.rules.dead_letters import Death, death_of, mark_of, returning_headers

SAID: dict[str, str | bytes] = {
    "dead-letter-topic": "jobs",
    "dead-letter-partition": "2",
    "dead-letter-offset": b"17",
    "dead-letter-group": "mailers",
    "dead-letter-deliveries": "5",
    "colour": b"red",
}


def test_a_letter_says_where_and_how_it_died() -> None:
    assert death_of(SAID) == Death("jobs", 2, 17, "mailers", 5)
    assert death_of(None) == Death("", -1, -1, "", 0)


@pytest.mark.parametrize("text", ["", "-1", "1.5", "\u0663", "9" * 19, b"\xff"])
def test_what_is_no_number_says_nothing(text: str | bytes) -> None:
    assert death_of({"dead-letter-partition": text}).partition == -1


def test_going_back_it_is_as_it_was_with_where_it_comes_from() -> None:
    mark = mark_of("jobs.dead", 1, 4)
    assert returning_headers(SAID, mark) == {"colour": b"red", "redriven-from": "jobs.dead/1/4"}
    assert returning_headers(None, mark) == {"redriven-from": "jobs.dead/1/4"}
