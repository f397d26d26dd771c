"""Moving a consumer group to other offsets, while nobody reads in it.

A group of members is held without members and under a generation of its own: the partition first
learns that generation, which fences whoever still reads, and tells where the group is; then it is
moved. Groups of queue workers have no generation; their partitions refuse while messages are out.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import asdict, replace

from http_base.tasks import gather_bounded
from http_base.writes import DATABASE_FAILURES
from manager_app.groups.offsets import PARTITIONS_AT_ONCE, GroupCommit, Unsaid
from manager_app.models import Event, EventKind, EventOutcome
from manager_app.proxy.partition_calls import deadline_of
from manager_app.services.events import about, event_store
from myqueue.contract import retry_after
from myqueue.contract.answers import GroupOffset, GroupOffsetsMoved, OffsetMove
from myqueue.contract.errors import (
    DatabaseUnavailable,
    GroupActive,
    GroupNotFound,
    NoLeader,
    QueueError,
)
from myqueue.contract.records import MAX_TIMESTAMP
from myqueue.contract.rules.assignors import TopicPartition
from myqueue.contract.rules.offset_moves import GroupPlaceBefore, wanted_offset

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from manager_app.database import DatabaseThreads
    from manager_app.groups.coordinator import GroupCoordinator
    from manager_app.groups.offsets import GroupOffsetCalls
    from manager_app.metadata import PartitionMetadata, TopicMetadata
    from manager_app.selectors import StoredConsumerGroup
    from myqueue.contract.group_inputs import GroupOffsetsReset

logger = logging.getLogger(__name__)

ACTION = "group offsets"
"""Among the events."""
WORKERS_GENERATION = 0
"""Commits under it leave a group to workers."""

Said = GroupOffset | Unsaid


@dataclass(frozen=True, slots=True)
class Asker:
    """Who moves a group."""

    address: str
    name: str
    """As "the user 'ada'"; empty where nobody has to be known."""

    def __str__(self) -> str:
        """Return both."""
        return f"{self.name} at {self.address}" if self.name else self.address


@dataclass(frozen=True, slots=True)
class _Planned:
    """What is to be done in one partition."""

    partition: PartitionMetadata
    before: GroupPlaceBefore
    at_time: int | None
    after: int

    def move(self, *, moved: bool | None, error: QueueError | None = None) -> OffsetMove:
        """Return how it looks in the answer."""
        move = OffsetMove(
            partition=self.partition.index,
            before=self.before.offset,
            after=self.after,
            moved=moved,
        )
        return move if error is None else replace(move, reason=f"{error.code}: {error.message}")


@dataclass(frozen=True, slots=True)
class _Asked:
    """One call."""

    group: str
    topic: TopicMetadata
    reset: GroupOffsetsReset
    deadline_s: float
    """Loop time by which the partitions have to answer."""


class GroupOffsetMoves:
    """Moves groups; its coroutines belong to the manager's loop."""

    def __init__(
        self,
        groups: GroupCoordinator,
        offsets: GroupOffsetCalls,
        database: DatabaseThreads,
        *,
        now: Callable[[], datetime],
    ) -> None:
        """Make one.

        Args:
            groups: keeps members out meanwhile.
            offsets: asks partitions, and moves the group there.
            database: for the events.
            now: wall clock.
        """
        self._groups = groups
        self._offsets = offsets
        self._database = database
        self._now = now

    async def move(
        self, group: str, topic: TopicMetadata, reset: GroupOffsetsReset, *, by: Asker
    ) -> GroupOffsetsMoved:
        """Move a group in the partitions of a topic, or say what would be.

        Args:
            group: its name.
            topic: whose partitions.
            reset: where to.
            by: who asks, for the events.

        Raises:
            GroupNotFound: neither the database nor a partition knows it.
            PartitionNotFound: the topic has no such partition.
            GroupActive: somebody reads in it.
            NoLeader: a partition does not say where the group is; nothing was moved.
        """
        chosen = topic.chosen(reset.partitions)
        asked = _Asked(group, topic, reset, deadline_of(reset.timeout_ms))
        stored = await self._groups.known(group)
        said = await self._offsets.ask(
            group, [topic.name], asks_silent=True, deadline_s=asked.deadline_s
        )
        heard = [one for one in said.values() if isinstance(one, GroupOffset)]
        if stored is None and not heard:
            raise GroupNotFound(f"there is no consumer group {group!r}", field="group")
        plan = await self._plan(
            asked, {one: said.get(_place(one), Unsaid.NO_ANSWER) for one in chosen}
        )
        answer = GroupOffsetsMoved(
            group=group,
            topic=topic.name,
            dry_run=reset.dry_run,
            members=0 if stored is None else len(stored.state.members),
            partitions=[one.move(moved=False) for one in plan],
        )
        if reset.dry_run:
            return answer
        floor = max((one.generation for one in heard), default=0)
        event = self._event(answer, reset, by)
        if floor or not heard or _uses(stored, topic):
            moves = await self._move_members(asked, plan, floor, event)
        else:
            _require_idle(group, [said[_place(one.partition)] for one in plan])
            await self._database.run(event_store, event)
            moves = await self._move_all(asked, plan, WORKERS_GENERATION)
        logger.info("%s moved group %s in topic %s: %s", by, group, topic.name, moves)
        await self._complete(event, moves)
        return replace(answer, partitions=moves)

    async def _plan(self, asked: _Asked, said: Mapping[PartitionMetadata, Said]) -> list[_Planned]:
        """Find out where the group is to go on in each partition."""

        async def plan_one(partition: PartitionMetadata, one: Said) -> _Planned:
            if one is Unsaid.NO_ANSWER:
                raise NoLeader(
                    f"partition {partition.index} of topic {partition.topic!r} does not say where"
                    " the group is; nothing was moved",
                    retry_after_ms=retry_after.COMMIT_MS,
                )
            before, at_time = await self._look(partition, one, asked)
            after = wanted_offset(asked.reset, before, at_time=at_time)
            return _Planned(partition, before, at_time, after)

        return await gather_bounded((plan_one(*item) for item in said.items()), PARTITIONS_AT_ONCE)

    async def _look(
        self, partition: PartitionMetadata, said: Said, asked: _Asked
    ) -> tuple[GroupPlaceBefore, int | None]:
        """Return where the group is, and the offset of the time that is asked for."""
        find, deadline_s = self._offsets.find_time, asked.deadline_s
        timestamp = asked.reset.timestamp
        at_time = None
        if timestamp is not None:
            at_time = await find(partition, timestamp, deadline_s)
        if isinstance(said, GroupOffset):
            return GroupPlaceBefore(
                said.offset, said.log_start_offset, said.high_watermark
            ), at_time
        ends = [await find(partition, time, deadline_s) for time in (0, MAX_TIMESTAMP)]
        return GroupPlaceBefore(None, *ends), at_time

    async def _move_members(
        self, asked: _Asked, plan: Sequence[_Planned], floor: int, event: Event
    ) -> list[OffsetMove]:
        holding = self._groups.without_members(
            asked.group,
            asked.topic.name,
            floor=floor,
            force=asked.reset.force,
            also=lambda: event_store(event),
        )
        async with holding as generation:
            return await self._move_all(asked, plan, generation)

    async def _move_all(
        self, asked: _Asked, plan: Sequence[_Planned], generation: int
    ) -> list[OffsetMove]:
        return await gather_bounded(
            (self._move_surely(asked, one, generation) for one in plan), PARTITIONS_AT_ONCE
        )

    async def _move_surely(self, asked: _Asked, one: _Planned, generation: int) -> OffsetMove:
        """Move the group in a partition, again while it is refused for the moment alone."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                return await self._move_one(asked, one, generation)
            except QueueError as error:
                passes = error.retriable and error.outcome_known
                pause_s = (error.retry_after_ms or retry_after.COMMIT_MS) / 1000
                if not passes or loop.time() + pause_s >= asked.deadline_s:
                    return one.move(moved=False if error.outcome_known else None, error=error)
            await asyncio.sleep(pause_s)

    async def _move_one(self, asked: _Asked, planned: _Planned, generation: int) -> OffsetMove:
        """Fence off whoever still reads, which shows where the group is for good; then move it."""
        commit = GroupCommit(asked.group, generation, asked.deadline_s)
        if generation != WORKERS_GENERATION and planned.before.offset is not None:
            fenced = await self._offsets.commit(planned.partition, commit, None)
            before = dataclasses.replace(planned.before, offset=fenced.offset)
            after = wanted_offset(asked.reset, before, at_time=planned.at_time)
            planned = dataclasses.replace(planned, before=before, after=after)
        done = await self._offsets.commit(planned.partition, commit, planned.after)
        return replace(planned.move(moved=True), after=done.offset)

    def _event(self, answer: GroupOffsetsMoved, reset: GroupOffsetsReset, by: Asker) -> Event:
        asked = {name: value for name, value in asdict(reset).items() if value is not None}
        return Event(
            at=self._now(),
            kind=EventKind.ACTION,
            action=ACTION,
            text=f"Moving group {answer.group} in topic {answer.topic}",
            about=about(group=answer.group, topic=answer.topic),
            person=by.name.removeprefix("the "),
            origin=by.address,
            outcome=EventOutcome.UNKNOWN,
            details={"asked": asked, "members": answer.members},
        )

    async def _complete(self, event: Event, moves: list[OffsetMove]) -> None:
        """Say in the event what was done; the group is moved whether or not that succeeds."""
        done = sum(1 for move in moves if move.moved)
        moved = event.text.replace("Moving", "Moved", 1)
        event.text = f"{moved}: {done} of {len(moves)} partitions"
        event.outcome = EventOutcome.DONE if done == len(moves) else EventOutcome.FAILED
        try:
            await self._database.run(
                lambda: event_store(event, partitions=msgspec.to_builtins(moves))
            )
        except (DatabaseUnavailable, *DATABASE_FAILURES) as error:
            logger.warning("no event says what became of %s: %s", event, error)


def _place(partition: PartitionMetadata) -> TopicPartition:
    return TopicPartition(partition.topic, partition.index)


def _uses(stored: StoredConsumerGroup | None, topic: TopicMetadata) -> bool:
    return stored is not None and topic.name in stored.topics_used


def _require_idle(group: str, said: Sequence[Said]) -> None:
    """Check that workers have nothing out.

    Raises:
        GroupActive: they have.
    """
    out = sum(one.unsettled + one.dead for one in said if isinstance(one, GroupOffset))
    if out:
        raise GroupActive(
            f"workers of group {group!r} have {out} messages out: stop them, and wait until their"
            " visibility timeouts are over and dead letters are copied",
            field="group",
        )
