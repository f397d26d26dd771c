"""Where all groups are in the partitions led here, and how old the oldest message left is.

A partition knows offsets; the age of a message is in the batch that has it. The batch where a group
is is read once, and its time remembered while the group stays there, so that a group that hangs
costs one read. Of groups that move, those that have most left are looked at first.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from broker_app.log_reading import batches_read
from broker_app.runtime import state_of
from broker_app.selectors.offsets import GroupOffsets, offsets_of
from http_base.cluster import GroupStanding, GroupStandings
from myqueue.contract.errors import QueueError

if TYPE_CHECKING:
    from broker_app.runtime import BrokerRuntime
    from raft_app.engine.replica import Replica

logger = logging.getLogger(__name__)

STANDINGS_MAX = 20_000
"""In one answer: a group in a topic is one."""
READS_MAX = 100
"""Batches that are read for one answer; the ages of the others follow with the next ones."""
READS_LIMIT_S = 0.5
"""For all of them together."""
LOOKED_AT_ONCE = 10_000
"""Messages that are out with workers, looked at before others have their turn in the loop."""
GROUP_COST = 20
"""What a group in a partition counts among them."""


Place = tuple[int, int]
"""(group id, offset): where a group is in a partition, if it has messages left."""


@dataclass
class _Sum:
    """A group in a topic, over the partitions led here."""

    is_workers: bool
    places: dict[Place, int] = field(default_factory=dict)
    """How many messages are left there, where there are some."""
    partitions: int = 0
    lag: int = 0
    visible: int = 0
    in_flight: int = 0
    delayed: int = 0
    dead: int = 0
    dead_letter_topic: str = ""

    def add(self, group_id: int, offsets: GroupOffsets) -> None:
        """Count a partition."""
        self.partitions += 1
        self.lag += offsets.lag
        self.visible += offsets.visible
        self.in_flight += offsets.in_flight
        self.delayed += offsets.delayed
        self.dead += offsets.dead
        if offsets.lag:
            self.places[group_id, offsets.offset] = offsets.lag


async def standings_list(*, runtime: BrokerRuntime, now_ms: int) -> GroupStandings:
    """Return where groups are, once for each of their topics, in the order of names.

    It is what this broker has applied, not confirmed by a quorum.

    Args:
        runtime: of this broker.
        now_ms: wall clock, milliseconds since 1970.
    """
    sums = await _sums(runtime)
    chosen = sorted(sums)[:STANDINGS_MAX]
    wanted = {place: left for name in chosen for place, left in sums[name].places.items()}
    times = await _times(runtime, wanted)
    return GroupStandings(
        standings=[_standing(name, sums[name], times, now_ms) for name in chosen],
        left_out=len(sums) - len(chosen),
    )


async def age_of(
    *, runtime: BrokerRuntime, replica: Replica, offsets: GroupOffsets, now_ms: int
) -> int | None:
    """Return the age of the oldest message that a group has left, in milliseconds; 0 for none.

    Returns:
        None when it cannot be read at the moment.
    """
    if not offsets.lag:
        return 0
    time_ms = await _append_time(runtime, (replica.spec.group_id, offsets.offset))
    return None if time_ms is None else max(0, now_ms - time_ms)


async def _sums(runtime: BrokerRuntime) -> dict[tuple[str, str], _Sum]:
    """Return (group, topic) -> what its partitions here have together."""
    sums: dict[tuple[str, str], _Sum] = {}
    looked_at = 0
    runtime.overview.refresh()
    for replica in list(runtime.overview.with_groups.values()):
        if not replica.serves:
            continue
        state = state_of(replica)
        for name in state.group_names():
            offsets = offsets_of(runtime=runtime, replica=replica, name=name)
            if offsets is None:
                continue
            key = (name, replica.spec.topic)
            one = sums.setdefault(key, _Sum(is_workers=False))
            one.is_workers = one.is_workers or offsets.is_workers
            one.add(replica.spec.group_id, offsets)
            work = state.works.get(name)
            one.dead_letter_topic = work.dead_letter_topic if work else one.dead_letter_topic
            looked_at += GROUP_COST + offsets.unsettled
        if looked_at > LOOKED_AT_ONCE:
            looked_at = 0
            await asyncio.sleep(0)
    return sums


async def _times(runtime: BrokerRuntime, wanted: dict[Place, int]) -> dict[Place, int]:
    """Return when the messages at places were appended, in milliseconds since 1970.

    Args:
        runtime: of this broker; it remembers the times until they are not wanted any more.
        wanted: place -> how many messages are left there.

    Returns:
        Those that are known after at most `READS_MAX` reads within `READS_LIMIT_S`.
    """
    remembered = runtime.oldest_times
    known = {place: remembered[place] for place in wanted if place in remembered}
    runtime.oldest_times = dict(known)
    missing = sorted(wanted.keys() - known.keys(), key=lambda place: (-wanted[place], place))
    try:
        async with asyncio.timeout(READS_LIMIT_S):
            for place in missing[:READS_MAX]:
                time_ms = await _append_time(runtime, place)
                if time_ms is not None:
                    known[place] = runtime.oldest_times[place] = time_ms
    except TimeoutError:
        logger.info("not all ages of messages left could be read within %g s", READS_LIMIT_S)
    return known


async def _append_time(runtime: BrokerRuntime, place: Place) -> int | None:
    """Return when the message at a place was appended; None when it cannot be read now."""
    group_id, committed = place
    replica = runtime.engine.replicas.get(group_id)
    if replica is None:
        return None
    state = state_of(replica)
    offset = max(committed, state.log_start_offset)
    if offset >= state.next_offset:
        return None
    try:
        [batch, *_] = await batches_read(
            runtime=runtime, replica=replica, offset=offset, end=state.next_offset, max_bytes=1
        )
    except QueueError:
        return None  # the answer says that it is not known
    return batch.append_timestamp


def _standing(
    name: tuple[str, str], one: _Sum, times: dict[Place, int], now_ms: int
) -> GroupStanding:
    known = [times[place] for place in one.places if place in times]
    age_ms = max(0, now_ms - min(known)) if known else None
    return GroupStanding(
        group=name[0],
        topic=name[1],
        is_workers=one.is_workers,
        partitions=one.partitions,
        lag=one.lag,
        visible=one.visible,
        in_flight=one.in_flight,
        delayed=one.delayed,
        dead=one.dead,
        age_ms=age_ms if one.places else 0,
        ages_unknown=len(one.places) - len(known),
        dead_letter_topic=one.dead_letter_topic,
    )
