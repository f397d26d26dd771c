"""The work of all groups of a partition."""

from __future__ import annotations

from typing import Any

from broker_app.commands import (
    DeadCopied,
    ExpireWork,
    ReceiveMessages,
    Received,
    SettleMessages,
    Start,
)
from broker_app.work import DONE, UNKNOWN, Outcome, Receipt, SettleKind
from broker_app.work_table import Moment, WorkTable


def moment(clock_ms: int = 0, index: int = 9, start: int = 0, end: int = 10) -> Moment:
    return Moment(index, clock_ms, start, end)


def receive(group: str = "g", begin: int = 0, end: int = 1, **changes: Any) -> ReceiveMessages:
    fields: dict[str, Any] = {"again": (), "visibility_ms": 100, "delivery_limit": 1, **changes}
    return ReceiveMessages(group=group, new_from=begin, new_to=end, **fields)


def test_a_group_begins_where_it_is_told_and_its_receipts_name_the_entry_that_made_it() -> None:
    table = WorkTable()
    assert table.receive(receive(), moment(start=0)) == Received(9, [(0, 1)])
    late = receive("late", start=Start.LATEST)
    assert table.receive(late, moment(index=12)) == Received(12, [])
    work = table.get("late")
    assert work is not None
    assert (work.origin, work.next_offset) == (12, 10)
    assert list(table) == ["g", "late"]


def test_groups_do_not_share_what_is_out() -> None:
    table = WorkTable()
    table.receive(receive("a"), moment())
    assert table.receive(receive("b"), moment()).deliveries == [(0, 1)]
    assert table.counts() == (2, 0)
    table.forget("a")
    assert table.counts() == (1, 0)
    assert "a" not in table


def test_last_chances_and_dead_messages_are_found_without_a_look_at_the_other_groups() -> None:
    table = WorkTable()
    assert not table.needs_burial
    table.receive(receive("calm", delivery_limit=2), moment())
    assert not table.needs_burial
    table.receive(receive(), moment())
    assert (table.with_last_chances, table.with_dead) == (["g"], [])
    table.expire(ExpireWork("g"), 99)
    assert table.with_dead == []
    table.expire(ExpireWork("g"), 100)
    assert (table.with_last_chances, table.with_dead) == ([], ["g"])
    table.dead_copied(DeadCopied("g", 8, [0]))
    assert table.with_dead == ["g"], "another group of that name had the message copied"
    copied = WorkTable()
    copied.load(table.rows())
    for one in (table, copied):
        assert one.with_dead == ["g"]
        one.dead_copied(DeadCopied("g", 9, [0]))
        assert not one.needs_burial
    assert copied.rows() == table.rows()


def test_receipts_of_an_unknown_or_remade_group_are_unknown() -> None:
    table = WorkTable()
    ack = SettleMessages("g", SettleKind.ACK, [Receipt(9, 0, 1)])
    assert table.settle(ack, 0) == [UNKNOWN]
    table.receive(receive(), moment())
    assert table.settle(ack, 0) == [DONE]
    assert table.settle(ack, 0) == [Outcome(done=True, reason="settled")]
    table.forget("g")
    table.receive(receive(), moment(index=20))
    assert table.settle(ack, 0) == [UNKNOWN]


def test_what_retention_took_or_nobody_can_read_is_told_once_as_missed() -> None:
    table = WorkTable()
    table.receive(receive(end=2), moment())
    table.truncate(4)
    assert table.counts() == (0, 0)
    assert table.receive(receive(begin=4, end=5), moment(start=4)) == Received(9, [(4, 1)], 4)
    skip = receive(begin=5, end=5, skip_to=7)
    assert table.receive(skip, moment(start=4)) == Received(9, [], 2)
    assert table.receive(skip, moment(start=4)) == Received(9, [], 0)
    assert table.receive(receive(begin=7, end=8), moment(start=4)).deliveries == [(7, 1)]
