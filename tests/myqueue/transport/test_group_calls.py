from __future__ import annotations

import pytest
from msgspec import to_builtins

from myqueue.contract.answers import MemberAssignment
from myqueue.contract.errors import Internal
from myqueue.contract.group_inputs import by_topic
from myqueue.results import Registration
from myqueue.testing.state import decoded
from myqueue.transport.group_calls import (
    by_time_call,
    commit_call,
    group_path,
    group_request,
    partitions_of,
    read_assignment,
)

ME = Registration(1, "token-1")


def test_paths_name_the_group() -> None:
    assert group_path("a b/c") == "/groups/a%20b%2Fc"
    assert group_path("billing", "join") == "/groups/billing/join"


def test_nothing_is_sent_for_what_is_not_known() -> None:
    request = group_request("g", "join", {"topics": ["logs"], "member_id": None})
    assert decoded(request) == {"topics": ["logs"]}


def test_a_commit_names_generation_and_offset() -> None:
    call = commit_call(("logs", 2), "g", 7, offset=0, timeout_ms=500)
    fields = decoded(call.direct(ME))
    assert fields["offset"] == 0
    assert (fields["topic"], fields["partition"], fields["generation"]) == ("logs", 2, 7)
    assert call.through_manager(ME) == call.direct(ME)
    fence = decoded(commit_call(("logs", 2), "g", 7, start="latest", timeout_ms=500).direct(ME))
    assert "offset" not in fence
    assert fence["start"] == "latest"


def test_a_time_is_asked_with_the_token() -> None:
    request = by_time_call(("logs", 1), 99).direct(ME)
    assert request.query == {"topic": "logs", "partition": 1, "timestamp": 99}
    assert request.token == "token-1"


def test_assignments_go_there_and_back() -> None:
    assignment = {"a": [0, 2], "b": [1]}
    told = MemberAssignment(
        group="g",
        member_id="m",
        generation=1,
        assignment=assignment,
        heartbeat_interval_ms=500,
        session_timeout_ms=6_000,
    )
    assert by_topic(partitions_of(read_assignment(to_builtins(told)))) == assignment
    with pytest.raises(Internal, match="cannot be read"):
        read_assignment({"status": "success", "group": "g"})
