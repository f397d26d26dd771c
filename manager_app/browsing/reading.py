"""Messages of a topic read for people: from an offset, a time or either end, within limits.

One call to each broker reads all its partitions, record batches as they are stored; they are
decoded and sifted in a thread beside the loop. A broker that does not answer in time leaves its
partitions unread, and the others are shown all the same.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Literal

from msgspec import UNSET

from http_base.tasks import gather_bounded
from manager_app.brokers.client import BrokerCall
from manager_app.browsing.lanes import (
    FoundMessage,
    Gap,
    Lane,
    OffsetRange,
    Scanned,
    decode_batches,
    next_of,
)
from manager_app.proxy.partition_calls import PartitionCall
from myqueue.contract.answers import CursorPlace, SeveralFetched
from myqueue.contract.errors import InvalidRequest, QueueError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from manager_app.browsing.filters import MessageFilter
    from manager_app.metadata import PartitionMetadata, TopicMetadata
    from manager_app.runtime import ManagerRuntime
    from myqueue.contract.answers import FetchedPart

Start = Literal["newest", "oldest", "offset", "time"]
STARTS: tuple[Start, ...] = ("newest", "oldest", "offset", "time")

BEHIND_ALL = 1 << 62
"""An offset behind every message: where a partition begins that has not said what it has."""
LOOK_S = 3.0
"""For one look, unless it has a limit of its own; what was begun is ended first."""
BROKER_LIMIT_S = 2.0
"""For one answer of a broker."""
PAGE_MESSAGES = 50
"""Messages of a page."""
LANES_AT_ONCE = 128
"""Partitions that are read together."""
BROKERS_AT_ONCE = 4
"""Brokers that answer at once; each answer may be a batch of 8 MiB longer than asked for."""
FETCH_BYTES = 1 << 20
"""Of stored batches that one broker is asked for at a time."""
WINDOW_BYTES = 2 << 20
"""About so much is looked at together, backwards."""
SIFTED_WINDOW = 1_000
"""Most messages that are looked at together, backwards and with a filter."""


@dataclass(frozen=True, kw_only=True)
class ScanLimits:
    """After which a look ends, found or not; what was begun is ended first."""

    found: int = PAGE_MESSAGES
    messages: int = 50_000
    """Looked at."""
    size_bytes: int = 32 << 20
    """Looked at, decoded."""
    seconds: float | None = None
    """None: `LOOK_S`."""


@dataclass(kw_only=True)
class Scan:
    """A look into a topic, and where the next goes on."""

    backwards: bool
    ranges: Mapping[int, OffsetRange]
    """By partition; those that did not say what they have are in `silent`."""
    positions: dict[int, int]
    """By partition: where to go on in this direction."""
    found: list[FoundMessage] = field(default_factory=list)
    """In the order of the direction."""
    gaps: list[Gap] = field(default_factory=list)
    silent: dict[int, str] = field(default_factory=dict)
    """Partitions that could not be read, and why."""
    scanned: Scanned = field(default_factory=Scanned)
    is_at_end: bool = False
    """True when nothing is left to read in this direction."""

    @property
    def left(self) -> int:
        """How many messages are still to be looked at in this direction."""
        return sum(
            max(0, at - span.begin if self.backwards else span.end - at)
            for partition, span in self.ranges.items()
            if (at := self.positions.get(partition)) is not None
        )

    @property
    def total(self) -> int:
        """How many messages the partitions have together."""
        return sum(span.end - span.begin for span in self.ranges.values())


async def offset_ranges(
    runtime: ManagerRuntime, topic: TopicMetadata, partitions: Collection[int]
) -> tuple[dict[int, OffsetRange], dict[int, str]]:
    """Ask the brokers what partitions have.

    Returns:
        What they have, and which did not say so, with the reason.
    """
    reports = await runtime.orders.ask_replicas(topic, timeout_s=BROKER_LIMIT_S)
    ranges: dict[int, OffsetRange] = {}
    silent: dict[int, str] = {}
    for one in topic.partitions:
        if one.index not in partitions:
            continue
        told = [
            report
            for broker_id in one.replicas
            if (report := reports.get((one.group_id, broker_id))) is not None and not report.faulty
        ]
        best = max(told, key=lambda one: (one.serves, one.high_watermark), default=None)
        if best is None:
            silent[one.index] = f"no broker of it answered within {BROKER_LIMIT_S:g} s"
        else:
            ranges[one.index] = OffsetRange(
                best.log_start_offset, best.high_watermark, best.size_bytes
            )
    return ranges, silent


async def positions_of(
    runtime: ManagerRuntime,
    topic: TopicMetadata,
    ranges: Mapping[int, OffsetRange],
    *,
    start: Start,
    number: int = 0,
) -> tuple[dict[int, int], dict[int, str]]:
    """Return where a look begins, by partition, and where that is not known.

    Args:
        runtime: of this manager.
        topic: which.
        ranges: of the partitions to look into.
        start: where: `newest` and `time` need nothing else or a time.
        number: the offset, or the time in milliseconds since 1970.
    """
    match start:
        case "oldest":
            return {index: span.begin for index, span in ranges.items()}, {}
        case "newest":
            return {index: span.end for index, span in ranges.items()}, {}
        case "offset":
            return {
                index: min(max(number, span.begin), span.end) for index, span in ranges.items()
            }, {}
    positions: dict[int, int] = {}
    silent: dict[int, str] = {}

    async def find(one: PartitionMetadata) -> None:
        fields = {"topic": topic.name, "partition": one.index, "timestamp": number}
        call = PartitionCall(
            one,
            "GET",
            "/offsets/by-time",
            fields,
            timeout_ms=int(BROKER_LIMIT_S * 1000),
            repeatable=True,
            asks_silent=False,
            tells_timeout=False,
        )
        try:
            positions[one.index] = (await runtime.calls.call(call, CursorPlace)).offset
        except QueueError as error:
            silent[one.index] = error.message

    asked = [one for one in topic.partitions if one.index in ranges]
    await gather_bounded((find(one) for one in asked), LANES_AT_ONCE)
    return positions, silent


async def scan(
    runtime: ManagerRuntime,
    topic: TopicMetadata,
    positions: Mapping[int, int],
    *,
    wanted: MessageFilter,
    backwards: bool = False,
    limits: ScanLimits | None = None,
) -> Scan:
    """Look into partitions, all in the order of time, until enough is found or a limit comes.

    Args:
        runtime: of this manager.
        topic: which.
        positions: by partition: the next offset; backwards the offset behind the next message.
        wanted: which messages are found.
        backwards: towards the oldest.
        limits: of this look.

    Raises:
        InvalidRequest: the topic has no such partition.
    """
    limits = limits or ScanLimits()
    unknown = set(positions) - {one.index for one in topic.partitions}
    if unknown:
        raise InvalidRequest(
            f"topic {topic.name!r} has no partition {min(unknown)}", field="partition"
        )
    seconds = LOOK_S if limits.seconds is None else limits.seconds
    ends_s = asyncio.get_running_loop().time() + seconds
    ranges, silent = await offset_ranges(runtime, topic, positions)
    look = Scan(backwards=backwards, ranges=ranges, positions=dict(positions), silent=dict(silent))
    lanes = [
        Lane(index, ranges[index], at, backwards=backwards)
        for index, at in positions.items()
        if index in ranges
    ]
    reader = _Reader(runtime, topic, wanted, limits, look.scanned, len(lanes))
    while len(look.found) < limits.found:
        starved = [lane for lane in lanes if lane.is_starved]
        is_over = (
            asyncio.get_running_loop().time() >= ends_s
            or look.scanned.messages >= limits.messages
            or look.scanned.size_bytes >= limits.size_bytes
        )
        begun = [lane for lane in starved if lane.is_inside_window]
        if starved and (begun or not is_over):
            await reader.read((begun or starved)[:LANES_AT_ONCE])
            continue
        found = next_of(lanes, backwards=backwards)
        if found is None:
            break
        look.found.append(found)
    look.is_at_end = not any(lane.found or lane.is_starved for lane in lanes)
    for lane in lanes:
        look.positions[lane.partition] = lane.resume_at
        look.gaps += lane.gaps
        if lane.why_silent:
            look.silent[lane.partition] = lane.why_silent
    return look


@dataclass
class _Reader:
    """Reads lanes on."""

    runtime: ManagerRuntime
    topic: TopicMetadata
    wanted: MessageFilter
    limits: ScanLimits
    scanned: Scanned
    lane_count: int

    async def read(self, lanes: Sequence[Lane]) -> None:
        """Read each lane on, with one call to each broker."""
        by_broker: dict[int, list[Lane]] = {}
        for lane in lanes:
            broker_id = self._broker_of(lane.partition)
            if broker_id:
                by_broker.setdefault(broker_id, []).append(lane)
            else:
                lane.silence("it has no replicas")
        reading = (self._read_at(*one) for one in by_broker.items())
        await gather_bounded(reading, BROKERS_AT_ONCE)

    def _broker_of(self, index: int) -> int:
        partition = self.topic.partition(index)
        leader = self.runtime.metadata.leader_of(partition.group_id).broker_id
        return leader or next(iter(partition.replicas), 0)

    async def _read_at(self, broker_id: int, lanes: list[Lane]) -> None:
        offsets = {lane.partition: lane.next_offset(self._window(lane)) for lane in lanes}
        places = [
            {"topic": self.topic.name, "partition": index, "offset": offset}
            for index, offset in offsets.items()
        ]
        call = BrokerCall(
            "POST",
            "/fetch",
            body={"partitions": places, "max_bytes": FETCH_BYTES, "stored": True, "wait_ms": 0},
            asks_silent=False,
        )
        contact = self.runtime.orders.brokers
        answer = await contact.ask(broker_id, call, SeveralFetched, timeout_s=BROKER_LIMIT_S)
        if answer is None or not answer.partitions:
            why = "does not answer" if answer is None else "does not have these messages"
            for lane in lanes:
                lane.silence(f"broker {broker_id}, which leads it, {why}")
            return
        by_index = {lane.partition: lane for lane in lanes}
        for part in answer.partitions:
            await self._take(by_index[part.partition], offsets[part.partition], part)

    async def _take(self, lane: Lane, offset: int, part: FetchedPart) -> None:
        if part.error is not UNSET:
            lane.silence(str(part.error.get("message", "it cannot be read")))
            return
        assert part.batches is not UNSET, part
        assert part.next_offset is not UNSET, part
        room = max(FETCH_BYTES, self.limits.size_bytes - self.scanned.size_bytes)
        decode = partial(
            decode_batches,
            part.batches,
            begin=offset,
            end=part.next_offset,
            passes=self.wanted.passes,
            scanned=self.scanned,
            room_bytes=room,
        )
        lane.take(await asyncio.to_thread(decode))

    def _window(self, lane: Lane) -> int:
        """Return how many messages are looked at together, backwards."""
        fitting = max(1, WINDOW_BYTES // lane.average_bytes)
        if self.wanted.is_empty:
            share = -(-self.limits.found // max(1, self.lane_count))
            return min(share, fitting)
        return min(SIFTED_WINDOW, fitting)
