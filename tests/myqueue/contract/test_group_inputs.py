from __future__ import annotations

import pytest

from myqueue.contract.errors import InvalidRequest
from myqueue.contract.group_inputs import GroupHeartbeat, OffsetsCommit, Settle, check_group_name
from myqueue.contract.inputs import read_input


@pytest.mark.parametrize("group", ["billing", "a", "Team.7_x-y", "x" * 249])
def test_a_group_is_named_like_a_topic(group: str) -> None:
    assert check_group_name(group) == group


@pytest.mark.parametrize("group", ["", ".", "..", "a b", "ä", "x" * 250, "a/b"])
def test_another_group_name_is_refused_and_named(group: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_group_name(group)
    assert caught.value.details["field"] == "group"


def test_a_commit_without_offset_is_a_fence() -> None:
    fields = {"topic": "logs", "partition": 0, "group": "billing", "generation": 4}
    assert read_input(OffsetsCommit, fields).offset is None


@pytest.mark.parametrize("generation", [-1, 1 << 63, "4", None])
def test_a_malformed_generation_is_refused_and_named(generation: object) -> None:
    fields = {"topic": "logs", "partition": 0, "group": "billing", "generation": generation}
    with pytest.raises(InvalidRequest, match="generation"):
        read_input(OffsetsCommit, fields)


def test_lists_are_checked_item_by_item() -> None:
    with pytest.raises(InvalidRequest, match="owned"):
        read_input(GroupHeartbeat, {"member_id": "m", "generation": 1, "owned": {"logs": ["0"]}})
    with pytest.raises(InvalidRequest, match="receipts"):
        read_input(Settle, {"topic": "logs", "partition": 0, "group": "g", "receipts": [7]})
