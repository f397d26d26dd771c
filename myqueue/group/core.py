"""The core of a consumer that is a member of a group: polls, iteration, offsets. Pure.

A message counts as finished when the program asks for the next one, or calls `commit`. Fetches run
ahead of the program, one per partition at a time. A fetch that finds nothing is a long poll at the
broker, so that prefetching and waiting are one.
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
from myqueue.group.assignment import Assignment
from myqueue.group.commits import Commits
from myqueue.group.membership import GroupMembership
from myqueue.group.read_ahead import GLANCE_S, ReadAhead
from myqueue.group.schedule import GroupSchedule
from myqueue.results import Lag
from myqueue.transport.blocking import read_body
from myqueue.transport.client_core import ClientCore
from myqueue.transport.clock import FOREVER_S
from myqueue.transport.complaints import warn
from myqueue.transport.effects import Acquire, Flow, Pause, TimeIsOver, within
from myqueue.transport.fetching import Fetcher, timestamp_ms
from myqueue.transport.group_calls import by_time_call
from myqueue.transport.retry import Attempts
from myqueue.transport.rotation import PartitionRotation, TopicPartition
from myqueue.transport.skipped_messages import CORRUPT, MISSED, SkippedMessages
from myqueue.transport.topic_names import no_count, topic_names

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from myqueue.contract.partitioner import Key
    from myqueue.group.assigned_partition import AssignedPartition
    from myqueue.group.commits import GroupSettings
    from myqueue.results import Message, Registration
    from myqueue.transport.rotation import Wait
    from myqueue.transport.session import Session


class GroupCore(ClientCore):
    """The core of `Consumer` and `AsyncConsumer` with a group; the methods of `ConsumerCore`.

    Args:
        session: of a consumer.
        settings: the group and how it is read.

    Attributes:
        fetcher: reads from an offset.
        assignment: the partitions of this member.
        membership: its heartbeats to the managers.
        corrupt: counts what was stepped over because nobody can decode it.
        missed: counts what retention deleted before this member read it.
    """

    def __init__(self, session: Session, settings: GroupSettings) -> None:
        super().__init__(session)
        self.settings = settings
        self.group_name = settings.group
        self.fetcher = Fetcher(session)
        self._make_parts()

    def _make_parts(self) -> None:
        session, settings = self.session, self.settings
        self.corrupt = SkippedMessages(CORRUPT)
        self.missed = SkippedMessages(MISSED)
        self.assignment = Assignment(settings.group)
        self._schedule = GroupSchedule(session)
        self._commits = Commits(session, settings, self.assignment, self._schedule)
        self.membership = GroupMembership(
            session,
            settings,
            assignment=self.assignment,
            commits=self._commits,
            schedule=self._schedule,
        )
        self.read_ahead = ReadAhead(
            session,
            settings,
            assignment=self.assignment,
            commits=self._commits,
            schedule=self._schedule,
            corrupt=self.corrupt,
            missed=self.missed,
        )
        self._rotation = PartitionRotation()
        self._in_hand: set[AssignedPartition] = set()
        """Partitions of which messages were handed out since the program came back last."""
        self._current: AssignedPartition | None = None
        """The partition that an iteration reads."""

    def restart_after_fork(self) -> None:
        """Start anew in the child as another member, which joins at its first call."""
        super().restart_after_fork()
        self._make_parts()

    # Registrations and heartbeats

    def open(
        self, topics: Iterable[str], attach: dict[str, Registration] | None = None
    ) -> Flow[None]:
        """Register for the topics, then join the group."""
        yield from self.session.open(topics, attach)
        yield from self.membership.ensure_joined()

    def register_all(self, topics: Sequence[str]) -> Flow[list[Registration]]:
        """Register for further topics, and read them as the group's member."""
        return self.session.register_all(topics, lambda _: self.membership.topics_changed())

    def beat(self) -> Flow[None]:
        """Send the heartbeats that are due, commit, and give revoked partitions up."""
        now_s = self.session.clock.monotonic()
        yield from self.membership.beat(now_s)
        # Last: the group's heartbeats are due more often, and others wait for revoked partitions.
        if now_s >= self.session.beat_due_s:
            yield from self.session.beat()

    def forget(self) -> Flow[None]:
        """Leave the group, and have the cluster forget this member's registrations."""
        yield from self.give_back()
        yield from self.session.forget()

    # Messages

    def hand_out(self) -> Message | None:
        """Return the next message for an iteration; None when `fill` has to be driven first."""
        with self.assignment.lock:
            if self.session.closing:
                return None
            self._finish_in_hand()
            assigned = self._current
            if assigned is None or not assigned.ready or assigned.is_revoked:
                return None
            if self.assignment.held.get(assigned.where) is not assigned:
                return None
            if (
                assigned.refill_due
                and len(assigned.ready) * 2 < self.session.config.prefetch_messages
            ):
                assigned.refill_due = False
                return None
            self._in_hand.add(assigned)
            return assigned.take_one()

    def fill(self) -> Flow[list[Message]]:
        """Wait without limit until `hand_out` has a message; return nothing."""
        wait = self.session.begin_wait(None)
        while True:
            yield from self.membership.ensure_joined()
            found = yield from self.read_ahead.gather(None, FOREVER_S, wait)
            with self.assignment.lock:
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

        What was handed out before counts as finished.
        """
        if type(max_messages) is not int or max_messages < 1:
            raise no_count(max_messages)
        self._come_back()
        names = None if topics is None else topic_names(topics)
        wait = self.session.begin_wait(timeout)
        flow = self._poll(names, partition, max_messages, wait)
        if not wait.is_bounded:
            return (yield from flow)
        try:
            return (yield from within(flow, self.session.clock, wait.limit_s))
        except TimeIsOver:
            self.read_ahead.is_over(None, wait)
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
            names = list(self.session.registrations) if topics is None else topics
            wanted = set((yield from self.session.partitions(names, partition)))
        while True:
            remaining_s = max(0.0, wait.deadline_s - self.session.clock.monotonic())
            yield from self.membership.ensure_joined()
            found = yield from self.read_ahead.gather(wanted, remaining_s, wait)
            with self.assignment.lock:
                taken = [] if self.session.closing else self._take(wanted, max_messages)
            if taken or not found:
                self.session.check_usable()
            if taken or (not found and self.read_ahead.is_over(wanted, wait)):
                return taken
            if not found:
                yield Pause(GLANCE_S)

    def dequeue(self, topics: Sequence[str], key: Key | None) -> Flow[list[Message]]:
        """Return the next message of each topic; what was handed out before counts as finished.

        Raises:
            QueueEmpty: nothing is left in one of them; what was taken is kept, as after any error.
        """
        self._come_back()
        taken: list[Message] = []
        try:
            for topic in topics:
                partition = None
                if key is not None:
                    partition = yield from self.session.partition_of(topic, key)
                found = yield from self._poll([topic], partition, 1, self.session.begin_wait(0.0))
                if not found:
                    raise QueueEmpty(f"QEmpty: nothing is left in topic {topic!r} for this member")
                taken += found
        except BaseException:
            self._take_back(taken)
            raise
        return taken

    def _take_back(self, messages: list[Message]) -> None:
        with self.assignment.lock:
            for message in reversed(messages):
                assigned = self.assignment.held.get((message.topic, message.partition))
                if assigned is not None and assigned.handed == message.offset + 1:
                    assigned.take_back(message)

    def _come_back(self) -> None:
        """Count what was handed out as finished: the program asks for more."""
        self.session.check_usable()
        with self.assignment.lock:
            self._finish_in_hand()

    def _finish_in_hand(self) -> None:
        """Finish what is handed out, with the lock held; revoked partitions can be given up now."""
        if not self.settings.auto_commit or not self._in_hand:
            return
        self.assignment.lost.clear()
        asked_for = False
        for assigned in self._in_hand:
            assigned.finish()
            asked_for = asked_for or assigned.is_revoked
        self._in_hand.clear()
        if asked_for:
            self._schedule.hurry()

    def _take(self, wanted: Collection[TopicPartition] | None, max_messages: int) -> list[Message]:
        """Hand out messages of one partition, with the lock held."""
        assigned = self._choose(wanted)
        if assigned is None:
            return []
        self._in_hand.add(assigned)
        return assigned.take(max_messages)

    def _choose(self, wanted: Collection[TopicPartition] | None) -> AssignedPartition | None:
        """Return the partition that is next in turn, with the lock held."""
        for where in self._rotation.after_last(sorted(self.assignment.held)):
            assigned = self.assignment.held[where]
            if assigned.ready and not assigned.is_revoked and (wanted is None or where in wanted):
                self._rotation.answered(where, served=True)
                self._current = assigned
                return assigned
        return None

    # Offsets

    def commit(self, offsets: Mapping[TopicPartition, int] | None) -> Flow[None]:
        """Commit what was handed out, or given offsets.

        Raises:
            IllegalGeneration: a partition went to another member, which reads its messages again.
            InvalidRequest: an offset is beyond what was handed out.
        """
        self.session.check_usable()
        with self.assignment.lock:
            lost = self.assignment.lost
            if offsets is None:
                self.assignment.lost = set()
                for assigned in self._in_hand:
                    assigned.finish()
                self._in_hand.clear()
            else:
                lost = self._finish_to(offsets)
            wanted = [one for one in self.assignment.held.values() if one.to_commit]
            asked_for = any(one.is_revoked for one in self.assignment.held.values())
        failure: QueueError | None = None
        for assigned in wanted:
            try:
                yield from self._commits.commit(assigned, self.session.attempts())
            except IllegalGeneration:
                lost.add(assigned.where)
            except QueueError as error:
                failure = failure or error
        if asked_for:
            self._schedule.hurry()
        if failure is not None:
            raise failure
        if lost:
            raise IllegalGeneration(
                f"{_names(lost)} belongs to another member of group {self.settings.group!r} by"
                " now, which reads again what was not committed before; go on reading"
            )

    def _finish_to(self, offsets: Mapping[TopicPartition, int]) -> set[TopicPartition]:
        """Finish up to given offsets, with the lock held; return partitions that are not owned."""
        lost = {where for where in offsets if where not in self.assignment.held}
        for where, offset in offsets.items():
            if where in lost:
                continue
            if not 0 <= offset <= self.assignment.held[where].handed:
                raise InvalidRequest(
                    f"offset {offset} of {_names([where])} was not handed out yet: this member is"
                    f" at {self.assignment.held[where].handed}; seek moves it without reading",
                    field="offset",
                )
        for where in offsets.keys() - lost:
            self.assignment.held[where].finished = offsets[where]
        return lost

    def seek(
        self,
        topic: str,
        partition: int | None,
        *,
        offset: int | None = None,
        timestamp: float | datetime | None = None,
    ) -> Flow[dict[int, int]]:
        """Move the group's offset in one partition, or in all of a topic that this member owns."""
        self.session.require_registered(topic)
        if timestamp is not None:
            timestamp = timestamp_ms(timestamp)
        wanted = yield from self.session.partitions([topic], partition)
        moved: dict[int, int] = {}
        yield Acquire(self.read_ahead.lock)
        try:
            for where in wanted:
                assigned = self.assignment.held.get(where)
                if assigned is not None and not assigned.is_revoked:
                    moved[where[1]] = yield from self._move(assigned, offset, timestamp)
                elif partition is not None:
                    raise Rebalancing(
                        f"{_names([where])} is not assigned to this member of group"
                        f" {self.settings.group!r}; the member that has it can seek"
                    )
        finally:
            self.read_ahead.lock.release()
        return moved

    def _move(
        self, assigned: AssignedPartition, offset: int | None, timestamp: int | None
    ) -> Flow[int]:
        if offset is None:
            assert timestamp is not None, "one of the two is there"
            by_time = by_time_call(assigned.where, timestamp)
            attempts = self.session.attempts()
            found = yield from self.session.at_leader(by_time, attempts, read_body)
            offset = int(found["offset"])
        yield from self._commits.move(assigned, offset)
        with self.assignment.lock:
            self._in_hand.discard(assigned)
        # The fetch that is out began where the group stood before.
        self.read_ahead.cancel(assigned)
        return assigned.handed

    def size(self, topic: str) -> Flow[int]:
        """Return what is left in this member's partitions of a topic."""
        return sum(one.messages for one in (yield from self.lag(topic)))

    def lag(self, topics: str | Sequence[str] | None) -> Flow[list[Lag]]:
        """Return the lag of each partition that this member owns."""
        names = list(self.session.registrations) if topics is None else topic_names(topics)
        for topic in names:
            self.session.require_registered(topic)
        yield from self.membership.ensure_joined()
        yield Acquire(self.read_ahead.lock)
        try:
            yield from self.read_ahead.start_new()
        finally:
            self.read_ahead.lock.release()
        lags: list[Lag] = []
        for where in sorted(self.assignment.held):
            assigned = self.assignment.held.get(where)
            if where[0] in names and assigned is not None and assigned.started:
                lags.append((yield from self._lag_of(assigned)))
        return lags

    def _lag_of(self, assigned: AssignedPartition) -> Flow[Lag]:
        end = yield from self.fetcher.high_watermark(assigned.where)
        with self.assignment.lock:
            offset = assigned.handed
            oldest = assigned.ready[0] if assigned.ready else None
        if oldest is None and offset < end:
            oldest = yield from self.fetcher.first_message(assigned.where, offset)
        age_ms = self.session.clock.wall_ms() - oldest.timestamp if oldest is not None else 0
        return Lag(*assigned.where, max(0, end - offset), max(0, age_ms) / 1000)

    # The end

    def refuse_calls(self) -> None:
        """Hand out nothing more: the consumer closes."""
        with self.assignment.lock:
            self.session.closing = True

    def give_back(self) -> Flow[None]:
        """Commit what is finished, and leave the group."""
        with self.assignment.lock:
            wanted = [one for one in self.assignment.held.values() if one.to_commit]
        deadline_s = self.session.clock.monotonic() + self.session.config.close_timeout_ms / 1000
        for assigned in wanted:
            try:
                yield from self._commits.commit(
                    assigned, Attempts(self.session.config, deadline_s=deadline_s)
                )
            except QueueError as error:
                warn(
                    "the last commit of %s/%d by group %s failed, some messages are read again: %s",
                    *(*assigned.where, self.settings.group, error),
                )
        yield from self.membership.leave()

    def drop_popped(self) -> None:
        """Do nothing: a group pops nothing."""

    def stop_waiting(self) -> None:
        """Cancel the fetches in flight; a flow that waits does it at its end."""
        self.read_ahead.close()


def grouped(core: object, what: str) -> GroupCore:
    """Return the core of a member of a group.

    Raises:
        InvalidRequest: it is none.
    """
    if not isinstance(core, GroupCore):
        raise InvalidRequest(
            f"{what} belongs to consumers with a group, and this one has none: its cursors move"
            ' with every message that it takes; make it with group="...", to say yourself what is'
            " done",
            field="group",
        )
    return core


def _names(partitions: Iterable[TopicPartition]) -> str:
    return ", ".join(f"{topic}/{index}" for topic, index in sorted(partitions))
