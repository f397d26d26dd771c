"""What managers and brokers know of groups, put together: lists, one group, forgetting, moving.

For threads beside the loop, such as those of views.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from msgspec import UNSET

from http_base.paging import page_of
from manager_app import selectors
from manager_app.answers import GroupDetail, GroupPlace, GroupSummary, MemberFacts, unix_ms
from manager_app.groups.offsets import Unsaid
from manager_app.groups.standings import Overview
from manager_app.inputs import MembersQuery
from manager_app.selectors import StoredConsumerGroup
from myqueue.contract.answers import GroupOffset
from myqueue.contract.errors import GroupNotFound
from myqueue.contract.group_inputs import by_topic
from myqueue.contract.rules.assignors import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from http_base.cluster import GroupStanding
    from http_base.paging import Page
    from manager_app.groups.offset_moves import Asker
    from manager_app.inputs import GroupsQuery
    from manager_app.models import ConsumerGroup
    from manager_app.runtime import ManagerRuntime
    from myqueue.contract.answers import GroupOffsetsMoved
    from myqueue.contract.group_inputs import GroupOffsetsReset
    from myqueue.contract.rules.group_membership import GroupState

_FIGURES = ("lag", "age_ms", "visible", "in_flight", "delayed", "dead")
"""Of a group in a list."""


TOLD_LIMIT_S = 10.0
"""For the brokers' answers; they have a shorter limit together."""
MOVE_MARGIN_S = 60.0
"""Beside the limit of the call: to ask where the group is, and for what waits for the group."""
FORGET_LIMIT_S = 120.0
"""To let all partitions forget a group; each has a shorter limit of its own."""
ALL = MembersQuery()


def list_groups(asked: GroupsQuery, told: Overview) -> Page[GroupSummary]:
    """Return groups of both kinds by name.

    Args:
        asked: which.
        told: where groups are.
    """
    found: dict[str, GroupSummary] = {}
    if asked.kind != "consumers":
        found = {
            name: workers_summary(name, topics, told.total(name))
            for name, topics in _work_groups(told, asked).items()
            if name > asked.after
        }
    if asked.kind != "workers":
        rows = selectors.groups_with_counts(asked)
        found |= {row.name: group_summary(row, told.total(row.name)) for row in rows}
    page = page_of(sorted(found), asked.limit, str)
    return page.map(lambda name: found[name])


def _work_groups(told: Overview, asked: GroupsQuery) -> dict[str, list[str]]:
    """Return the groups of workers that are asked for, on whatever page, with their topics."""
    return {
        name: topics
        for name, topics in told.work_groups.items()
        if name.startswith(asked.prefix) and (not asked.topic or asked.topic in topics)
    }


def groups_behind(told: Overview, asked: GroupsQuery) -> tuple[list[GroupSummary], int]:
    """Return the groups that are furthest behind, by the age of the oldest message left.

    Args:
        told: where groups are.
        asked: which, and how many.

    Returns:
        The groups, and how many there are in all.
    """
    of_workers = _work_groups(told, asked)
    names: dict[str, Literal["consumers", "workers"]] = {}
    if asked.kind != "consumers":
        names.update(dict.fromkeys(of_workers, "workers"))
    if asked.kind != "workers":
        names.update(dict.fromkeys(selectors.group_names(asked), "consumers"))
    order = sorted(names, key=lambda name: (*_behind(told.total(name)), name))
    chosen = order[: asked.limit]
    stored = [name for name in chosen if names[name] == "consumers"]
    rows = {row.name: row for row in selectors.groups_named(stored)}
    shown = [
        group_summary(rows[name], told.total(name))
        if name in rows
        else workers_summary(name, of_workers.get(name, []), told.total(name))
        for name in chosen
    ]
    return shown, len(names)


def _behind(standing: GroupStanding | None) -> tuple[float, float]:
    if standing is None:
        return (1, 1)
    return (-(standing.age_ms or 0), -standing.lag)


@dataclass(frozen=True)
class GroupView:
    """A group for a page of it: with some of its partitions and members."""

    detail: GroupDetail
    total: GroupStanding | None
    """Of all its partitions, as brokers told a moment ago."""
    standings: Mapping[str, GroupStanding]
    """By topic."""
    topics: list[str]
    """That it reads or read, as far as they are still there."""
    next_partition: str | None
    """As `logs/3`: the last partition shown when there are more."""
    silent: frozenset[int]
    """Ids of brokers that did not answer."""


