"""The work of all groups of a partition."""

from __future__ import annotations

from typing import Any

from broker_app.partition.commands import (
    DeadCopied,
    ExpireWork,
    ReceiveMessages,
    ReceiveResult,
    SettleMessages,
)
from broker_app.partition.work import WorkTable
from myqueue.contract.rules.work import DONE, UNKNOWN, Outcome, Receipt, SettleKind


class Table(WorkTable):
    """Makes groups as it meets them, in entry 9."""

    def run(self, command: ReceiveMessages, clock_ms: int = 0, origin: int = 9) -> ReceiveResult:
        if command.group not in self:
            self.make(command.group, origin=origin, next_offset=0)
        return self.receive(command, clock_ms, end=10)


def receive(group: str = "g", begin: int = 0, end: int = 1, **changes: Any) -> ReceiveMessages:
    fields: dict[str, Any] = {"again": (), "visibility_ms": 100, "delivery_limit": 1, **changes}
    return ReceiveMessages(group=group, new_from=begin, new_to=end, **fields)


def test_groups_do_not_share_what_is_out() -> None:
    table = Table()
    table.run(receive("a"))
    assert table.run(receive("b")).deliveries == [(0, 1)]
    assert table.counts() == (2, 0)
    table.forget("a")
    assert table.counts() == (1, 0)
    assert "a" not in table


def test_last_chances_and_dead_messages_are_found_without_a_look_at_the_other_groups() -> None:
    table = Table()
    assert not table.with_dead
    table.run(receive("calm", delivery_limit=2))
    assert not table.with_dead
    table.run(receive())
    assert (table.with_last_chances, table.with_dead) == (["g"], [])
    table.expire(ExpireWork("g"), 99)
    assert table.with_dead == []
    table.expire(ExpireWork("g"), 100)
    assert (table.with_last_chances, table.with_dead) == ([], ["g"])
    table.dead_copied(DeadCopied("g", 8, [0]))
    assert table.with_dead == ["g"], "another group of that name had the message copied"
    copied = Table()
    copied.load(table.rows())
    for one in (table, copied):
        assert one.with_dead == ["g"]
        one.dead_copied(DeadCopied("g", 9, [0]))
        assert not one.with_dead
    assert copied.rows() == table.rows()


def test_receipts_of_an_unknown_or_remade_group_are_unknown() -> None:
    table = Table()
    ack = SettleMessages("g", SettleKind.ACK, [Receipt(9, 0, 1)])
    assert table.settle(ack, 0) == [UNKNOWN]
    table.run(receive())
    assert table.settle(ack, 0) == [DONE]
    assert table.settle(ack, 0) == [Outcome(done=True, reason="settled")]
    table.forget("g")
    table.run(receive(), origin=20)
    assert table.settle(ack, 0) == [UNKNOWN]


def test_what_retention_took_and_what_nobody_can_read_are_told_once() -> None:
    table = Table()
    table.run(receive(end=2))
    table.truncate(4)
    assert table.counts() == (0, 0)
    assert table.run(receive(begin=4, end=5)) == ReceiveResult(9, [(4, 1)], 4)
    skip = receive(begin=5, end=5, skip_to=7)
    assert table.run(skip) == ReceiveResult(9, [], 0, corrupt=2)
    assert table.run(skip) == ReceiveResult(9, [])
    assert table.run(receive(begin=7, end=8)).deliveries == [(7, 1)]
