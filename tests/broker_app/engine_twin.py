"""An engine in memory: one log per group, committed in order when the test lets it.

It promises what `raft_app.engine` promises to the services, and can be told to hold commits
back, to lose leadership and to be deaf.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from broker_app.partition.limits import BrokerLimits, StateLimits
from broker_app.partition.statemachine import PartitionState
from broker_app.runtime import BrokerRuntime
from http_base.histogram import Histogram
from http_base.kept import Found, Kept
from http_base.memory_budget import MemoryBudget
from myqueue.contract.errors import (
    BrokerUnreachable,
    CommitTimeout,
    NoLeader,
    NotLeader,
    PartitionNotFound,
)
from raft_app.core.progress import ProgressState
from raft_app.core.status import PeerStatus, Status
from raft_app.core.types import Entry, EntryKind, Membership, RaftMember, Role
from raft_app.engine.local_replicas import Event, LocalReplicas
from raft_app.engine.membership import ReplicaChange
from raft_app.engine.tick_intervals import TickIntervals
from raft_app.statemachine import CommandAnswer, Join, Propose
from raft_app.storage.protocol import BrokerIdentity, GroupSpec, StoredBatch
from raft_app.transport.protocol import TransportCounters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from broker_app.partition.commands import PartitionWrite
    from http_base.cluster import MembersAnswer
    from myqueue.contract.errors import QueueError
    from raft_app.engine.replica import FollowerProgress


class ReplicaTwin:
    """One local replica."""

    def __init__(
        self,
        spec: GroupSpec,
        membership: Membership,
        limits: StateLimits,
        among: LocalReplicas | None = None,
    ) -> None:
        self.among: Any = LocalReplicas() if among is None else among
        """Whose watchers are told what happens to this one."""
        self.spec = spec
        self.group_id = spec.group_id
        self.membership = membership
        self.state_machine = PartitionState(spec, limits=limits)
        self.log: list[Entry] = []
        self.batches: list[StoredBatch] = []
        self.waiters: dict[tuple[int, int], list[asyncio.Future[Any]]] = {}
        self.term = 1
        self.is_leader = True
        self.hears_leader = True
        self.is_installing = False
        self.is_asleep = False
        self.suspects: dict[int, str] = {}
        self.applied = SimpleNamespace(membership=membership, index=0, is_removed=False)
        self.leader_broker_id = 1
        self.faulty = ""
        self.lags: list[tuple[int, int, bool]] = []
        """What `followers` tells."""

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if hasattr(self, "group_id"):
            self.note_change()

    def note_change(self) -> None:
        """Tell whoever watches that something happened."""
        self.among.happened(Event.APPLIED, self)

    @property
    def node(self) -> ReplicaTwin:
        """Its Raft node: the twin itself."""
        return self

    @property
    def serves(self) -> bool:
        return self.is_leader and not self.faulty

    @property
    def label(self) -> str:
        return f"partition {self.spec.partition} of topic '{self.spec.topic}'"

    @property
    def role(self) -> str:
        return "leader" if self.is_leader else "follower"

    @property
    def kept(self) -> Kept:
        return Kept(self.term, self.commit_index)

    @property
    def found(self) -> Found:
        return Found(self.term, self.last_index, self.term)

    @property
    def commit_index(self) -> int:
        index: int = self.applied.index
        return index

    @property
    def last_index(self) -> int:
        return len(self.log)

    @property
    def first_index(self) -> int:
        return 1

    def progress(self) -> list[FollowerProgress]:
        return []

    def followers(self) -> list[tuple[int, int, bool]]:
        return self.lags

    def broker_of(self, replica_id: int) -> int:
        return {member.replica_id: member.broker_id for member in self.membership.members}.get(
            replica_id, 0
        )

    def status(self) -> Status:
        own_id = self.spec.replica_id
        others = [one for one in self.membership.members if one.replica_id != own_id]
        peers = others if self.is_leader else []
        return Status(
            replica_id=self.spec.replica_id,
            term=self.term,
            vote=0,
            role=Role.LEADER if self.is_leader else Role.FOLLOWER,
            leader=self.spec.replica_id if self.is_leader else 0,
            commit_index=self.commit_index,
            applied_index=self.commit_index,
            durable_index=self.last_index,
            first_index=self.first_index,
            last_index=self.last_index,
            membership=self.membership,
            membership_index=0,
            is_installing=self.is_installing,
            is_asleep=self.is_asleep,
            transferee=0,
            progress={
                one.replica_id: PeerStatus(
                    match=max(0, self.last_index - 3),
                    next=self.last_index + 1,
                    state=ProgressState.REPLICATE,
                    is_heard=True,
                    inflight_appends=1,
                    inflight_bytes=2_048,
                )
                for one in peers
            },
        )

    def require_serving(self) -> None:
        if not self.serves:
            if self.leader_broker_id and not self.is_leader:
                raise NotLeader("led elsewhere", leader={"broker_id": self.leader_broker_id})
            raise NoLeader("no leader")


class EngineTwin:
    """All groups of a broker with id 1."""

    def __init__(self, limits: StateLimits | None = None) -> None:
        self.broker_id = 1
        self.memory = MemoryBudget()
        self.limits = limits or StateLimits()
        self.replicas: Any = LocalReplicas()
        self.peers: dict[int, Any] = {2: None}
        self.connected_peers = frozenset({2})
        self.reached_peers: frozenset[int] = frozenset()
        self.on_applied: list[Callable[[Any], None]] = []
        self.on_leadership: list[Callable[[Any], None]] = []
        self.watchdog = SimpleNamespace(intervals_without_tick=0, tick_intervals=TickIntervals(50))
        self.disk = SimpleNamespace(full=False, free_bytes=1 << 40, reserve_bytes=1 << 30)
        self.slow_disk = SimpleNamespace(seconds_so_far=0.0, is_slow=False)
        self.stream = SimpleNamespace(transactions=0, times=Histogram(), waiting_groups=0)
        self.commits = Histogram()
        self.transport_counters = TransportCounters()
        self.incoming = SimpleNamespace(unknown_groups=0)
        self.guard = SimpleNamespace(silences=0)
        self.snapshots_sent = SimpleNamespace(sent=0)
        self.snapshots_received = SimpleNamespace(received=0)
        self.scrubber = SimpleNamespace(passes=0)
        self.failure: Any = SimpleNamespace(done=lambda: False)
        self.holding = False
        self.proposals: list[PartitionWrite] = []
        self.barriers = 0
        self.transfers: list[tuple[int, int]] = []
        self.joined: list[GroupSpec] = []
        self.changes: dict[int, ReplicaChange] = {}
        self.identities: list[BrokerIdentity] = []
        self.campaigned: list[int] = []
        self.now_ms = 1_000
        self.clock = 0
        self.unreadable = False
        self.refusals: list[QueueError] = []
        """Raised by the next proposals, one each."""

    # --- what tests do ----------------------------------------------------------------------

    def add(self, topic: str = "logs", partition: int = 0, group_id: int = 7) -> ReplicaTwin:
        """Make a group that this broker leads."""
        spec = GroupSpec(group_id, group_id * 10, topic, partition)
        membership = Membership(voters=(RaftMember(group_id * 10, 1),), version=1)
        return self._add(spec, membership)

    def remove(self, group_id: int) -> None:
        """Drop a group."""
        if group_id in self.replicas:
            self.replicas.drop(self.replicas[group_id])

    def release(self) -> None:
        """Commit what was held back, and hold back no more."""
        self.holding = False
        for replica in self.replicas.values():
            self.apply(replica)

    def lose(self, replica: ReplicaTwin, *, kept: int | None = None, leader: int = 2) -> None:
        """Let another broker lead; entries above `kept` are overwritten and never happen."""
        kept = len(replica.log) if kept is None else kept
        lost = {position for position in replica.waiters if position[0] > kept}
        del replica.log[kept:]
        replica.is_leader, replica.leader_broker_id = False, leader
        replica.term += 1
        replica.state_machine.abandon_speculation()
        for position in lost:
            for future in replica.waiters.pop(position):
                if not future.done():
                    future.set_exception(NotLeader("overwritten", leader={"broker_id": leader}))
        for listener in self.on_leadership:
            listener(replica)

    def win(self, replica: ReplicaTwin) -> None:
        """Let this broker lead again, everything in its log being committed."""
        replica.term += 1
        replica.log.append(
            Entry(index=len(replica.log) + 1, term=replica.term, kind=EntryKind.NOOP)
        )
        replica.state_machine.abandon_speculation()
        self.apply(replica)
        replica.is_leader, replica.leader_broker_id = True, 1
        for listener in self.on_leadership:
            listener(replica)

    def apply(self, replica: ReplicaTwin) -> None:
        """Apply everything in the log."""
        while replica.applied.index < len(replica.log):
            entry = replica.log[replica.applied.index]
            result = None
            if entry.kind is not EntryKind.NOOP:
                result = replica.state_machine.apply(entry)
            if entry.kind is EntryKind.DATA:
                replica.batches.append(
                    StoredBatch(
                        entry.base_offset, entry.record_count, entry.append_timestamp, entry.data
                    )
                )
            replica.applied.index = entry.index
            replica.note_change()
            for future in replica.waiters.pop((entry.index, entry.term), []):
                if not future.done():
                    future.set_result(result)
        for listener in self.on_applied:
            listener(replica)

    # --- what services use ------------------------------------------------------------------

    def replica(self, group_id: int) -> ReplicaTwin:
        if group_id not in self.replicas:
            raise PartitionNotFound(f"no group {group_id}")
        return self.replicas[group_id]

    def clock_ms(self) -> int:
        return self.clock

    def post(self, callback: Callable[..., object], *args: Any) -> None:
        asyncio.get_running_loop().call_soon(callback, *args)

    async def propose(
        self, group_id: int, request: Any, *, timeout_ms: int, may_use_reserve: bool = False
    ) -> Any:
        admitted = self._admit(group_id, request)
        if isinstance(admitted, CommandAnswer):
            return admitted.result
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                return await admitted
        except TimeoutError:
            raise CommitTimeout("no quorum in time") from None

    def begin(
        self,
        group_id: int,
        request: Any,
        tell: Callable[[Any, BaseException | None], None],
        *,
        timeout_ms: int,
    ) -> None:
        admitted = self._admit(group_id, request)
        if isinstance(admitted, CommandAnswer):
            tell(admitted.result, None)
            return

        def told(done: asyncio.Future[Any]) -> None:
            timer.cancel()
            if (error := done.exception()) is not None:
                tell(None, error)
            else:
                tell(done.result(), None)

        def expire() -> None:
            if not admitted.done():
                admitted.set_exception(CommitTimeout("no quorum in time"))

        timer = asyncio.get_running_loop().call_later(timeout_ms / 1000, expire)
        admitted.add_done_callback(told)

    def _admit(self, group_id: int, request: Any) -> asyncio.Future[Any] | CommandAnswer:
        replica = self.replica(group_id)
        replica.require_serving()
        if self.refusals:
            raise self.refusals.pop()
        state = replica.state_machine
        decision = state.prepare(request, now_ms=self.now_ms, clock_ms=self.clock)
        match decision:
            case CommandAnswer():
                return decision
            case Join(index=index, term=term):
                position = (index, term)
            case Propose(proposal=proposal, token=token):
                self.proposals.append(request)
                position = (len(replica.log) + 1, replica.term)
                replica.log.append(
                    Entry(
                        index=position[0],
                        term=position[1],
                        kind=proposal.kind,
                        data=proposal.data,
                        base_offset=proposal.base_offset,
                        record_count=proposal.record_count,
                        append_timestamp=proposal.append_timestamp,
                    )
                )
                state.proposed(token, *position)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        replica.waiters.setdefault(position, []).append(future)
        if not self.holding:
            asyncio.get_running_loop().call_soon(self._commit, replica)
        return future

    async def read_barrier(self, group_id: int, *, timeout_ms: int) -> None:
        self.barriers += 1
        replica = self.replica(group_id)
        replica.require_serving()
        await asyncio.get_running_loop().create_task(_nothing())
        replica.require_serving()

    async def read_batches(
        self, group_id: int, offset: int, high_watermark: int, max_bytes: int
    ) -> list[StoredBatch]:
        await asyncio.get_running_loop().create_task(_nothing())
        found: list[StoredBatch] = []
        for batch in self.replicas[group_id].batches:
            end = batch.base_offset + batch.record_count
            if end <= offset or batch.base_offset >= high_watermark or self.unreadable:
                continue
            if found and sum(len(one.data) for one in found) + len(batch.data) > max_bytes:
                break
            found.append(batch)
        return found

    async def create_replica(
        self, spec: GroupSpec, membership: Membership, *, campaign: bool
    ) -> None:
        self._add(spec, membership)
        if campaign:
            self.campaigned.append(spec.group_id)

    async def join_replica(self, spec: GroupSpec) -> None:
        self.joined.append(spec)
        await self.create_replica(spec, Membership(), campaign=False)
        joining = self.replicas[spec.group_id]
        joining.is_leader, joining.leader_broker_id = False, 0

    def change_replicas(
        self, group_id: int, target: tuple[RaftMember, ...], version: int
    ) -> ReplicaChange:
        self.replica(group_id).require_serving()
        return self.changes.setdefault(group_id, ReplicaChange(target, version))

    def find_change(self, group_id: int) -> ReplicaChange | None:
        return self.changes.get(group_id)

    async def save_identity(self, identity: BrokerIdentity) -> None:
        self.identities.append(identity)

    async def delete_replica(self, group_id: int) -> None:
        self.remove(group_id)

    async def transfer_leadership(self, group_id: int, broker_id: int, *, timeout_ms: int) -> None:
        self.replica(group_id).require_serving()
        self.transfers.append((group_id, broker_id))

    def _add(self, spec: GroupSpec, membership: Membership) -> ReplicaTwin:
        if spec.group_id not in self.replicas:
            self.replicas.add(ReplicaTwin(spec, membership, self.limits, self.replicas))
        made: ReplicaTwin = self.replicas[spec.group_id]
        return made

    def _commit(self, replica: ReplicaTwin) -> None:
        if not self.holding:
            self.apply(replica)


@dataclass
class LinkTwin:
    """A link to managers that notes what it is asked."""

    last_contact: float | None = None
    heartbeats: int = 0
    signs: int = 0
    moved: list[int] = field(default_factory=list)

    def heartbeat(self) -> None:
        self.heartbeats += 1

    def sign(self, moved: Iterable[int] = ()) -> None:
        self.signs += 1
        self.moved = list(moved)


@dataclass
class PeersTwin:
    """Other brokers that answer what the test tells them to."""

    answers: dict[int, MembersAnswer] = field(default_factory=dict)
    """By broker id; the others do not answer."""
    asked: list[int] = field(default_factory=list)

    async def members(self, broker_id: int, group_id: int) -> MembersAnswer:
        self.asked.append(broker_id)
        if broker_id not in self.answers:
            raise BrokerUnreachable(f"broker {broker_id} does not answer")
        return self.answers[broker_id]


def runtime_over(engine: Any, link: Any = None, options: Any = None, **facts: Any) -> BrokerRuntime:
    """Return a runtime over an engine, with twins of all that is not given."""
    facts.setdefault("peers", PeersTwin())
    facts.setdefault("identity", BrokerIdentity("i" * 32, broker_id=1, cluster_id="c"))
    return BrokerRuntime(engine, link or LinkTwin(), options or OptionsTwin(), **facts)


@dataclass
class OptionsTwin:
    """Options of a broker in tests: what waits does so briefly."""

    limits: BrokerLimits = field(default_factory=lambda: BrokerLimits(sequence_park_ms=200))


async def _nothing() -> None:
    return None


async def turns(count: int = 5) -> None:
    """Let the loop run for some turns: everything that is ready happens."""
    for _ in range(count):
        await asyncio.get_running_loop().create_task(_nothing())
