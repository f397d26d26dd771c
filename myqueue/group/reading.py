"""The consumer's core where it is a member of a group: fetching, handing out, offsets. Pure.

A message counts as done when the program comes back for another one, or calls `commit`. Fetches
run ahead of the program, one per partition at a time; a fetch that finds nothing is held by the
broker, so it is prefetch and wait in one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from myqueue.contract.errors import (
    IllegalGeneration,
    InvalidRequest,
    QueueEmpty,
    QueueError,
    Rebalancing,
)
from myqueue.group.fetching import GLANCE_S, GroupFetching
from myqueue.results import Lag
from myqueue.transport.blocking import read_body
from myqueue.transport.clock import FOREVER_S
from myqueue.transport.effects import Acquire, Flow, Pause, TimeIsOver, within
from myqueue.transport.fetching import timestamp_ms
from myqueue.transport.group_calls import by_time_call, commit_call
from myqueue.transport.registration import topic_names, warn
from myqueue.transport.retry import Attempts
from myqueue.transport.rotation import PartitionRotation, TopicPartition

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from myqueue.contract.partitioner import Key
    from myqueue.group.assigned_partition import Holding
    from myqueue.results import Message
    from myqueue.transport.rotation import Wait


class GroupReading(GroupFetching):
    """The core of `Consumer` and `AsyncConsumer` with a group; the methods of `Reading`.

    Args: those of `Member`.
    """

    def make_locks(self) -> None:
        """Make new locks; in the child of a fork, what was fetched is the parent's."""
        super().make_locks()
        self._rotation = PartitionRotation()
        self._in_hand: set[Holding] = set()
        """Partitions of which messages were handed out since the program came back last."""
        self._current: Holding | None = None
        """The partition that an iteration reads."""

    # Messages

    def hand_out(self) -> Message | None:
        """Return the next message for an iteration; None when `fill` has to be driven first."""
        with self._state_lock:
            if self.closing:
                return None
            self._finish_in_hand()
            holding = self._current
            if holding is None or not holding.ready or holding.is_revoked:
                return None
            if self._held.get(holding.where) is not holding:
                return None
            if holding.refill_due and len(holding.ready) * 2 < self.config.prefetch_messages:
                holding.refill_due = False
                return None
            self._in_hand.add(holding)
            return holding.take(1)[0]

    def fill(self) -> Flow[list[Message]]:
        """Wait until `hand_out` has something, however long it takes; return nothing."""
        wait = self.begin_wait(None)
        while True:
            found = yield from self.gather(None, FOREVER_S, wait)
            with self._state_lock:
                if found and self._choose(None) is not None:
                    return []

    def poll(
        self,
        max_messages: int,
        timeout: float | None,
        *,
        topics: str | Sequence[str] | None = None,
        partition: int | None = None,
    ) -> Flow[list[Message]]:
        """Return up to `max_messages` of one partition; empty when none came in time.

        What was handed out before counts as done.
        """
        if max_messages < 1:
            raise InvalidRequest(f"max_messages must be at least 1, not {max_messages}")
        self._come_back()
        names = None if topics is None else topic_names(topics)
        wait = self.begin_wait(timeout)
        flow = self._poll(names, partition, max_messages, wait)
        if not wait.is_bounded:
            return (yield from flow)
        try:
            return (yield from within(flow, self.clock, wait.limit_s))
        except TimeIsOver:
            self.is_over(None, wait)
            return []

    def _poll(
        self,
        topics: list[str] | None,
        partition: int | None,
        max_messages: int,
        wait: Wait,
    ) -> Flow[list[Message]]:
        wanted: set[TopicPartition] | None = None
        if topics is not None or partition is not None:
            names = list(self.registrations) if topics is None else topics
            wanted = set((yield from self.partitions(names, partition)))
        while True:
            remaining_s = max(0.0, wait.deadline_s - self.clock.monotonic())
            found = yield from self.gather(wanted, remaining_s, wait)
            with self._state_lock:
                taken = [] if self.closing else self._take(wanted, max_messages)
            if taken or not found:
                self.check_usable()
            if taken or (not found and self.is_over(wanted, wait)):
                return taken
            if not found:
                yield Pause(GLANCE_S)

    def dequeue(self, topics: Sequence[str], partition_key: Key | None) -> Flow[list[Message]]:
        """Return the next message of each topic; what was handed out before counts as done.

        Raises:
            QueueEmpty: nothing is left in one of them; what was taken is kept, as after any error.
        """
        self._come_back()
        taken: list[Message] = []
        try:
            for topic in topics:
                partition = None
                if partition_key is not None:
                    partition = yield from self.partition_of(topic, partition_key)
                found = yield from self._poll([topic], partition, 1, self.begin_wait(0.0))
                if not found:
                    raise QueueEmpty(f"QEmpty: nothing is left in topic {topic!r} for this member")
                taken += found
        except BaseException:
            self._take_back(taken)
            raise
        return taken

    def _take_back(self, messages: list[Message]) -> None:
        with self._state_lock:
            for message in reversed(messages):
                holding = self._held.get((message.topic, message.partition))
                if holding is not None and holding.handed == message.offset + 1:
                    holding.take_back(message)

    def _come_back(self) -> None:
        """Count what was handed out as done: the program asks for more."""
        self.check_usable()
        with self._state_lock:
            self._finish_in_hand()

    def _finish_in_hand(self) -> None:
        """Do it, with the lock held; partitions that are asked for can go now."""
        if not self.settings.auto_commit or not self._in_hand:
            return
        self._lost.clear()
        asked_for = False
        for holding in self._in_hand:
            holding.finish()
            asked_for = asked_for or holding.is_revoked
        self._in_hand.clear()
        if asked_for:
            self.hurry_beat()

    def _take(self, wanted: Collection[TopicPartition] | None, max_messages: int) -> list[Message]:
        """Hand out messages of one partition, with the lock held."""
        holding = self._choose(wanted)
        if holding is None:
            return []
        self._in_hand.add(holding)
        return holding.take(max_messages)

    def _choose(self, wanted: Collection[TopicPartition] | None) -> Holding | None:
        """Return the partition whose turn it is, with the lock held."""
        for where in self._rotation.after_last(sorted(self._held)):
            holding = self._held[where]
            if holding.ready and not holding.is_revoked and (wanted is None or where in wanted):
                self._rotation.answered(where, served=True)
                self._current = holding
                return holding
        return None

    # Offsets

    def commit(self, offsets: Mapping[TopicPartition, int] | None) -> Flow[None]:
        """Commit what was handed out, or given offsets.

        Raises:
            IllegalGeneration: a partition went to another member, which reads its messages again.
            InvalidRequest: an offset is beyond what was handed out.
        """
        self.check_usable()
        with self._state_lock:
            lost = self._lost
            if offsets is None:
                self._lost = set()
                for holding in self._in_hand:
                    holding.finish()
                self._in_hand.clear()
            else:
                lost = self._finish_to(offsets)
            wanted = [one for one in self._held.values() if one.to_commit]
            asked_for = any(one.is_revoked for one in self._held.values())
        failure: QueueError | None = None
        for holding in wanted:
            try:
                yield from self.commit_holding(holding, self.attempts())
            except IllegalGeneration:
                lost.add(holding.where)
            except QueueError as error:
                failure = failure or error
        if asked_for:
            self.hurry_beat()
        if failure is not None:
            raise failure
        if lost:
            raise IllegalGeneration(
                f"{_names(lost)} belongs to another member of group {self.settings.group!r} by"
                " now, which reads again what was not committed before; go on reading"
            )

    def _finish_to(self, offsets: Mapping[TopicPartition, int]) -> set[TopicPartition]:
        """Count as done what a program says, with the lock held; return what is not held."""
        lost = {where for where in offsets if where not in self._held}
        for where, offset in offsets.items():
            if where in lost:
                continue
            if not 0 <= offset <= self._held[where].handed:
                raise InvalidRequest(
                    f"offset {offset} of {_names([where])} was not handed out yet: this member is"
                    f" at {self._held[where].handed}; seek moves it without reading",
                    field="offset",
                )
        for where in offsets.keys() - lost:
            self._held[where].finished = offsets[where]
        return lost

    def seek(
        self,
        topic: str,
        partition: int | None,
        *,
        offset: int | None = None,
        timestamp: int | datetime | None = None,
    ) -> Flow[dict[int, int]]:
        """Move the group in one partition, or in all that this member holds of a topic."""
        self.require_registered(topic)
        if timestamp is not None:
            timestamp = timestamp_ms(timestamp)
        wanted = yield from self.partitions([topic], partition)
        moved: dict[int, int] = {}
        yield Acquire(self._reading_lock)
        try:
            for where in wanted:
                holding = self._held.get(where)
                if holding is not None and not holding.is_revoked:
                    moved[where[1]] = yield from self._move(holding, offset, timestamp)
                elif partition is not None:
                    raise Rebalancing(
                        f"{_names([where])} is not assigned to this member of group"
                        f" {self.settings.group!r}; the member that has it can seek"
                    )
        finally:
            self._reading_lock.release()
        return moved

    def _move(self, holding: Holding, offset: int | None, timestamp: int | None) -> Flow[int]:
        if offset is None:
            assert timestamp is not None, "one of the two is there"
            by_time = by_time_call(holding.where, timestamp)
            offset = int((yield from self.at_leader(by_time, self.attempts(), read_body))["offset"])
        call = commit_call(
            holding.where,
            self.settings.group,
            holding.generation,
            offset=offset,
            timeout_ms=self.config.request_timeout_ms,
        )
        yield Acquire(self._commit_lock)
        try:
            body = yield from self.at_leader(call, self.attempts(), read_body)
            with self._state_lock:
                holding.start_at(int(body["offset"]))
                self._in_hand.discard(holding)
            # The fetch that is out began where the group stood before.
            self._cancel(holding)
            return holding.handed
        finally:
            self._commit_lock.release()

    def size(self, topic: str) -> Flow[int]:
        """Return what is left in this member's partitions of a topic."""
        return sum(one.messages for one in (yield from self.lag(topic)))

    def lag(self, topics: str | Sequence[str] | None) -> Flow[list[Lag]]:
        """Return how far this member is behind in each partition that it holds."""
        names = list(self.registrations) if topics is None else topic_names(topics)
        for topic in names:
            self.require_registered(topic)
        yield from self.ensure_joined()
        yield Acquire(self._reading_lock)
        try:
            yield from self.start_holdings()
        finally:
            self._reading_lock.release()
        lags: list[Lag] = []
        for where in sorted(self._held):
            holding = self._held.get(where)
            if where[0] in names and holding is not None and holding.started:
                lags.append((yield from self._lag_of(holding)))
        return lags

    def _lag_of(self, holding: Holding) -> Flow[Lag]:
        end = yield from self._high_watermark(holding.where)
        with self._state_lock:
            offset = holding.handed
            oldest = holding.ready[0] if holding.ready else None
        if oldest is None and offset < end:
            fetched = yield from self.fetch(
                *holding.where, offset, max_bytes=1, wait_ms=0, replica=None
            )
            oldest = fetched.messages[0] if fetched.messages else None
        age_ms = self.clock.wall_ms() - oldest.timestamp if oldest is not None else 0
        return Lag(*holding.where, max(0, end - offset), max(0, age_ms) / 1000)

    # The end

    def refuse_calls(self) -> None:
        """Hand out nothing more: the consumer closes."""
        with self._state_lock:
            self.closing = True

    def give_back(self) -> Flow[None]:
        """Commit what the program is done with, and leave the group."""
        with self._state_lock:
            wanted = [one for one in self._held.values() if one.to_commit]
        deadline_s = self.clock.monotonic() + self.config.close_timeout_ms / 1000
        for holding in wanted:
            try:
                yield from self.commit_holding(
                    holding, Attempts(self.config, deadline_s=deadline_s)
                )
            except QueueError as error:
                warn(
                    "the last commit of %s/%d by group %s failed, some messages are read again: %s",
                    *(*holding.where, self.settings.group, error),
                )
        yield from self.leave()

    def forget(self) -> Flow[None]:
        """Leave the group, and have the cluster forget this member's registrations."""
        yield from self.give_back()
        yield from super().forget()

    def drop_popped(self) -> None:
        """Do nothing: a group pops nothing."""


def grouped(core: object, what: str) -> GroupReading:
    """Return the core of a member of a group.

    Raises:
        InvalidRequest: it is none.
    """
    if not isinstance(core, GroupReading):
        raise InvalidRequest(
            f"{what} belongs to consumers with a group, and this one has none: its cursors move"
            ' with every message that it takes; make it with group="...", to say yourself what is'
            " done",
            field="group",
        )
    return core


def _names(partitions: Iterable[TopicPartition]) -> str:
    return ", ".join(f"{topic}/{index}" for topic, index in sorted(partitions))
