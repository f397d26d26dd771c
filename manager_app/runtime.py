"""The parts of a manager process, and the one place where views and tasks find them."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakValueDictionary

from manager_app.fence import write_under
from manager_app.metrics import OPEN_CALLS
from manager_app.pace import Pace
from myqueue.contract import retry_after
from myqueue.contract.errors import (
    Overloaded,
    ReadOnlyManager,
    TopicDoesNotExist,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from datetime import datetime
    from types import TracebackType
    from typing import Any

    from manager_app.brokers.client import BrokerClient
    from manager_app.brokers.membership_orders import MembershipOrders
    from manager_app.brokers.orders import OrderSender
    from manager_app.clients.registry import ClientRegistry
    from manager_app.database import DatabaseThreads
    from manager_app.groups.coordinator import GroupCoordinator
    from manager_app.groups.offset_moves import GroupOffsetMoves
    from manager_app.groups.offsets import GroupOffsetCalls
    from manager_app.groups.standings import StandingsCopy
    from manager_app.health.watch import Watch
    from manager_app.last_seen import LastSeen
    from manager_app.lease import Lease
    from manager_app.metadata import MetadataCopy, TopicMetadata
    from manager_app.placement.balance_rules import RecentPlan
    from manager_app.proxy.partition_calls import PartitionCalls
    from manager_app.proxy.several import SeveralCalls

T = TypeVar("T")


@dataclass
class ManagerRuntime:
    """The collaborators of a manager's views and tasks; made by `ManagerProcess`."""

    secret: str
    read_only: bool
    loop: asyncio.AbstractEventLoop
    database: DatabaseThreads
    metadata: MetadataCopy
    calls: PartitionCalls
    several: SeveralCalls
    primary: BrokerClient
    """Its connections lead to the primary as well."""
    standings: StandingsCopy
    watch: Watch
    orders: OrderSender
    membership_orders: MembershipOrders
    clients: ClientRegistry
    groups: GroupCoordinator
    lease: Lease
    group_offsets: GroupOffsetCalls
    group_offset_moves: GroupOffsetMoves
    broker_heartbeats: LastSeen[int]
    monotonic_s: Callable[[], float]
    now: Callable[[], datetime]
    suspect_after_s: float
    """Silence of a broker after which it is shown as suspect, in seconds."""
    replace_after_s: float
    """Silence of a broker after which its replicas move to others, in seconds."""
    forget_after_s: float
    """Silence of an expired consumer after which it is forgotten, in seconds."""
    open_calls_max: int
    """Calls being passed on at once, and as many long polls again; more are refused with
    OVERLOADED."""
    open_calls: int = 0
    """Calls being passed on now, without long polls."""
    waiting_calls: int = 0
    """Long polls being passed on now, one for each partition that is asked."""
    pops_at_once: WeakValueDictionary[tuple[int, str], asyncio.Lock] = field(
        default_factory=WeakValueDictionary
    )
    """By consumer and request id: repetitions of one pop without a partition go one after the
    other."""
    failed_transfers: dict[tuple[int, int], float] = field(default_factory=dict)
    """(group id, broker id) of leaderships that could not be moved to that broker -> monotonic time
    of the try."""
    move_pace: Pace = field(default_factory=Pace)
    """When the next replica may be moved for balance."""
    recent_plan: RecentPlan | None = None
    """Of moves for balance, for pages."""
    balanced_version: int = 0
    """Of the metadata, when last there was nothing to move."""
    tokens_used: set[int] = field(default_factory=set)
    """Ids of API tokens that were used here since that was stored last."""
    started_s: float = field(init=False)
    """Monotonic time of the start."""

    def __post_init__(self) -> None:
        """Note the time of the start."""
        self.started_s = self.monotonic_s()

    @property
    def now_ms(self) -> int:
        """The wall clock, in milliseconds since 1970."""
        return int(self.now().timestamp() * 1000)

    def run(self, coroutine: Coroutine[Any, Any, T], *, timeout_s: float) -> T:
        """Run a coroutine in the manager's loop and wait for it; for threads beside the loop.

        Args:
            coroutine: what to run; it keeps its own time limits.
            timeout_s: after which the thread gives up, in seconds; longer than those limits.
        """
        with self.begin(coroutine, timeout_s=timeout_s) as result:
            return result()

    @contextmanager
    def begin(
        self, coroutine: Coroutine[Any, Any, T], *, timeout_s: float
    ) -> Iterator[Callable[[], T]]:
        """Run a coroutine in the manager's loop while the thread does something else.

        Args:
            coroutine: what to run, as for `run`; cancelled when the block ends before it.
            timeout_s: after which the thread gives up, from when it asks, in seconds.

        Yields:
            What waits for its result.
        """
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        try:
            yield partial(future.result, timeout_s)
        finally:
            future.cancel()

    @property
    def is_primary(self) -> bool:
        """True while this process may write metadata, as far as it knows."""
        return not self.read_only and self.lease.is_held

    def require_primary(self) -> None:
        """Check that this manager is the primary, as far as it knows.

        Raises:
            ReadOnlyManager: it is read-only, or not the primary; the error names the primary.
        """
        self.require_writable()
        self.lease.write_epoch()

    def require_database(self) -> None:
        """Check that this manager takes writes of metadata: it is the primary of a database.

        Raises:
            ReadOnlyManager: it is read-only, or not the primary; the error names the primary.
            DatabaseUnavailable: the database is known to be away; nothing was written.
        """
        self.require_primary()
        self.metadata.require_database()

    def require_writable(self) -> None:
        """Check that this manager may become the primary.

        Raises:
            ReadOnlyManager: it is read-only; the error names the primary.
        """
        if self.read_only:
            primary = self.metadata.current.primary_address or None
            raise ReadOnlyManager(
                f"this manager is read-only; send writes to {primary or 'the primary'}",
                primary=primary,
            )

    def version_of(self, broker_id: int) -> str | None:
        """Return which version a broker runs; None while it has not told this manager."""
        told = self.watch.told.get(broker_id)
        return None if told is None else told.standing.version or None

    def suspects(self) -> frozenset[int]:
        """Return the ids of the brokers silent for `suspect_after_s`, dead ones included."""
        return self.broker_heartbeats.silent(self.monotonic_s(), self.suspect_after_s)

    def silent_brokers(self) -> frozenset[int]:
        """Return the suspects, and the brokers that do not answer this manager's calls."""
        return self.suspects() | self.orders.brokers.silent()

    async def find_topic(self, name: str) -> TopicMetadata:
        """Return a topic; one that the copy lacks is looked up in the database first.

        Raises:
            TopicDoesNotExist: there is none of this name.
        """
        try:
            return self.metadata.topic(name)
        except TopicDoesNotExist:
            await self.database.run(self.metadata.poll)
            return self.metadata.topic(name)

    def passing(self, calls: int = 1, *, waits: bool = False) -> Passing:
        """Return what counts calls while they are passed on.

        Args:
            calls: how many.
            waits: True for long polls, which are counted apart: they keep no write out.

        Raises:
            Overloaded: too many are being passed on.
        """
        taken = self.waiting_calls if waits else self.open_calls
        if taken + calls > self.open_calls_max:
            raise Overloaded(
                f"{taken} {'waiting ' if waits else ''}calls are being passed on; this manager"
                f" takes {self.open_calls_max}, not {calls} more",
                retry_after_ms=retry_after.PASSED_CALLS_MS,
            )
        return Passing(self, calls, waits=waits)


