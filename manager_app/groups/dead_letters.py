"""Dead letters sent back to where they came from, as a worker of a group on their topic does.

Whatever is received for the first time was never sent. Whatever comes again may have been sent by a
run that was cut off in between: its origin is searched for it first, from the original message on.
So a crash costs time and doubles nothing; `myqueue redrive` does the same, and shares the work.

A letter says in its headers where it died, and whoever may produce to its topic may write them. It
goes back only to the topic that is asked for; letters of others are left where they are.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING

import msgspec

from http_base.paging import page_of
from http_base.tasks import cancel, gather_bounded, spawn
from manager_app.answers import LettersOf, TopicRedriven
from manager_app.browsing.filters import MessageFilter
from manager_app.browsing.reading import ScanLimits, scan
from manager_app.groups.offsets import Unsaid
from manager_app.groups.standings import dead_letter_topic
from manager_app.proxy.partition_calls import PartitionCall, deadline_of
from myqueue.contract.answers import (
    Appended,
    GroupOffset,
    PartitionFetched,
    PartitionReceived,
    SettledList,
)
from myqueue.contract.errors import OffsetOutOfRange, QueueError
from myqueue.contract.group_inputs import DEAD_LETTER_SUFFIX, MAX_DELIVERY_LIMIT, MAX_RECEIPTS
from myqueue.contract.inputs import MAX_FETCH_BYTES
from myqueue.contract.partitioner import partition_for_key
from myqueue.contract.records import MAX_TIMESTAMP, Record, encode_batch, request_digest
from myqueue.contract.rules.assignors import TopicPartition
from myqueue.contract.rules.dead_letters import (
    REDRIVE_GROUP,
    REDRIVEN_FROM,
    death_of,
    mark_of,
    returning_headers,
)

if TYPE_CHECKING:
    from typing import Any, TypeVar

    from http_base.paging import Page
    from manager_app.browsing.reading import Scan
    from manager_app.groups.standings import Overview
    from manager_app.inputs import DeadLettersQuery, TopicRedrive
    from manager_app.metadata import PartitionMetadata, TopicMetadata
    from manager_app.runtime import ManagerRuntime
    from myqueue.contract.answers import DeliveredMessage

    _A = TypeVar("_A", bound=msgspec.Struct)

logger = logging.getLogger(__name__)

REDRIVE_PRODUCER = (1 << 62) - 2
"""Producer id of what is sent back. Managers never give it to a program."""
BATCH_MESSAGES = 50
"""Letters that are out at once: fewer than the request ids that a partition remembers."""
VISIBILITY_MS = 60_000
"""After this another run may take over what one had received when it was cut off."""
OTHERS_MAX = MAX_RECEIPTS - BATCH_MESSAGES
"""Letters of other topics that are passed over in one partition; behind them it is left alone."""
CALL_TIMEOUT_MS = 5_000
"""For one call of one partition."""
PARTITIONS_AT_ONCE = 64
"""Partitions that are asked at once how many letters they have."""
TOPICS_AT_ONCE = 8
"""Topics that are counted at once."""
LOOK_LIMITS = ScanLimits(messages=2_000, seconds=1.5)
LOOK_LIMIT_S = 30.0
"""For a look, or for counting a page of topics; their own limits are shorter."""


async def redrive(
    runtime: ManagerRuntime, topic: TopicMetadata, asked: TopicRedrive
) -> TopicRedriven:
    """Send dead letters of a topic back to it, those that are there now, oldest first.

    Args:
        runtime: of this manager.
        topic: where they go.
        asked: from where, and how many at most.

    Returns:
        How many went back; `reason` says what ended it before the last.

    Raises:
        TopicDoesNotExist: there is no topic with dead letters.
        QueueError: none went back, and why.
    """
    letters = await runtime.find_topic(asked.dead_letter_topic or topic.name + DEAD_LETTER_SUFFIX)
    run = _Run(
        runtime,
        topic,
        letters,
        max_messages=asked.max_messages,
        deadline_s=deadline_of(asked.timeout_ms),
        is_alone=await _is_alone(runtime, letters.name),
    )
    try:
        for partition in letters.partitions:
            await run.empty(partition)
            if run.is_over:
                break
    except QueueError as error:
        if not run.done:
            raise
        run.reason = f"{error.code}: {error.message}"
    return TopicRedriven(
        topic=topic.name,
        dead_letter_topic=letters.name,
        redriven=run.done,
        others=run.others,
        left=await letters_left(runtime, letters),
        reason=run.reason or msgspec.UNSET,
    )


async def letters_left(runtime: ManagerRuntime, letters: TopicMetadata) -> int | None:
    """Return how many dead letters a topic has that were not sent back; None when not all say."""
    said = await runtime.group_offsets.ask(REDRIVE_GROUP, [letters.name], asks_silent=True)
    deadline_s = deadline_of(2_000)

    async def left_in(partition: PartitionMetadata) -> int | None:
        told = said.get(TopicPartition(letters.name, partition.index), Unsaid.NO_ANSWER)
        if isinstance(told, GroupOffset):
            return told.lag
        if told is Unsaid.NO_ANSWER:
            return None
        find = runtime.group_offsets.find_time
        try:
            begin = await find(partition, 0, deadline_s)
            return await find(partition, MAX_TIMESTAMP, deadline_s) - begin
        except QueueError:
            return None  # which is told

    counts = await gather_bounded(map(left_in, letters.partitions), PARTITIONS_AT_ONCE)
    return None if None in counts else sum(one or 0 for one in counts)


async def _is_alone(runtime: ManagerRuntime, letters: str) -> bool:
    """Tell whether no other group can have sent letters back: `myqueue redrive --group` may."""
    told = await runtime.standings.ask()
    return told.is_whole and not any(
        name != REDRIVE_GROUP and letters in topics for name, topics in told.work_groups.items()
    )


async def places_of_letters(
    runtime: ManagerRuntime, told: Overview, asked: DeadLettersQuery
) -> Page[LettersOf]:
    """Return groups of workers with the topics that have their dead letters, and how many.

    Args:
        runtime: of this manager.
        told: where groups are.
        asked: which.
    """
    places = [
        (group, topic, dead_letter_topic(standing))
        for group, of in sorted(told.by_group.items())
        for topic, standing in sorted(of.items())
        if standing.is_workers
        and asked.group in ("", group)
        and asked.topic in ("", topic)
        and f"{group}/{topic}" > asked.after
    ]
    topics = runtime.metadata.current.topics
    there = sorted(
        (f"{group}/{topic}", group, topic, letters)
        for group, topic, letters in places
        if letters in topics
    )
    page = page_of(there, asked.limit, itemgetter(0))
    names = sorted({letters for *_, letters in page.rows})
    counts = await gather_bounded(
        (letters_left(runtime, topics[name]) for name in names), TOPICS_AT_ONCE
    )
    left = dict(zip(names, counts, strict=True))
    return page.map(
        lambda row: LettersOf(
            group=row[1], topic=row[2], dead_letter_topic=row[3], left=left[row[3]]
        )
    )


async def look_at(
    runtime: ManagerRuntime, letters: TopicMetadata, *, most: int
) -> tuple[int | None, Scan]:
    """Return how many letters were not sent back, and the oldest of them.

    Args:
        runtime: of this manager.
        letters: the topic with the letters.
        most: that are returned.
    """
    counting = spawn("counting dead letters", letters_left(runtime, letters))
    try:
        said = await runtime.group_offsets.ask(REDRIVE_GROUP, [letters.name])
        begins = {
            place.partition: one.offset if isinstance(one, GroupOffset) else 0
            for place, one in said.items()
        }
        limits = dataclasses.replace(LOOK_LIMITS, found=most)
        found = await scan(runtime, letters, begins, wanted=MessageFilter(), limits=limits)
        return await counting, found
    finally:
        await cancel([counting])


@dataclass
class _Run:
    """One redrive."""

    runtime: ManagerRuntime
    topic: TopicMetadata
    letters: TopicMetadata
    max_messages: int
    deadline_s: float
    is_alone: bool
    """False where another group may have sent letters back, which is not known here."""
    done: int = 0
    others: int = 0
    reason: str = ""

    @property
    def is_over(self) -> bool:
        """Tell whether enough were sent, or the time is over."""
        ends_s = self.deadline_s - CALL_TIMEOUT_MS / 1000
        return self.done >= self.max_messages or asyncio.get_running_loop().time() >= ends_s

    async def empty(self, partition: PartitionMetadata) -> None:
        """Send back what a partition has now, up to the most that is asked for."""
        end = await self.runtime.group_offsets.find_time(partition, MAX_TIMESTAMP, self.deadline_s)
        held: list[DeliveredMessage] = []
        try:
            while not self.is_over and len(held) < OTHERS_MAX:
                wanted = min(BATCH_MESSAGES, self.max_messages - self.done)
                received = await self._receive(partition, wanted)
                held += received
                for letter in received:
                    if letter.offset < end and self._is_mine(letter) and not self.is_over:
                        held.remove(letter)
                        await self._send_back(partition, letter)
                # What died after the beginning is left alone, or a message that dies again and
                # again would keep this here for ever.
                if not received or any(one.offset >= end for one in received):
                    break
        finally:
            self.others += sum(not self._is_mine(one) for one in held)
            await self._give_back(partition, held)

    def _is_mine(self, letter: DeliveredMessage) -> bool:
        return death_of(letter.headers).topic in ("", self.topic.name)

    async def _give_back(
        self, partition: PartitionMetadata, letters: list[DeliveredMessage]
    ) -> None:
        if not letters:
            return
        try:
            await self._settle(partition, "/messages/nack", letters)
        except QueueError as error:
            logger.info("%d letters come back when their time is over: %s", len(letters), error)

    async def _send_back(self, partition: PartitionMetadata, letter: DeliveredMessage) -> None:
        mark = mark_of(self.letters.name, partition.index, letter.offset)
        target = self._target(letter)
        is_first = self.is_alone and letter.delivery_count == 1
        if is_first or not await self._was_sent(target, letter, mark):
            headers = returning_headers(letter.headers, mark)
            record = Record(letter.message, letter.key, headers, letter.timestamp)
            batch = encode_batch(
                [record], producer_id=REDRIVE_PRODUCER, request_digest=request_digest(mark)
            )
            fields = {"producer_id": REDRIVE_PRODUCER}
            await self._call(target, "/producer/produce", fields, Appended, batch=batch)
        await self._settle(partition, "/messages/ack", [letter])
        self.done += 1

    def _target(self, letter: DeliveredMessage) -> PartitionMetadata:
        """Return where a letter goes: its own partition, if it is known."""
        count, index = len(self.topic.partitions), death_of(letter.headers).partition
        if not 0 <= index < count:
            key = letter.offset if letter.key is None else letter.key
            index = partition_for_key(key, count)
        return self.topic.partition(index)

    async def _was_sent(
        self, target: PartitionMetadata, letter: DeliveredMessage, mark: str
    ) -> bool:
        """Tell whether an earlier run has sent a letter back already."""
        offset = death_of(letter.headers).offset + 1
        while True:
            fields = {"offset": offset, "max_bytes": MAX_FETCH_BYTES}
            try:
                fetched = await self._call(target, "/fetch", fields, PartitionFetched, method="GET")
            except OffsetOutOfRange as error:
                start = int(error.details.get("log_start_offset", 0))
                if start <= offset:
                    return False
                offset = start
                continue
            if any((one.headers or {}).get(REDRIVEN_FROM) == mark for one in fetched.messages):
                return True
            if fetched.next_offset <= offset:
                return False
            offset = fetched.next_offset

    async def _receive(
        self, partition: PartitionMetadata, max_messages: int
    ) -> list[DeliveredMessage]:
        fields = {
            "group": REDRIVE_GROUP,
            "max_messages": max_messages,
            "visibility_ms": VISIBILITY_MS,
            "delivery_limit": MAX_DELIVERY_LIMIT,
        }
        received = await self._call(
            partition, "/messages/receive", fields, PartitionReceived, repeatable=False
        )
        return received.messages

    async def _settle(
        self, partition: PartitionMetadata, path: str, letters: list[DeliveredMessage]
    ) -> None:
        receipts = [letter.receipt for letter in letters]
        fields = {"group": REDRIVE_GROUP, "receipts": receipts}
        await self._call(partition, path, fields, SettledList)

    async def _call(
        self,
        partition: PartitionMetadata,
        path: str,
        fields: dict[str, Any],
        answer: type[_A],
        *,
        method: str = "POST",
        repeatable: bool = True,
        batch: bytes = b"",
    ) -> _A:
        call = PartitionCall(
            partition,
            method,
            path,
            {"topic": partition.topic, "partition": partition.index, **fields},
            timeout_ms=CALL_TIMEOUT_MS,
            deadline_s=self.deadline_s,
            repeatable=repeatable,
            tells_timeout=method != "GET",
            batch=batch,
        )
        return await self.runtime.calls.call(call, answer)
