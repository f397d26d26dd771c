"""What entries mean to the applied state, and how it is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from broker_app.partition.commands import (
    AppendResult,
    Command,
    CommitOffsets,
    CommitRefusal,
    CommitResult,
    CursorResult,
    ForgetClient,
    ForgetGroup,
    ForgetIdle,
    OpenCursor,
    PopMessages,
    PopResult,
    ResetCursor,
    SetRetention,
    Start,
    Truncate,
)
from broker_app.partition.groups import ConsumerGroup
from broker_app.partition.state import SNAPSHOT_VERSION, PartitionData
from myqueue.contract.records import request_digest
from tests.broker_app.replica import batch_of

if TYPE_CHECKING:
    from broker_app.partition.commands import CommandBody


def append(data: PartitionData, count: int = 1, timestamp: int = 1, **stamp: Any) -> AppendResult:
    return data.append(batch_of(*"x" * count, **stamp).header, timestamp)


def execute(
    data: PartitionData,
    body: CommandBody,
    clock_ms: int = 0,
    timestamp: int = 1,
    *,
    index: int = 1,
) -> Any:
    return data.execute(Command(clock_ms, body), timestamp, index=index)


@pytest.fixture
def data() -> PartitionData:
    """Six messages, the first two no longer stored."""
    data = PartitionData()
    append(data, 6)
    data.log_start_offset = 2
    return data


def test_batches_take_contiguous_offsets_whoever_sends_them() -> None:
    data = PartitionData()
    appended = [
        append(data, 2, sequence=0),
        append(data, 1),
        append(data, 3, request_id="r"),
        append(data, 1, sequence=0, epoch=1),
    ]
    assert appended == [
        AppendResult(0, 2),
        AppendResult(2, 1),
        AppendResult(3, 3),
        AppendResult(6, 1),
    ]
    assert data.next_offset == 7
    assert (len(data.producers), len(data.produce_requests)) == (1, 1)


def test_times_never_go_back() -> None:
    data = PartitionData()
    append(data, timestamp=50)
    execute(data, ForgetIdle(), clock_ms=9, timestamp=40)
    append(data, timestamp=30)
    execute(data, ForgetIdle(), clock_ms=7, timestamp=60)
    assert (data.last_timestamp, data.clock_ms) == (60, 9)


def test_pop_moves_only_from_where_the_cursor_is(data: PartitionData) -> None:
    digest = request_digest("r")
    assert execute(data, PopMessages(5, 0, 1, digest)) == PopResult(0, 0), "below the log start"
    assert execute(data, PopMessages(5, 3, 4, digest)) == PopResult(3, 3)
    assert not data.cursors
    assert not len(data.pop_requests)
    assert execute(data, PopMessages(5, 2, 4, digest)) == PopResult(2, 4)
    assert execute(data, PopMessages(5, 2, 4)) == PopResult(2, 2), "once"
    assert execute(data, PopMessages(5, 4, 5)) == PopResult(4, 5)
    assert data.pop_requests.get((5, digest)) == (2, 4, 0)
    assert len(data.pop_requests) == 1, "without a request id nothing is remembered"


def test_sixteen_pops_of_each_consumer_are_remembered(data: PartitionData) -> None:
    append(data, 20)
    for consumer_id in (5, 6):
        for number in range(17):
            execute(
                data, PopMessages(consumer_id, 2 + number, 3 + number, request_digest(f"r{number}"))
            )
    for consumer_id in (5, 6):
        known = [data.pop_requests.get((consumer_id, request_digest(f"r{n}"))) for n in range(17)]
        assert known == [None, *((2 + n, 3 + n, 0) for n in range(1, 17))]


def test_opened_cursor_begins_at_an_end_and_stays_when_opened_again(data: PartitionData) -> None:
    assert execute(data, OpenCursor(5, Start.LATEST)) == CursorResult(6, moved=True)
    assert execute(data, OpenCursor(6, Start.EARLIEST)) == CursorResult(2, moved=True)
    append(data)
    assert execute(data, OpenCursor(5, Start.EARLIEST)) == CursorResult(6, moved=False)
    data.log_start_offset = 4
    assert execute(data, OpenCursor(6, Start.LATEST)) == CursorResult(4, moved=False)


def test_reset_moves_what_is_where_it_is_expected(data: PartitionData) -> None:
    assert execute(data, ResetCursor(5, 4, expected=0)) == CursorResult(2, moved=False)
    assert not data.cursors
    assert execute(data, ResetCursor(5, 4, expected=2)) == CursorResult(4, moved=True)
    assert execute(data, ResetCursor(5, 3)) == CursorResult(3, moved=True)
    assert data.cursor(5) == 3


def test_forgotten_client_loses_what_is_its_own(data: PartitionData) -> None:
    for client_id in (5, 6):
        append(data, producer_id=client_id, sequence=0)
        append(data, producer_id=client_id, request_id="r")
        execute(data, PopMessages(client_id, 2, 3, request_digest("r")))
    execute(data, ForgetClient(producer_id=5))
    assert (len(data.producers), len(data.produce_requests)) == (1, 1)
    assert (len(data.cursors), len(data.pop_requests)) == (2, 2), "consumer 5 is another client"
    execute(data, ForgetClient(consumer_id=6))
    assert (set(data.cursors), len(data.pop_requests)) == ({5}, 1)
    before = data.encode()
    execute(data, ForgetClient())
    execute(data, ForgetClient(producer_id=99))
    assert data.encode() == before


def test_idle_entries_go_and_cursors_and_used_ones_stay(data: PartitionData) -> None:
    append(data, producer_id=1, sequence=0)
    append(data, producer_id=2, sequence=0)
    append(data, producer_id=1, request_id="old")
    execute(data, PopMessages(5, 2, 3, request_digest("old")), clock_ms=100)
    append(data, producer_id=2, sequence=1)
    append(data, producer_id=1, request_id="new")
    execute(data, ForgetIdle(before_ms=100), clock_ms=200)
    assert (len(data.producers), len(data.produce_requests), len(data.pop_requests)) == (2, 2, 1)
    execute(data, ForgetIdle(before_ms=101), clock_ms=200)
    assert data.producers.get(1) is None
    assert data.producers.get(2) is not None
    assert data.produce_requests.get((1, request_digest("old"))) is None
    assert data.produce_requests.get((1, request_digest("new"))) is not None
    assert data.cursors == {5: 3}


def test_what_no_clock_has_seen_is_never_idle(data: PartitionData) -> None:
    append(data, producer_id=1, sequence=0)
    data.producers.read_clock(0)
    append(data, producer_id=1, sequence=1)
    execute(data, ForgetIdle(before_ms=1 << 60), clock_ms=0)
    assert len(data.producers) == 0, "the command's own clock has seen it"
    append(data, producer_id=1, sequence=0)
    assert data.producers.idle_since(1 << 60) == []


def busy() -> PartitionData:
    data = PartitionData()
    for number in range(7):
        append(data, 2, timestamp=10 + number, sequence=2 * number)
        append(data, producer_id=2, request_id=f"p{number}")
        execute(
            data, PopMessages(5, number, number + 1, request_digest(f"c{number}")), clock_ms=number
        )
    execute(data, OpenCursor(6, Start.LATEST), clock_ms=20)
    append(data, producer_id=3, sequence=0, epoch=4)
    data.log_start_offset = 3
    return data


def go_on(data: PartitionData) -> list[Any]:
    """Return the results of entries that depend on all that is remembered."""
    results: list[Any] = []
    for number in range(100):
        results.append(append(data, producer_id=2, request_id=f"q{number}"))
        digest = request_digest(f"d{number}")
        results.append(
            execute(data, PopMessages(5, 7 + number, 8 + number, digest), clock_ms=30 + number)
        )
    results.append(execute(data, ForgetIdle(before_ms=20), clock_ms=200))
    results.append(append(data, sequence=14))
    return results


def test_stored_state_goes_on_as_the_one_it_was_made_of() -> None:
    original = busy()
    stored = original.encode()
    copy = PartitionData.decode(stored)
    assert copy.encode() == stored
    assert go_on(original) == go_on(copy)
    assert copy.encode() == original.encode()
    assert copy.producers.get(3) is not None, "used after the clock was last read"


def test_equal_entries_lead_to_equal_bytes() -> None:
    assert busy().encode() == busy().encode()


def test_bytes_that_are_no_state_are_refused() -> None:
    stored = busy().encode()
    assert stored[0] == SNAPSHOT_VERSION
    damaged = (b"", b"\x00", bytes([SNAPSHOT_VERSION + 1]) + stored[1:], stored[1:])
    for wrong in (*damaged, stored[:-1], stored + b"\x00", stored[:1], stored[:1] + b"\x90"):
        with pytest.raises(ValueError, match="snapshot"):
            PartitionData.decode(wrong)


OF_VERSION_2 = bytes.fromhex(
    "029a0102090592920502920601919501030002919300020090919606c4026464040001009308090a"
    "93cd04004991920100"
)
"""Two messages of which one is stored, two cursors, one pop, a retention; no consumer groups."""


def test_state_stored_before_there_were_groups_is_read_and_stored_anew() -> None:
    data = PartitionData.decode(OF_VERSION_2)
    assert (data.log_start_offset, data.next_offset, data.clock_ms) == (1, 2, 5)
    assert data.cursors == {5: 2, 6: 1}
    assert data.pop_requests.get((6, b"dd")) == (0, 1, 0)
    assert data.retention == SetRetention(9, 10)
    assert len(data.groups) == 0
    assert execute(data, CommitOffsets("g", 3), index=17) == CommitResult(3, 1)
    assert PartitionData.decode(data.encode()).groups.rows() == data.groups.rows()
    assert data.encode()[0] == SNAPSHOT_VERSION
    with pytest.raises(ValueError, match="snapshot"):
        PartitionData.decode(bytes([SNAPSHOT_VERSION]) + OF_VERSION_2[1:])


def test_groups_are_stored_with_the_entry_that_made_them(data: PartitionData) -> None:
    execute(data, CommitOffsets("one", 3, 4), index=11)
    execute(data, CommitOffsets("two", 0, None, Start.LATEST), index=12)
    execute(data, CommitOffsets("one", 4, 5), index=13)
    copy = PartitionData.decode(data.encode())
    assert copy.groups.rows() == [
        ("one", ConsumerGroup(4, 5, origin=11)),
        ("two", ConsumerGroup(0, 6, origin=12)),
    ]
    for state in (data, copy):
        assert execute(state, CommitOffsets("one", 3, 6), index=14) == CommitResult(
            4, 5, refused=CommitRefusal.GENERATION
        )
        assert execute(state, ForgetGroup("two"), index=15) is True
        assert execute(state, ForgetGroup("two"), index=16) is False
    assert copy.encode() == data.encode()


def test_group_below_the_log_start_is_told_once_also_after_a_restart(data: PartitionData) -> None:
    execute(data, CommitOffsets("g", 1, 3))
    execute(data, Truncate(5))
    copy = PartitionData.decode(data.encode())
    for state in (data, copy):
        assert execute(state, CommitOffsets("g", 2)) == CommitResult(2, 5, missed=2)
    again = PartitionData.decode(copy.encode())
    assert execute(again, CommitOffsets("g", 2)) == CommitResult(2, 5)