def view_group(
    runtime: ManagerRuntime, name: str, members: MembersQuery, *, after: str, limit: int
) -> GroupView:
    """Return a group with a page of its partitions, whose leaders alone are asked.

    Args:
        runtime: of this manager.
        name: of the group.
        members: which.
        after: the partition before the first, as `logs/3`; empty for the first.
        limit: most partitions.

    Raises:
        GroupNotFound: neither the database nor a broker knows it.
    """
    told = runtime.run(runtime.standings.recent(), timeout_s=TOLD_LIMIT_S)
    stored: StoredConsumerGroup | None
    try:
        stored = selectors.group_stored(selectors.group_get(name))
    except GroupNotFound:
        stored = None
    standings = told.by_group.get(name, {})
    if stored is None and not standings:
        raise GroupNotFound(f"there is no group {name!r}", field="group")
    topics = set(standings) | (stored.topics_used if stored else set())
    topic, _, index = after.rpartition("/")
    begin = (topic, int(index) if index.isdecimal() else -1)
    left = [
        one for one in runtime.group_offsets.partitions(topics) if (one.topic, one.index) > begin
    ]
    page = page_of(left[: limit + 1], limit, lambda one: f"{one.topic}/{one.index}")
    asking = runtime.group_offsets.ask_partitions(name, page.rows, age=True)
    offsets = runtime.run(asking, timeout_s=TOLD_LIMIT_S)
    heard = runtime.groups.last_heartbeats(name)
    return GroupView(
        detail=group_detail(
            name,
            stored,
            offsets,
            heard=heard,
            asked=members,
            addresses=runtime.groups.addresses(name),
        ),
        total=told.total(name),
        standings=standings,
        topics=sorted(topics & runtime.metadata.current.topics.keys()),
        next_partition=page.next,
        silent=told.silent,
    )


def describe_group(runtime: ManagerRuntime, name: str, members: MembersQuery = ALL) -> GroupDetail:
    """Return a group: members from the database, offsets from the partitions' leaders.

    Args:
        runtime: of this manager.
        name: of the group.
        members: which; with those after the first page no partition is asked.

    Raises:
        GroupNotFound: neither knows it.
    """
    stored: StoredConsumerGroup | None
    try:
        stored = selectors.group_stored(selectors.group_get(name))
    except GroupNotFound:
        stored = None
    heard = runtime.groups.last_heartbeats(name)
    addresses = runtime.groups.addresses(name)
    if stored is not None and members.after:
        return group_detail(name, stored, {}, heard=heard, asked=members, addresses=addresses)
    offsets = runtime.run(_ask_offsets(runtime, name, stored), timeout_s=TOLD_LIMIT_S)
    if stored is None and not any(isinstance(one, GroupOffset) for one in offsets.values()):
        raise GroupNotFound(f"there is no consumer group {name!r}", field="group")
    return group_detail(name, stored, offsets, heard=heard, asked=members, addresses=addresses)


async def _ask_offsets(
    runtime: ManagerRuntime, name: str, stored: StoredConsumerGroup | None
) -> dict[TopicPartition, GroupOffset | Unsaid]:
    """Ask where a group is in its topics; of one that is not stored brokers know which they are."""
    if stored is not None:
        return await runtime.group_offsets.ask(name, stored.topics_used, age=True)
    told = await runtime.standings.ask()
    topics = set(told.by_group.get(name, ())) if told.is_whole else None
    return await runtime.group_offsets.ask(name, topics, age=True)


def forget_group(runtime: ManagerRuntime, name: str) -> list[TopicPartition]:
    """Delete a group without members, and its offsets.

    Returns:
        The partitions that were not reached; they still know it.

    Raises:
        GroupNotFound: neither the database nor a broker knows it.
        InvalidRequest: it has members.
        ReadOnlyManager: this manager is not the primary.
    """
    try:
        runtime.run(runtime.groups.delete(name), timeout_s=TOLD_LIMIT_S)
    except GroupNotFound:
        describe_group(runtime, name)
    try:
        return runtime.run(runtime.group_offsets.forget(name), timeout_s=FORGET_LIMIT_S)
    finally:
        runtime.standings.outdate()


