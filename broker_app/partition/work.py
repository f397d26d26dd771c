"""The work of all groups of one partition, and which of them has dead messages.

Its methods are what the commands of workers mean; like all applied state it depends on the entries
of the log alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker_app.partition.commands import ReceiveResult
from myqueue.contract.rules.work import UNKNOWN, Choice, Outcome, Work

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from broker_app.partition.commands import (
        DeadCopied,
        ExpireWork,
        ReceiveMessages,
        SettleMessages,
    )
    from myqueue.contract.rules.work import WorkRow


class WorkTable:
    """Group -> its work; only groups that workers use."""

    def __init__(self) -> None:
        self._works: dict[str, Work] = {}
        self._dead: dict[str, None] = {}
        self._last_chances: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._works)

    def __contains__(self, group: object) -> bool:
        return group in self._works

    def __iter__(self) -> Iterator[str]:
        return iter(self._works)

    def get(self, group: str) -> Work | None:
        """Return the work of a group, None when workers do not use it."""
        return self._works.get(group)

    @property
    def with_dead(self) -> list[str]:
        """Groups that have dead messages to copy."""
        return list(self._dead)

    @property
    def with_last_chances(self) -> list[str]:
        """Groups that have a message out that will be dead when its time is over."""
        return list(self._last_chances)

    @property
    def may_have_dead(self) -> bool:
        """Tell whether any group has dead messages, or will when a time is over."""
        return bool(self._dead or self._last_chances)

    def counts(self) -> tuple[int, int]:
        """Return (messages out, dead messages) of all groups."""
        works = self._works.values()
        return sum(len(work.unsettled) for work in works), sum(len(work.dead) for work in works)

    # --- transitions ------------------------------------------------------------------------

    def make(self, group: str, *, origin: int, next_offset: int) -> Work:
        """Add a group that is not there.

        Args:
            group: its name.
            origin: index of the entry that makes it.
            next_offset: the first message to deliver.
        """
        assert group not in self._works, group
        work = self._works[group] = Work(origin, next_offset)
        return work

    def receive(self, command: ReceiveMessages, clock_ms: int, *, end: int) -> ReceiveResult:
        """Deliver messages of a group that is there.

        Args:
            command: what the leader chose.
            clock_ms: the partition clock.
            end: the high watermark.
        """
        work = self._works[command.group]
        work.configure(command.delivery_limit, command.dead_letter_topic)
        choice = Choice(command.again, command.new_from, command.new_to)
        corrupt = 0
        if command.skip_to > command.new_from:
            corrupt = work.pass_over(choice, min(command.skip_to, end))
        deliveries = work.receive(choice, clock_ms, end=end, visibility_ms=command.visibility_ms)
        self._index(command.group, work)
        return ReceiveResult(work.origin, deliveries, work.tell_missed(), corrupt)

    def settle(self, command: SettleMessages, clock_ms: int) -> list[Outcome]:
        """Settle messages; nothing is known of a group that is not there."""
        work = self._works.get(command.group)
        if work is None:
            return [UNKNOWN] * len(command.receipts)
        outcomes = work.settle(command.kind, command.receipts, clock_ms, delay_ms=command.delay_ms)
        self._index(command.group, work)
        return outcomes

    def expire(self, command: ExpireWork, clock_ms: int) -> None:
        """Mark messages dead whose last chance is over."""
        work = self._works.get(command.group)
        if work is not None:
            work.expire(clock_ms)
            self._index(command.group, work)

    def dead_copied(self, command: DeadCopied) -> None:
        """Drop dead messages, unless the group was made anew since they were copied."""
        work = self._works.get(command.group)
        if work is not None and work.origin == command.origin:
            work.dead_copied(command.offsets)
            self._index(command.group, work)

    def forget(self, group: str) -> bool:
        """Drop a group; False when it was not there."""
        self._dead.pop(group, None)
        self._last_chances.pop(group, None)
        return self._works.pop(group, None) is not None

    def truncate(self, log_start_offset: int) -> None:
        """Drop what retention took."""
        for group, work in self._works.items():
            work.truncate(log_start_offset)
            self._index(group, work)

    # --- snapshots --------------------------------------------------------------------------

    def rows(self) -> list[tuple[str, WorkRow]]:
        """Return everything as plain values."""
        return [(group, work.row()) for group, work in self._works.items()]

    def load(self, rows: Iterable[tuple[str, WorkRow]]) -> None:
        """Add what `rows` returned."""
        for group, row in rows:
            work = self._works[group] = Work.load(row)
            self._index(group, work)

    def _index(self, group: str, work: Work) -> None:
        for names, is_one in ((self._dead, work.dead), (self._last_chances, work.has_last_chances)):
            if is_one:
                names.setdefault(group)
            else:
                names.pop(group, None)
