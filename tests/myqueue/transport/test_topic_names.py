from __future__ import annotations

import pytest

from myqueue.contract.errors import InvalidRequest
from myqueue.transport.topic_names import milliseconds, no_count, older_key, topic_names


@pytest.mark.parametrize("topics", [[""], [5], ""])
def test_topics_are_texts(topics: object) -> None:
    with pytest.raises(InvalidRequest):
        topic_names(topics)  # type: ignore[arg-type]
    assert topic_names("a") == ["a"]
    assert topic_names(("a", "b")) == ["a", "b"]


def test_a_key_has_one_name_at_a_time() -> None:
    assert older_key(None, "a") == "a"
    with pytest.raises(InvalidRequest, match="older name of key"):
        older_key("a", "a")
    with pytest.raises(InvalidRequest, match="partition or partition_key"):
        older_key(None, 1, partition=0)


def test_times_are_seconds() -> None:
    assert milliseconds("retention", 0.25) == 250
    for wrong in (-1, float("nan"), "1", True, None):
        with pytest.raises(InvalidRequest, match="seconds"):
            milliseconds("retention", wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="0 to 10 seconds, not 11"):
        milliseconds("retention", 11, longest_s=10)


def test_a_time_in_place_of_a_number_of_messages_is_told() -> None:
    assert "timeout=" in str(no_count(1.0))
    assert "timeout=" not in str(no_count(0))
