"""The coordinator of consumer groups on the primary: joins, heartbeats, leaves and rebalances.

A heartbeat that changes nothing is answered from memory. A change (join, leave, rebalance) is
applied to the group as the database has it, under the lock of its row, and stored before it is
answered, so that a superseded primary changes nothing. Heartbeats are in memory alone, by the
monotonic clock: all sessions begin anew with this process, and after it was paused.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar
from uuid import uuid4

from manager_app import selectors
from manager_app.selectors import StoredConsumerGroup
from manager_app.services.group import GroupChange, group_change, group_delete
from manager_app.services.restored import generation_floor
from myqueue.contract.errors import GroupActive, GroupNotFound, ReadOnlyManager, UnknownMember
from myqueue.contract.rules import group_membership
from myqueue.contract.rules.group_membership import (
    GroupState,
    Subscription,
    TopicShape,
    assignment_of,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
    from datetime import datetime

    from manager_app.database import DatabaseThreads
    from manager_app.lease import Lease
    from manager_app.metadata import ClusterMetadata, MetadataCopy
    from myqueue.contract.answers import MemberAssignment
    from myqueue.contract.rules.assignors import TopicPartition

T = TypeVar("T")

logger = logging.getLogger(__name__)

HELD_UP_S = 3.0
"""Two sweeps further apart than this: the process did not run and heard no heartbeat, so nobody is
removed for silence. It is twelve times `process.SWEEP_INTERVAL_S`."""


@dataclass(slots=True)
class _LastHeartbeat:
    at_s: float
    at: datetime
    address: str = ""
    """From where the member spoke last; empty while it has not."""


@dataclass
class _LoadedGroup:
    """A consumer group in memory."""

    name: str
    stored: StoredConsumerGroup = field(default_factory=StoredConsumerGroup)
    alive: dict[str, _LastHeartbeat] = field(default_factory=dict)
    """By member id."""
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)
    look_at_s: float = 0.0
    """Monotonic time before which no member's session ends."""
    users: int = 0
    """Calls that may be about to create it; it is kept in memory until they are done."""

    @asynccontextmanager
    async def change(self) -> AsyncIterator[None]:
        """Hold the group for one change; others wait."""
        self.users += 1
        try:
            async with self.changing:
                yield
        finally:
            self.users -= 1

    def forget(self) -> None:
        """Empty the group, which the database does not have any more."""
        self.stored = StoredConsumerGroup()
        self.alive.clear()


