"""How consumer groups look in answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manager_app.answers import GroupDetail, GroupPlace, GroupSummary, MemberFacts
from manager_app.apis.rendering import unix_ms
from manager_app.groups.offsets import Unsaid
from manager_app.selectors import StoredConsumerGroup
from myqueue.contract.answers import GroupOffset
from myqueue.contract.group_inputs import by_topic
from myqueue.contract.rules.assignors import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from manager_app.models import ConsumerGroup
    from myqueue.contract.rules.group_membership import GroupState


def group_summary(row: ConsumerGroup) -> GroupSummary:
    """Return a group in a list.

    Args:
        row: with `member_count`.
    """
    return GroupSummary(
        group=row.name,
        kind="consumers",
        generation=row.generation,
        members=getattr(row, "member_count", 0),
        topics=sorted(row.topics),
        created_at=unix_ms(row.created_at),
    )


def workers_summary(name: str, topics: Sequence[str]) -> GroupSummary:
    """Return a group of queue workers in a list: it has no members and no generation."""
    return GroupSummary(
        group=name,
        kind="workers",
        generation=0,
        members=0,
        topics=list(topics),
        created_at=None,
    )


def group_detail(
    name: str,
    stored: StoredConsumerGroup | None,
    offsets: Mapping[TopicPartition, GroupOffset | Unsaid],
    *,
    heard: Mapping[str, datetime],
) -> GroupDetail:
    """Return everything about a group.

    Args:
        name: of the group.
        stored: None when the partitions alone know it.
        offsets: what the partitions said, as `GroupOffsetCalls.ask` returns it.
        heard: member id -> last heartbeat, as far as it is known beside the database.
    """
    known = stored or StoredConsumerGroup()
    state = known.state
    told = (said.generation for said in offsets.values() if isinstance(said, GroupOffset))
    return GroupDetail(
        group=name,
        generation=state.generation if stored else max(told, default=0),
        members=[
            MemberFacts(
                member_id=member_id,
                topics=sorted(member.topics),
                assignment=by_topic(member.assignment),
                last_heartbeat=unix_ms(heard.get(member_id, known.last_heartbeats.get(member_id))),
                session_timeout_ms=member.session_timeout_ms,
            )
            for member_id, member in state.members.items()
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
    )


def _belongs(state: GroupState, topic: str, said: GroupOffset | Unsaid, *, is_stored: bool) -> bool:
    """Tell whether a partition is the group's: read now, or read once, or not known."""
    if said is Unsaid.NO_ANSWER:
        return is_stored or topic in state.wanted
    return said is not Unsaid.NOT_THERE or topic in state.wanted
