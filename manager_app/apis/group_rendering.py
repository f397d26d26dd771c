"""How consumer groups look in answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from manager_app.apis.rendering import milliseconds
from manager_app.selectors import StoredGroup
from myqueue.contract.rules.assignors import TopicPartition
from myqueue.contract.rules.group_membership import by_topic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from manager_app.groups.offsets import Place
    from manager_app.models import ConsumerGroup
    from myqueue.contract.rules.group_membership import GroupState

_FROM_PARTITION = ("offset", "high_watermark", "lag", "unsettled", "dead")


def group_summary(row: ConsumerGroup) -> dict[str, Any]:
    """Return a group in a list.

    Args:
        row: with `member_count`.
    """
    return {
        "group": row.name,
        "kind": "consumers",
        "generation": row.generation,
        "members": getattr(row, "member_count", 0),
        "topics": sorted(row.topics),
        "created_at": milliseconds(row.created_at),
    }


def workers_summary(name: str, topics: Sequence[str]) -> dict[str, Any]:
    """Return a group of queue workers in a list: it has no members and no generation."""
    return {
        "group": name,
        "kind": "workers",
        "generation": 0,
        "members": 0,
        "topics": list(topics),
        "created_at": None,
    }


def group_detail(
    name: str,
    stored: StoredGroup | None,
    offsets: Mapping[Place, Mapping[str, Any] | None],
    *,
    heard: Mapping[str, datetime],
) -> dict[str, Any]:
    """Return everything about a group.

    Args:
        name: of the group.
        stored: None when the partitions alone know it.
        offsets: what the partitions said, as `GroupOffsets.ask` returns it.
        heard: member id -> last heartbeat, as far as it is known beside the database.
    """
    known = stored or StoredGroup()
    state = known.state
    told = max((said.get("generation", 0) for said in offsets.values() if said), default=0)
    return {
        "group": name,
        "generation": state.generation if stored else told,
        "members": [
            {
                "member_id": member_id,
                "topics": sorted(member.topics),
                "assignment": by_topic(member.assignment),
                "last_heartbeat": milliseconds(
                    heard.get(member_id, known.last_heartbeats.get(member_id))
                ),
                "session_timeout_ms": member.session_timeout_ms,
            }
            for member_id, member in state.members.items()
        ],
        "partitions": [
            {
                "topic": topic,
                "partition": index,
                "member_id": state.holders.get(TopicPartition(topic, index)),
                **{field: (said or {}).get(field) for field in _FROM_PARTITION},
            }
            for (topic, index), said in sorted(offsets.items())
            if _belongs(state, topic, said, is_stored=stored is not None)
        ],
    }


def _belongs(
    state: GroupState, topic: str, said: Mapping[str, Any] | None, *, is_stored: bool
) -> bool:
    """Tell whether a partition is the group's: read now, or read once, or not known."""
    return bool(said) or topic in state.wanted or (said is None and is_stored)