class GroupCoordinator:
    """Joins, heartbeats, leaves and expiries of all groups; lives in the manager's loop."""

    def __init__(
        self,
        *,
        lease: Lease,
        database: DatabaseThreads,
        metadata: MetadataCopy,
        generation_floor: Callable[[str, Collection[str]], Awaitable[int]],
        monotonic_s: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        """Load no group yet; all are loaded with the first call under a lease.

        Args:
            lease: of the primary; this manager coordinates while it holds it.
            database: for what blocks.
            metadata: the copy with the topics and their partitions.
            generation_floor: asks the partitions of some topics for the highest generation of a
                group that they know of, 0 when none does.
            monotonic_s: clock for silences, in seconds.
            now: wall clock, for the heartbeats that are shown and stored.
        """
        self._lease = lease
        self._database = database
        self._metadata = metadata
        self._generation_floor = generation_floor
        self._monotonic_s = monotonic_s
        self._now = now
        self._groups: dict[str, _LoadedGroup] | None = None
        self._epoch = 0
        """Of the lease under which the groups were loaded."""
        self._loading = asyncio.Lock()
        self._swept_s: float | None = None
        self._swept_metadata: ClusterMetadata | None = None

    async def join(
        self,
        name: str,
        subscription: Subscription,
        *,
        member_id: str | None = None,
        address: str = "",
    ) -> MemberAssignment:
        """Add a member, or change the subscription of the one named by `member_id`.

        Args:
            name: of the group.
            subscription: of the member.
            member_id: of one that is there; None for a new one.
            address: from where it speaks; empty where that is not known.

        Returns:
            Its member id, generation and assignment.

        Raises:
            UnknownMember: there is no member of this id.
            Overloaded: the group is full, or there are too many groups.
            ReadOnlyManager: this manager does not coordinate.
        """
        groups = await self._require_groups()
        group = groups.get(name)
        if member_id is not None:
            group = _known(group, member_id)
            self._hear(group, member_id, address)
        elif group is None:
            group = groups[name] = _LoadedGroup(name)
        joining = uuid4().hex if member_id is None else member_id
        topics = subscription.topics

        def change(state: GroupState) -> GroupState:
            if member_id is not None:
                state.member(member_id)
            raised = replace(state, generation=max(state.generation, floor))
            return group_membership.join(raised, joining, subscription, self._shapes(topics, state))

        async with group.change():
            floor = await self._floor(group, topics)
            await self._store(group, change, creates=True, topics=topics)
        self._hear(group, joining, address)
        return assignment_of(name, group.stored.state, joining)

    async def heartbeat(
        self,
        name: str,
        member_id: str,
        *,
        generation: int,
        owned: Collection[TopicPartition],
        address: str = "",
    ) -> MemberAssignment:
        """Note a heartbeat of a member and the partitions that it owns.

        Args:
            name: of the group.
            member_id: of the member.
            generation: that it knows.
            owned: the partitions that it reads.
            address: from where it speaks; empty where that is not known.

        Returns:
            Its generation and assignment, which a rebalance may have changed.

        Raises:
            UnknownMember: there is no such group or member.
            IllegalGeneration: it owns a partition that it was not granted.
            ReadOnlyManager: this manager does not coordinate.
        """
        group = _known((await self._require_groups()).get(name), member_id)
        self._hear(group, member_id, address)

        def change(state: GroupState) -> GroupState:
            followed = group_membership.follow(state, self._shapes((), state))
            return group_membership.heartbeat(
                followed, member_id, generation=generation, owned=owned
            )

        if change(group.stored.state) is not group.stored.state:
            async with group.change():
                await self._store(group, change)
        return assignment_of(name, group.stored.state, member_id)

    async def leave(self, name: str, member_id: str) -> None:
        """Remove a member; an unknown one is no error.

        Raises:
            ReadOnlyManager: this manager does not coordinate.
        """
        group = (await self._require_groups()).get(name)
        if group is not None and member_id in group.stored.state.members:
            with suppress(UnknownMember):
                async with group.change():
                    await self._store(
                        group, lambda state: group_membership.leave(state, [member_id])
                    )

    async def delete(self, name: str) -> None:
        """Delete a group without members.

        Raises:
            GroupNotFound: there is none of this name.
            InvalidRequest: it has members.
            ReadOnlyManager: this manager does not coordinate.
        """
        groups = await self._require_groups()
        group = groups.setdefault(name, _LoadedGroup(name))
        async with group.change():
            await self._in_database(lambda: group_delete(name, epoch=self._epoch))
            group.forget()

    async def known(self, name: str) -> StoredConsumerGroup | None:
        """Return a group as it is stored, None when there is none.

        Raises:
            ReadOnlyManager: this manager does not coordinate.
        """
        group = (await self._require_groups()).get(name)
        return group.stored if group is not None and group.stored.revision else None

    @asynccontextmanager
    async def without_members(
        self, name: str, topic: str, *, floor: int, force: bool, also: Callable[[], None]
    ) -> AsyncIterator[int]:
        """Hold a group in which nobody reads; whoever wants to join waits.

        Args:
            name: of the group; it is made when it is missing.
            topic: that this is about.
            floor: the highest generation that partitions know.
            force: send its members away; they may join again afterwards.
            also: stores what belongs to it, in the same transaction.

        Yields:
            A generation of its own: what members of earlier ones commit under it is refused.

        Raises:
            GroupActive: it has members.
            ReadOnlyManager: this manager does not coordinate.
        """
        groups = await self._require_groups()
        group = groups.setdefault(name, _LoadedGroup(name))

        def change(state: GroupState) -> GroupState:
            if state.members and not force:
                raise GroupActive(
                    f"group {name!r} has {len(state.members)} members: stop them first, or say"
                    " force to send them away",
                    field="force",
                )
            empty = group_membership.leave(state, state.members)
            return replace(empty, generation=max(empty.generation, floor) + 1)

        async with group.change():
            floor = max(floor, self._first_floor(group))
            await self._store(group, change, creates=True, topics=frozenset((topic,)), also=also)
            yield group.stored.state.generation

    async def sweep(self) -> list[tuple[str, str]]:
        """Remove members whose sessions ended, and rebalance groups whose topics changed.

        Returns:
            (group, member id) of the members that were removed.
        """
        now_s, before_s = self._monotonic_s(), self._swept_s
        try:
            if self._lease.epoch is None:
                self._groups = None
                return []
            groups = await self._require_groups()
            if before_s is not None and now_s - before_s > HELD_UP_S:
                logger.warning("held up for %.1f s: all sessions begin anew", now_s - before_s)
                for group in groups.values():
                    self._begin_sessions(group)
            return await self._sweep_all(groups, now_s)
        finally:
            self._swept_s = self._monotonic_s()

    def last_heartbeats(self, name: str) -> dict[str, datetime]:
        """Return the last heartbeat heard here of each member of a group; any thread may call."""
        group = (self._groups or {}).get(name)
        return {member: alive.at for member, alive in list(group.alive.items())} if group else {}

    def addresses(self, name: str) -> dict[str, str]:
        """Return from where each member of a group spoke here last; any thread may call."""
        group = (self._groups or {}).get(name)
        alive = list(group.alive.items()) if group else []
        return {member: one.address for member, one in alive if one.address}

    async def _sweep_all(
        self, groups: dict[str, _LoadedGroup], now_s: float
    ) -> list[tuple[str, str]]:
        metadata = self._metadata.current
        has_changed = metadata is not self._swept_metadata
        unused = [one.name for one in groups.values() if not one.stored.revision and not one.users]
        for name in unused:
            del groups[name]
        due = [group for group in groups.values() if has_changed or group.look_at_s <= now_s]
        # A group that is held up, as by a join that asks silent brokers, holds up no other.
        gone = await asyncio.gather(*(self._sweep_one(group) for group in due))
        self._swept_metadata = metadata
        return [
            (group.name, one) for group, silent in zip(due, gone, strict=True) for one in silent
        ]

    async def _sweep_one(self, group: _LoadedGroup) -> list[str]:
        silent = self._silent(group)

        def change(state: GroupState) -> GroupState:
            followed = group_membership.follow(state, self._shapes((), state))
            return group_membership.leave(followed, silent)

        if change(group.stored.state) is group.stored.state:
            return []
        with suppress(UnknownMember, ReadOnlyManager):
            async with group.change():
                # A member may have been heard while another change was under way.
                silent = self._silent(group)
                await self._store(group, change)
            if silent:
                logger.info("group %s lost %d silent members", group.name, len(silent))
            return silent
        return []

    def _silent(self, group: _LoadedGroup) -> list[str]:
        """Return the members whose sessions ended; note when to look again."""
        now_s = self._monotonic_s()
        ends_s = {
            name: group.alive[name].at_s + member.silence_ms / 1000
            for name, member in group.stored.state.members.items()
            if name in group.alive
        }
        silent = sorted(name for name, end_s in ends_s.items() if end_s < now_s)
        group.look_at_s = min(ends_s.values(), default=float("inf"))
        return silent

    async def _floor(self, group: _LoadedGroup, topics: frozenset[str]) -> int:
        """Return the highest generation of this group that newly subscribed partitions know, or 0.

        They may remember an earlier group of the same name.
        """
        new = topics - group.stored.topics_used
        known = await self._generation_floor(group.name, new) if new else 0
        return max(known, self._first_floor(group))

    def _first_floor(self, group: _LoadedGroup) -> int:
        return 0 if group.stored.revision else generation_floor(self._epoch)

    async def _store(
        self,
        group: _LoadedGroup,
        change: Callable[[GroupState], GroupState],
        *,
        creates: bool = False,
        topics: frozenset[str] = frozenset(),
        also: Callable[[], None] | None = None,
    ) -> None:
        """Store a change, then take it over into memory; to be called inside `group.change()`."""
        asked = GroupChange(
            name=group.name,
            apply=change,
            epoch=self._epoch,
            now=self._now(),
            heartbeats={name: alive.at for name, alive in group.alive.items()},
            known=group.stored,
            creates=creates,
            topics=topics,
            also=also,
        )
        try:
            group.stored = await self._in_database(lambda: group_change(asked))
        except GroupNotFound as error:
            group.forget()
            raise UnknownMember(f"{error.message}: join it", field="group") from error
        members = group.stored.state.members
        for name in group.alive.keys() - members.keys():
            del group.alive[name]
        for name in members.keys() - group.alive.keys():
            self._hear(group, name)

    async def _in_database(self, work: Callable[[], T]) -> T:
        self._metadata.require_database()
        try:
            return await self._database.run(work)
        except ReadOnlyManager:
            await self._database.run(self._metadata.poll)
            self._groups = None
            raise

    async def _require_groups(self) -> dict[str, _LoadedGroup]:
        """Return the groups, loaded when they are not yet, or in an earlier lease.

        Raises:
            ReadOnlyManager: this manager does not coordinate.
        """
        epoch = self._lease.require()
        if self._groups is None or self._epoch != epoch:
            async with self._loading:
                if self._groups is None or self._epoch != epoch:
                    stored = await self._database.run(selectors.groups_stored)
                    self._epoch = epoch
                    self._groups = {name: _LoadedGroup(name, one) for name, one in stored.items()}
                    for group in self._groups.values():
                        self._begin_sessions(group)
        return self._groups

    def _begin_sessions(self, group: _LoadedGroup) -> None:
        for name in group.stored.state.members:
            self._hear(group, name)

    def _hear(self, group: _LoadedGroup, member_id: str, address: str = "") -> None:
        """Note a heartbeat."""
        now_s, member = self._monotonic_s(), group.stored.state.members.get(member_id)
        before = group.alive.get(member_id)
        address = address or (before.address if before else "")
        group.alive[member_id] = _LastHeartbeat(now_s, self._now(), address)
        if member is not None:
            group.look_at_s = min(group.look_at_s, now_s + member.silence_ms / 1000)

    def _shapes(self, names: Iterable[str], state: GroupState) -> dict[str, TopicShape]:
        """Return the present shapes of topics: those named and those that the group subscribes."""
        topics = self._metadata.current.topics
        return {
            name: TopicShape(len(topics[name].partitions), topics[name].partitions[0].group_id)
            for name in state.wanted.union(names)
            if name in topics
        }


def _known(group: _LoadedGroup | None, member_id: str) -> _LoadedGroup:
    """Return the group, if it has this member.

    Raises:
        UnknownMember: there is no such group, or it has no such member.
    """
    if group is None:
        raise UnknownMember("there is no such group: join it without a member_id", field="group")
    group.stored.state.member(member_id)
    return group
