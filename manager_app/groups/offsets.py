"""What the partitions know of consumer groups, asked of their leaders, many at once."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from http_base.tasks import bounded
from manager_app.proxy.partition_calls import PartitionCall
from myqueue.contract.errors import GroupNotFound, QueueError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from manager_app.metadata import MetadataCopy, PartitionMetadata
    from manager_app.proxy.partition_calls import PartitionCalls

logger = logging.getLogger(__name__)

PARTITIONS_AT_ONCE = 64
"""Partitions that one call asks at once."""
ASK_LIMIT_S = 1.5
"""For all partitions together, while somebody waits for the answer."""
ASK_TIMEOUT_MS = 1_000
FORGET_TIMEOUT_MS = 5_000

Place = tuple[str, int]
"""Topic and partition."""


class GroupOffsetCalls:
    """Asks brokers about groups; its coroutines belong to the manager's loop."""

    def __init__(self, metadata: MetadataCopy, calls: PartitionCalls) -> None:
        """Take what it needs."""
        self._metadata = metadata
        self._calls = calls

    async def ask(
        self, group: str, topics: Collection[str] | None = None
    ) -> dict[Place, dict[str, Any] | None]:
        """Ask where a group is.

        Args:
            group: its name.
            topics: names of topics; those that are not there are left out. None: all.

        Returns:
            Of each partition what its leader said: `GET /offsets` on a broker describes it; {}
            when it does not know the group. None where no leader answered in time.
        """
        partitions = self._partitions(topics)
        found: dict[Place, dict[str, Any] | None] = {
            (one.topic, one.index): None for one in partitions
        }

        async def ask(one: PartitionMetadata) -> None:
            try:
                found[one.topic, one.index] = await self._calls.call(_offsets_call(one, group))
            except GroupNotFound:
                found[one.topic, one.index] = {}
            except QueueError as error:
                logger.info("%s does not say where group %s is: %s", one, group, error)

        try:
            async with asyncio.timeout(ASK_LIMIT_S):
                await bounded((ask(one) for one in partitions), PARTITIONS_AT_ONCE)
        except TimeoutError:
            logger.info("not all partitions said in time where group %s is", group)
        return found

    async def generation_floor(self, group: str, topics: Collection[str]) -> int:
        """Return the highest generation of a group that partitions of topics know of, or 0.

        Partitions may know of one that the database does not: of a group that was deleted while
        they were away, or from before the database was lost.
        """
        answers = (await self.ask(group, topics)).values()
        return max((_whole(answer, "generation") for answer in answers if answer), default=0)

    async def forget(self, group: str) -> list[Place]:
        """Let every partition forget a group; return those where that failed."""
        failed: list[Place] = []

        async def forget(one: PartitionMetadata) -> None:
            try:
                await self._calls.call(_forget_call(one, group))
            except QueueError as error:
                logger.warning("%s still knows group %s: %s", one, group, error)
                failed.append((one.topic, one.index))

        await bounded((forget(one) for one in self._partitions(None)), PARTITIONS_AT_ONCE)
        return sorted(failed)

    def _partitions(self, topics: Iterable[str] | None) -> list[PartitionMetadata]:
        present = self._metadata.current.topics
        names = present if topics is None else sorted(topics)
        return [one for name in names if name in present for one in present[name].partitions]


def _offsets_call(partition: PartitionMetadata, group: str) -> PartitionCall:
    return PartitionCall(
        partition,
        "GET",
        "/offsets",
        {"topic": partition.topic, "partition": partition.index, "group": group},
        timeout_ms=ASK_TIMEOUT_MS,
        repeatable=True,
    )


def _forget_call(partition: PartitionMetadata, group: str) -> PartitionCall:
    return PartitionCall(
        partition,
        "POST",
        "/groups/forget",
        {"topic": partition.topic, "partition": partition.index, "group": group},
        timeout_ms=FORGET_TIMEOUT_MS,
        repeatable=True,
    )


def _whole(answer: dict[str, Any], name: str) -> int:
    value = answer.get(name)
    return value if type(value) is int else 0