def move_group(
    runtime: ManagerRuntime, name: str, asked: GroupOffsetsReset, *, by: Asker
) -> GroupOffsetsMoved:
    """Move a group's offsets in a topic, or tell what would move; see `GroupOffsetMoves.move`."""

    async def move() -> GroupOffsetsMoved:
        topic = await runtime.find_topic(asked.topic)
        return await runtime.group_offset_moves.move(name, topic, asked, by=by)

    try:
        return runtime.run(move(), timeout_s=asked.timeout_ms / 1000 + MOVE_MARGIN_S)
    finally:
        runtime.standings.outdate()


def group_summary(row: ConsumerGroup, standing: GroupStanding | None) -> GroupSummary:
    """Return a group in a list.

    Args:
        row: with `member_count`.
        standing: where it is, as far as brokers told.
    """
    return GroupSummary(
        group=row.name,
        kind="consumers",
        generation=row.generation,
        members=getattr(row, "member_count", 0),
        topics=sorted(row.topics),
        created_at=unix_ms(row.created_at),
        **_figures(standing),
    )


def workers_summary(
    name: str, topics: Sequence[str], standing: GroupStanding | None
) -> GroupSummary:
    """Return a group of queue workers in a list: it has no members and no generation."""
    return GroupSummary(
        group=name,
        kind="workers",
        generation=0,
        members=0,
        topics=list(topics),
        created_at=None,
        **_figures(standing),
    )


def _figures(standing: GroupStanding | None) -> dict[str, int | None]:
    return {name: getattr(standing, name, None) for name in _FIGURES}


def group_detail(
    name: str,
    stored: StoredConsumerGroup | None,
    offsets: Mapping[TopicPartition, GroupOffset | Unsaid],
    *,
    heard: Mapping[str, datetime],
    asked: MembersQuery = ALL,
    addresses: Mapping[str, str] | None = None,
) -> GroupDetail:
    """Return everything about a group, or further members of it.

    Args:
        name: of the group.
        stored: None when the partitions alone know it.
        offsets: what the partitions said, as `GroupOffsetCalls.ask` returns it.
        heard: member id -> last heartbeat, as far as it is known beside the database.
        asked: which members.
        addresses: member id -> from where it speaks, as far as that is known.
    """
    known = stored or StoredConsumerGroup()
    state = known.state
    told = (said.generation for said in offsets.values() if isinstance(said, GroupOffset))
    generation = state.generation if stored else max(told, default=0)
    after = sorted(one for one in state.members if one > asked.after)
    page = page_of(after[: asked.limit + 1], asked.limit, str)
    return GroupDetail(
        group=name,
        kind="consumers" if stored or generation else "workers",
        generation=generation,
        member_count=len(state.members),
        next=page.next,
        members=[
            MemberFacts(
                member_id=member_id,
                topics=sorted(member.topics),
                assignment=by_topic(member.assignment),
                last_heartbeat=unix_ms(heard.get(member_id, known.last_heartbeats.get(member_id))),
                session_timeout_ms=member.session_timeout_ms,
                address=(addresses or {}).get(member_id),
            )
            for member_id, member in ((one, state.members[one]) for one in page.rows)
        ],
        partitions=[
            _place(topic, index, said, state.holders.get(TopicPartition(topic, index)))
            for (topic, index), said in sorted(offsets.items(), key=lambda one: one[0])
            if _belongs(state, topic, said, is_stored=stored is not None)
        ],
    )


def _place(
    topic: str, partition: int, said: GroupOffset | Unsaid, member_id: str | None
) -> GroupPlace:
    known = said if isinstance(said, GroupOffset) else None
    return GroupPlace(
        topic=topic,
        partition=partition,
        member_id=member_id,
        offset=known.offset if known else None,
        high_watermark=known.high_watermark if known else None,
        lag=known.lag if known else None,
        unsettled=known.unsettled if known else None,
        dead=known.dead if known else None,
        visible=known.visible if known else None,
        in_flight=known.in_flight if known else None,
        delayed=known.delayed if known else None,
        age_ms=known.age_ms if known and known.age_ms is not UNSET else None,
    )


def _belongs(state: GroupState, topic: str, said: GroupOffset | Unsaid, *, is_stored: bool) -> bool:
    """Tell whether a partition is the group's: read now, or read once, or not known."""
    if said is Unsaid.NO_ANSWER:
        return is_stored or topic in state.wanted
    return said is not Unsaid.NOT_THERE or topic in state.wanted
