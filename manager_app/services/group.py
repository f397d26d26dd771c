"""Changing consumer groups, in the database alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.db.models import F

from manager_app import selectors
from manager_app.models import ConsumerGroup, GroupMember
from manager_app.row_updates import KEYS_PER_STATEMENT, portions
from manager_app.selectors import StoredConsumerGroup
from manager_app.services.cluster import fenced
from myqueue.contract import retry_after
from myqueue.contract.errors import InvalidRequest, Overloaded
from myqueue.contract.group_inputs import by_topic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from myqueue.contract.rules.group_membership import GroupState, Member

GROUPS_MAX = 10_000
"""Consumer groups of a cluster; all are in the memory of the primary."""
_COLUMNS = (
    *("topics", "session_timeout_ms", "granted", "target", "revoked_generation"),
    "last_heartbeat",
)


@dataclass(frozen=True, kw_only=True)
class GroupChange:
    """A change of one consumer group."""

    name: str
    apply: Callable[[GroupState], GroupState]
    """Pure; called with the group as the database has it."""
    epoch: int
    """Of the lease under which the manager makes the change."""
    now: datetime
    heartbeats: Mapping[str, datetime] = field(default_factory=dict)
    """Member id -> last heartbeat that the coordinator heard."""
    known: StoredConsumerGroup | None = None
    """The group as the coordinator has it in memory; spares reading it when its revision is
    right."""
    creates: bool = False
    """Create the group when it is missing."""
    topics: frozenset[str] = frozenset()
    """Topics that the change subscribes, or is about."""
    also: Callable[[], None] | None = None
    """Stores what belongs to the change in the same transaction."""


def group_change(change: GroupChange) -> StoredConsumerGroup:
    """Change a group under the lock of its row; return it as stored then.

    Raises:
        GroupNotFound: there is none of this name.
        ReadOnlyManager: another manager has become the primary.
        Overloaded: there are too many groups.
        QueueError: whatever `apply` raises; nothing is stored then.
    """
    with fenced(change.epoch):
        row = _lock(change.name, creates=change.creates)
        known = change.known
        if known is None or known.revision + 1 != row.revision:
            known = selectors.group_stored(row)
        state = change.apply(known.state)
        used = known.topics_used | change.topics
        _store_members(row, known.state, state, change)
        ConsumerGroup.objects.filter(pk=row.pk).update(
            generation=state.generation,
            topics={name: list(shape) for name, shape in state.topics.items()},
            topics_used=sorted(used),
        )
        if change.also is not None:
            change.also()
    return StoredConsumerGroup(row.revision, state, used)


def group_delete(name: str, *, epoch: int) -> None:
    """Delete a group that has no members.

    Raises:
        GroupNotFound: there is none of this name.
        InvalidRequest: it has members.
        ReadOnlyManager: another manager has become the primary.
    """
    with fenced(epoch):
        row = _lock(name)
        if count := row.members.count():
            raise InvalidRequest(
                f"group {name!r} has {count} members: let them leave first", field="group"
            )
        row.delete()


def _lock(name: str, *, creates: bool = False) -> ConsumerGroup:
    """Lock a group's row by raising its revision, which makes other changes wait; return it."""
    rows = ConsumerGroup.objects.filter(name=name)
    if not rows.update(revision=F("revision") + 1) and creates:
        if ConsumerGroup.objects.count() >= GROUPS_MAX:
            raise Overloaded(
                f"there are {GROUPS_MAX} consumer groups, the limit",
                retry_after_ms=retry_after.LIMIT_MS,
            )
        ConsumerGroup.objects.get_or_create(name=name)
        rows.update(revision=F("revision") + 1)
    return selectors.group_get(name)


def _store_members(
    row: ConsumerGroup, before: GroupState, after: GroupState, change: GroupChange
) -> None:
    """Insert, update and delete the rows of members that a change concerns."""
    gone = sorted(before.members.keys() - after.members.keys())
    for names in portions(gone):
        row.members.filter(member_id__in=names).delete()
    came = sorted(after.members.keys() - before.members.keys())
    GroupMember.objects.bulk_create(
        (
            GroupMember(
                group=row,
                member_id=name,
                last_heartbeat=change.now,
                **_columns(after.members[name]),
            )
            for name in came
        ),
        batch_size=KEYS_PER_STATEMENT,
    )
    changed = [
        name
        for name, member in after.members.items()
        if name in before.members and before.members[name] != member
    ]
    for names in portions(changed):
        rows = list(row.members.filter(member_id__in=names))
        for stored in rows:
            stored.last_heartbeat = change.heartbeats.get(stored.member_id, stored.last_heartbeat)
            for column, value in _columns(after.members[stored.member_id]).items():
                setattr(stored, column, value)
        GroupMember.objects.bulk_update(rows, _COLUMNS)


def _columns(member: Member) -> dict[str, Any]:
    return {
        "topics": sorted(member.topics),
        "session_timeout_ms": member.session_timeout_ms,
        "granted": by_topic(member.granted),
        "target": by_topic(member.target),
        "revoked_generation": member.revoked_generation,
    }