class Passing:
    """Some calls that are being passed on in a `with`."""

    __slots__ = ("_calls", "_runtime", "_waits")

    def __init__(self, runtime: ManagerRuntime, calls: int, *, waits: bool) -> None:
        self._runtime = runtime
        self._calls = calls
        self._waits = waits

    def __enter__(self) -> None:
        """Count them."""
        self._count(self._calls)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Count them no longer."""
        self._count(-self._calls)

    def _count(self, calls: int) -> None:
        if self._waits:
            self._runtime.waiting_calls += calls
        else:
            self._runtime.open_calls += calls


_installed: ManagerRuntime | None = None


def install(runtime: ManagerRuntime | None) -> None:
    """Make `runtime` the one of this process; None takes it away.

    Metadata is written under its lease, and without one under none: a process whose manager ends
    writes nothing any more.
    """
    global _installed
    _installed = runtime
    if runtime is not None:
        write_under(runtime.lease.write_epoch)


def installed() -> ManagerRuntime | None:
    """Return the runtime of this process, if it has one."""
    return _installed


def require_writable() -> None:
    """Check that this process may become the primary; one without a manager may write.

    Raises:
        ReadOnlyManager: it is a read-only manager.
    """
    present = installed()
    if present is not None:
        present.require_writable()


def suspects() -> frozenset[int]:
    """Return the ids of silent brokers; none where this process runs no manager."""
    present = installed()
    return present.suspects() if present else frozenset()


def current() -> ManagerRuntime:
    """Return the runtime of this process.

    Raises:
        RuntimeError: the process has none; `manage.py manager` makes one.
    """
    if _installed is None:
        raise RuntimeError("this process runs no manager; start one with: manage.py manager")
    return _installed


def _calls_now() -> float:
    """Return how many calls are being passed on, long polls included."""
    return 0 if _installed is None else _installed.open_calls + _installed.waiting_calls


OPEN_CALLS.set_function(_calls_now)
