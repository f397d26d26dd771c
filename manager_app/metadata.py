"""The copy in memory of topics, partitions, brokers and leaders that hot views look at.

It is loaded from the database at the start, after each change that this process made, and when
polling finds another version there: whole, or the topics alone that changed where all others are as
they were. Leaders are also noted one by one as brokers report them.
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from http_base.access import EMPTY_ACCESS, AccessIndex
from http_base.writes import DATABASE_FAILURES
from manager_app.database import answers_within
from myqueue.contract import retry_after
from myqueue.contract.errors import DatabaseUnavailable, PartitionNotFound, TopicDoesNotExist

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from datetime import datetime


POLL_LIMIT_S = 3.0
"""For the database to say its version; then it counts as away until it says one."""


@dataclass(frozen=True, slots=True)
class PartitionMetadata:
    """A partition: its Raft group and the brokers that have a replica."""

    group_id: int
    index: int
    topic: str
    replicas: tuple[int, ...]
    """Broker ids, in the order of their positions."""


@dataclass(frozen=True, slots=True)
class StoredSettings:
    """Replication and retention of a topic."""

    replication_factor: int
    retention_ms: int | None
    retention_bytes: int | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class TopicMetadata:
    """A topic with its partitions."""

    name: str
    partitions_at_creation: int
    partitions: tuple[PartitionMetadata, ...]
    """In the order of their indexes, without a gap."""
    settings: StoredSettings
    topic_id: int = 0
    """Of the row; topics are listed in the order of their ids."""

    def partition(self, index: int) -> PartitionMetadata:
        """Return the partition with this index.

        Raises:
            PartitionNotFound: there is none.
        """
        if not 0 <= index < len(self.partitions):
            raise PartitionNotFound(
                f"topic {self.name!r} has partitions 0 to {len(self.partitions) - 1}, not {index}",
                field="partition",
            )
        return self.partitions[index]

    def chosen(self, indexes: Collection[int] | None) -> list[PartitionMetadata]:
        """Return the partitions with these indexes in their order, each once; all for None.

        Raises:
            PartitionNotFound: there is no such one.
        """
        if indexes is None:
            return list(self.partitions)
        for index in indexes:
            if not 0 <= index < len(self.partitions):
                raise PartitionNotFound(
                    f"topic {self.name!r} has no partition {index}", field="partitions"
                )
        return [self.partitions[index] for index in sorted(set(indexes))]


@dataclass(frozen=True, slots=True)
class BrokerMetadata:
    """A broker and its state."""

    broker_id: int
    address: str
    state: str
    raft_address: str = ""
    draining: bool = False


@dataclass(frozen=True, slots=True)
class Leadership:
    """The leader of a partition, as last reported."""

    broker_id: int
    """0 while unknown."""
    term: int


@dataclass(frozen=True)
class ClusterMetadata:
    """All metadata, as one look at the database read it."""

    version: int = 0
    """0: never loaded."""
    whole_version: int = 0
    """Of the last change that was not of single topics, as `Cluster.whole_version` says."""
    is_part: bool = False
    """True where only the topics that changed were read, and who may do what was not."""
    primary_address: str = ""
    """Empty while no manager is."""
    epoch: int = 0
    """Of the primary's lease."""
    topics: Mapping[str, TopicMetadata] = field(default_factory=dict)
    brokers: Mapping[int, BrokerMetadata] = field(default_factory=dict)
    leaders: Mapping[int, Leadership] = field(default_factory=dict)
    """By group id, of the topics that were read; reported since may be some of a later term."""
    access: AccessIndex = EMPTY_ACCESS
    """Who may do what, with `QUEUE_AUTH=required`; without it nobody asks."""


NOTHING_KNOWN = ClusterMetadata()
"""Before the first look at the database."""


