"""The work of groups in the applied state: begun, taken over, stored, truncated."""

from __future__ import annotations

from typing import Any

import pytest

from broker_app.partition.commands import (
    Command,
    CommitOffsets,
    CommitRefusal,
    CommitResult,
    DeadCopied,
    ExpireWork,
    ForgetGroup,
    ReceiveMessages,
    ReceiveResult,
    SettleMessages,
    Start,
    Truncate,
)
from broker_app.partition.state import PartitionData
from myqueue.contract.rules.work import Receipt, SettleKind
from tests.broker_app.replica import batch_of


@pytest.fixture
def data() -> PartitionData:
    """Six messages, the first two no longer stored."""
    data = PartitionData()
    data.append(batch_of(*"abcdef").header, 1)
    data.log_start_offset = 2
    return data


def receive(data: PartitionData, index: int = 30, **changes: Any) -> ReceiveResult:
    fields: dict[str, Any] = {"again": (), "new_from": 2, "new_to": 3, **changes}
    command = ReceiveMessages("g", visibility_ms=100, delivery_limit=2, **fields)
    received: ReceiveResult = data.execute(Command(0, command), 1, index=index)
    return received


def commit(data: PartitionData, generation: int, offset: int | None = None) -> CommitResult:
    command = CommitOffsets("g", generation, offset)
    place: CommitResult = data.execute(Command(0, command), 1, index=40)
    return place


def test_work_begins_at_the_log_start_the_end_or_where_a_commit_was(data: PartitionData) -> None:
    assert receive(data) == ReceiveResult(30, [(2, 1)])
    data.execute(Command(0, ForgetGroup("g")), 1, index=31)
    assert receive(data, start=Start.LATEST) == ReceiveResult(30, [])
    data.execute(Command(0, ForgetGroup("g")), 1, index=32)
    commit(data, 0, 4)
    assert receive(data, index=33, new_from=4, new_to=5) == ReceiveResult(33, [(4, 1)])
    assert data.groups.get("g") is None


def test_work_of_a_group_that_retention_overtook_tells_what_was_missed(
    data: PartitionData,
) -> None:
    commit(data, 0, 3)
    data.execute(Command(0, Truncate(5)), 1, index=20)
    assert receive(data, new_from=5, new_to=6) == ReceiveResult(30, [(5, 1)], missed=2)


def test_a_group_that_members_share_gives_workers_nothing(data: PartitionData) -> None:
    commit(data, 1)
    assert receive(data).refused
    assert "g" not in data.works


def test_members_take_a_group_over_when_its_workers_have_nothing_out(data: PartitionData) -> None:
    received = receive(data)
    assert commit(data, 1).refused is CommitRefusal.WORKERS
    ack = SettleMessages("g", SettleKind.ACK, [Receipt(received.origin, 2, 1)])
    data.execute(Command(0, ack), 1, index=31)
    assert commit(data, 1, 99).refused is CommitRefusal.OFFSET
    assert "g" in data.works
    assert commit(data, 1) == CommitResult(1, 3)
    assert "g" not in data.works


def test_work_is_stored_and_truncated_with_the_messages(data: PartitionData) -> None:
    receive(data, new_to=5)
    nack = SettleMessages("g", SettleKind.NACK, [Receipt(30, 2, 1)])
    data.execute(Command(0, nack), 1, index=31)
    stored = data.encode()
    copy = PartitionData.decode(stored)
    assert copy.encode() == stored
    for one in (data, copy):
        one.execute(Command(0, Truncate(4)), 1, index=32)
        assert one.works.counts() == (1, 0)
        assert receive(one, again=(2, 4), new_to=2) == ReceiveResult(30, [], missed=2)
        late = ReceiveMessages("g", (2, 4), 5, 5, visibility_ms=100, delivery_limit=2)
        assert one.execute(Command(100, late), 1, index=33).deliveries == [(4, 2)]
        expire = Command(200, ExpireWork("g"))
        one.execute(expire, 1, index=34)
        assert one.works.with_dead == ["g"]
        one.execute(Command(200, DeadCopied("g", 30, [4])), 1, index=35)
        assert not one.works.with_dead
    assert copy.encode() == data.encode()
