from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myqueue.contract.errors import BY_CODE, Internal, QueueError, TopicDoesNotExist, from_body

CLASSES = sorted(set(BY_CODE.values()), key=lambda cls: cls.code)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@pytest.mark.parametrize("cls", CLASSES)
def test_an_error_survives_its_body(cls: type[QueueError]) -> None:
    error = cls("what was wrong", leader={"broker_id": 1}, retry_after_ms=5, outcome="unknown")
    again = from_body(cls.http_status, error.to_body())
    assert type(again) is cls
    assert (again.message, again.details) == (error.message, error.details)
    assert again.retry_after_ms == 5


@pytest.mark.parametrize("body", [None, [], "x", {}, {"code": 5}])
def test_a_body_without_code_is_an_internal_error_of_unknown_outcome(body: object) -> None:
    error = from_body(502, body)
    assert type(error) is Internal
    assert not error.outcome_known


def test_an_unknown_code_keeps_its_message() -> None:
    error = from_body(418, {"status": "failure", "code": "TEAPOT", "message": "short and stout"})
    assert type(error) is Internal
    assert error.message == "short and stout"
    assert not error.outcome_known


@given(JSON)
def test_no_body_breaks_the_reader(body: object) -> None:
    assert isinstance(from_body(500, body), QueueError)


@pytest.mark.parametrize("name", ["self", "message", "details", "cls", "code", "status"])
def test_details_of_any_name_are_carried(name: str) -> None:
    error = from_body(404, {"code": "TOPIC_NOT_FOUND", name: "TOPIC_NOT_FOUND"})
    assert isinstance(error, TopicDoesNotExist)