class MetadataCopy:
    """The copy, and the coroutines that wait for it to change.

    Any thread may refresh it or note a leader; waiting is for coroutines of the loop that was
    `attach`ed.
    """

    def __init__(
        self,
        *,
        load: Callable[[ClusterMetadata], ClusterMetadata],
        load_version: Callable[[], int],
        monotonic_s: Callable[[], float],
    ) -> None:
        """Make an empty copy; `refresh` fills it.

        Args:
            load: reads from the database what is not known; is given what is.
            load_version: reads the version alone.
            monotonic_s: clock for the copy's age, in seconds.
        """
        self._load = load
        self._load_version = load_version
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()
        self._current = NOTHING_KNOWN
        self._leaders: dict[int, Leadership] = {}
        self._checked_s: float | None = None
        self._is_away = False
        self._is_silent = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: set[asyncio.Future[None]] = set()

    @property
    def current(self) -> ClusterMetadata:
        """What was loaded last; immutable, a refresh replaces it."""
        return self._current

    @property
    def age_ms(self) -> int | None:
        """Milliseconds since the copy was known to equal the database; None: never loaded."""
        if self._checked_s is None:
            return None
        return max(0, int((self._monotonic_s() - self._checked_s) * 1000))

    @property
    def is_away(self) -> bool:
        """True from a poll that the database did not answer until the next that it does."""
        return self._is_away

    @property
    def is_silent(self) -> bool:
        """True when a read had no answer in its time and no poll had one since."""
        return self._is_silent

    def note_silence(self) -> None:
        """Note that the database did not answer a read in its time: others need not wait for it."""
        self._is_silent = True

    def require_database(self) -> None:
        """Check that the database is not known to be away.

        Raises:
            DatabaseUnavailable: it is; nothing was asked of it.
        """
        if self._is_away:
            raise DatabaseUnavailable(
                "the manager's database does not answer; nothing was stored, try again",
                retry_after_ms=retry_after.DATABASE_MS,
            )

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wake the waiting coroutines of this loop from now on."""
        self._loop = loop

    def refresh(self) -> None:
        """Load what changed in the database since the last time; blocks."""
        with self._lock:
            checked_s = self._monotonic_s()
            loaded = self._load(self._current)
            leaders = {
                group_id: self._newer(group_id, leadership)
                for group_id, leadership in loaded.leaders.items()
            }
            if loaded.is_part:
                self._leaders.update(leaders)
            else:
                self._leaders = leaders
            self._current = loaded
            self._checked_s = checked_s
        self._notify()

    def poll(self) -> bool:
        """Refresh when the database has another version; return whether it had. Blocks."""
        checked_s = self._monotonic_s()
        try:
            with answers_within(POLL_LIMIT_S):
                version = self._load_version()
        except DATABASE_FAILURES:
            self._is_away = self._is_silent = True
            raise
        has_changed = version != self._current.version
        if has_changed:
            self.refresh()
        else:
            self._checked_s = checked_s
        self._is_away = self._is_silent = False
        return has_changed

    def note_leaders(self, leaders: Iterable[tuple[int, Leadership]]) -> None:
        """Take over reported leaders, by group id; older terms are ignored."""
        with self._lock:
            for group_id, leadership in leaders:
                self._leaders[group_id] = self._newer(group_id, leadership)
        self._notify()

    def leader_of(self, group_id: int) -> Leadership:
        """Return the leader of a group: broker 0 in term 0 when none was reported."""
        return self._leaders.get(group_id, Leadership(0, 0))

    def topic(self, name: str) -> TopicMetadata:
        """Return a topic.

        Raises:
            TopicDoesNotExist: the copy has none of this name.
        """
        topic = self._current.topics.get(name)
        if topic is None:
            raise TopicDoesNotExist(f"topic {name[:260]!r} does not exist", field="topic")
        return topic

    def address_of(self, broker_id: int) -> str | None:
        """Return where a broker listens, or None for an unknown one."""
        broker = self._current.brokers.get(broker_id)
        return broker.address if broker else None

    async def changed(self, timeout_s: float) -> None:
        """Return at the next change, or after `timeout_s` seconds."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            await asyncio.wait((future,), timeout=timeout_s)
        finally:
            self._waiting.discard(future)
            future.cancel()

    async def wait_until(self, holds: Callable[[], bool], timeout_s: float) -> bool:
        """Return True as soon as `holds()` is true, False after `timeout_s` seconds."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while not holds():
            remaining_s = deadline - loop.time()
            if remaining_s <= 0:
                return False
            await self.changed(remaining_s)
        return True

    def _newer(self, group_id: int, leadership: Leadership) -> Leadership:
        known = self._leaders.get(group_id)
        if known is None or leadership.term >= known.term:
            return leadership
        return known

    def _notify(self) -> None:
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
