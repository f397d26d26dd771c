"""Committed offsets, lag and generation of consumer groups, asked of the leaders of partitions."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from msgspec.structs import asdict

from http_base.cluster import GroupForgetHere
from http_base.tasks import gather_bounded
from manager_app.proxy.partition_calls import PartitionCall
from myqueue.contract.answers import CursorPlace, Done, GroupCommitted, GroupOffset
from myqueue.contract.errors import GroupNotFound, QueueError
from myqueue.contract.group_inputs import Offsets, OffsetsCommit
from myqueue.contract.inputs import MAX_TIMEOUT_MS
from myqueue.contract.rules.assignors import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from manager_app.metadata import MetadataCopy, PartitionMetadata
    from manager_app.proxy.partition_calls import PartitionCalls

logger = logging.getLogger(__name__)

PARTITIONS_AT_ONCE = 64
"""Partitions whose leaders one call asks at once."""
ASK_LIMIT_S = 1.5
"""For all partitions together, while a caller waits for the answer."""
ASK_TIMEOUT_MS = 1_000
FORGET_TIMEOUT_MS = 5_000


class Unsaid(Enum):
    """Why the offset of a group in a partition is not known."""

    NOT_THERE = "the partition does not know the group"
    NO_ANSWER = "no leader answered in time"


@dataclass(frozen=True, slots=True)
class GroupCommit:
    """Who commits."""

    group: str
    generation: int
    deadline_s: float
    """Loop time by which the partition has to answer."""


class GroupOffsetCalls:
    """Asks leaders about groups; its coroutines belong to the manager's loop."""

    def __init__(self, metadata: MetadataCopy, calls: PartitionCalls) -> None:
        """Make an asker.

        Args:
            metadata: the copy with the topics and partitions.
            calls: calls the leaders of partitions.
        """
        self._metadata = metadata
        self._calls = calls

    async def ask(
        self,
        group: str,
        topics: Collection[str] | None = None,
        *,
        age: bool = False,
        asks_silent: bool = False,
        deadline_s: float | None = None,
    ) -> dict[TopicPartition, GroupOffset | Unsaid]:
        """Ask for the committed offset, lag and generation of a group in each partition.

        Args:
            group: its name.
            topics: names of topics; unknown ones are left out. None: all.
            age: ask for the age of the oldest message left, too.
            asks_silent: wait for brokers that have not answered for a while, too.
            deadline_s: loop time until which to wait; None: `ASK_LIMIT_S` from now.

        Returns:
            The answer of each partition's leader, or why there is none.
        """
        return await self.ask_partitions(
            group,
            self.partitions(topics),
            age=age,
            asks_silent=asks_silent,
            deadline_s=deadline_s,
        )

    async def ask_partitions(
        self,
        group: str,
        partitions: Collection[PartitionMetadata],
        *,
        age: bool = False,
        asks_silent: bool = False,
        deadline_s: float | None = None,
    ) -> dict[TopicPartition, GroupOffset | Unsaid]:
        """Ask some partitions as `ask` does."""
        found: dict[TopicPartition, GroupOffset | Unsaid] = {
            TopicPartition(one.topic, one.index): Unsaid.NO_ANSWER for one in partitions
        }

        timeout_ms = ASK_TIMEOUT_MS if deadline_s is None else MAX_TIMEOUT_MS

        async def ask(one: PartitionMetadata) -> None:
            where = TopicPartition(one.topic, one.index)
            call = replace(
                _offsets_call(one, group, age=age),
                timeout_ms=timeout_ms,
                deadline_s=deadline_s,
                asks_silent=asks_silent,
            )
            try:
                found[where] = await self._calls.call(call, GroupOffset)
            except GroupNotFound:
                found[where] = Unsaid.NOT_THERE
            except QueueError as error:
                logger.info("%s does not tell the offset of group %s: %s", one, group, error)

        try:
            ends_s = asyncio.get_running_loop().time() + ASK_LIMIT_S
            async with asyncio.timeout_at(ends_s if deadline_s is None else deadline_s):
                await gather_bounded((ask(one) for one in partitions), PARTITIONS_AT_ONCE)
        except TimeoutError:
            logger.info("not all partitions told the offset of group %s in time", group)
        return found

    async def generation_floor(self, group: str, topics: Collection[str]) -> int:
        """Return the highest generation of a group that the partitions of some topics know, or 0.

        They may know a higher one than the database: of a group that was deleted while they had no
        leader, or from before the database was lost.
        """
        answers = (await self.ask(group, topics, asks_silent=True)).values()
        return max((one.generation for one in answers if isinstance(one, GroupOffset)), default=0)

    async def forget(self, group: str) -> list[TopicPartition]:
        """Let every partition drop the state of a group; return those where that failed."""
        failed: list[TopicPartition] = []

        async def forget(one: PartitionMetadata) -> None:
            try:
                await self._calls.call(_forget_call(one, group), Done)
            except QueueError as error:
                logger.warning("%s still knows group %s: %s", one, group, error)
                failed.append(TopicPartition(one.topic, one.index))

        await gather_bounded((forget(one) for one in self.partitions(None)), PARTITIONS_AT_ONCE)
        return sorted(failed)

    async def find_time(
        self, partition: PartitionMetadata, timestamp: int, deadline_s: float
    ) -> int:
        """Return the first offset at or after a time, the high watermark when all is older.

        Raises:
            QueueError: the leader did not answer by then, in loop time.
        """
        call = PartitionCall(
            partition,
            "GET",
            "/offsets/by-time",
            {"topic": partition.topic, "partition": partition.index, "timestamp": timestamp},
            timeout_ms=MAX_TIMEOUT_MS,
            deadline_s=deadline_s,
            repeatable=True,
            tells_timeout=False,
        )
        return (await self._calls.call(call, CursorPlace)).offset

    async def commit(
        self, partition: PartitionMetadata, commit: GroupCommit, offset: int | None
    ) -> GroupCommitted:
        """Move a group in a partition; without an offset make its generation known there.

        Raises:
            QueueError: the leader refused it, or did not answer in time.
        """
        fields = OffsetsCommit(
            topic=partition.topic,
            partition=partition.index,
            group=commit.group,
            generation=commit.generation,
            offset=offset,
        )
        call = PartitionCall(
            partition,
            "POST",
            "/offsets/commit",
            asdict(fields),
            timeout_ms=MAX_TIMEOUT_MS,
            deadline_s=commit.deadline_s,
            repeatable=True,
        )
        return await self._calls.call(call, GroupCommitted)

    def partitions(self, topics: Iterable[str] | None) -> list[PartitionMetadata]:
        """Return the partitions of topics by topic and index; unknown ones are left out.

        Args:
            topics: their names. None: all.
        """
        present = self._metadata.current.topics
        names = present if topics is None else sorted(topics)
        return [one for name in names if name in present for one in present[name].partitions]


def _offsets_call(partition: PartitionMetadata, group: str, *, age: bool) -> PartitionCall:
    return PartitionCall(
        partition,
        "GET",
        "/offsets",
        asdict(Offsets(topic=partition.topic, partition=partition.index, group=group, age=age)),
        timeout_ms=ASK_TIMEOUT_MS,
        repeatable=True,
    )


def _forget_call(partition: PartitionMetadata, group: str) -> PartitionCall:
    return PartitionCall(
        partition,
        "POST",
        "/groups/forget",
        asdict(GroupForgetHere(topic=partition.topic, partition=partition.index, group=group)),
        timeout_ms=FORGET_TIMEOUT_MS,
        repeatable=True,
    )
