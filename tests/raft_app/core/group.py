"""A group of nodes in memory whose disks and links the test holds in its hands."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from raft_app.core.bootstrap import bootstrap_state, joining_state
from raft_app.core.config import RaftConfig
from raft_app.core.rawnode import RawNode
from raft_app.core.types import (
    AddLearner,
    AppendEntries,
    Entry,
    EntryKind,
    HardState,
    InitialState,
    Membership,
    PreVoteReply,
    Promote,
    Proposal,
    RaftMember,
    Ready,
    Role,
    SnapshotMeta,
    Write,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from raft_app.core.types import Rpc

R = TypeVar("R")
T = RaftConfig().election_timeout_ticks
HEARTBEAT = RaftConfig().heartbeat_ticks


def members(count: int, *, first: int = 1) -> tuple[RaftMember, ...]:
    """Return `count` members; replica ids count from `first`, broker ids are ten times that."""
    return tuple(RaftMember(i, 10 * i) for i in range(first, first + count))


def data(text: str) -> Proposal:
    """Return a proposal that carries `text`."""
    return Proposal(EntryKind.DATA, text.encode(), record_count=1)


def entries_of(terms: Sequence[int], *, first_index: int = 1) -> tuple[Entry, ...]:
    """Return no-ops with the given terms, one per index."""
    return tuple(
        Entry(index, term, EntryKind.NOOP) for index, term in enumerate(terms, first_index)
    )


def term_starts_of(entries: Iterable[Entry]) -> tuple[tuple[int, int], ...]:
    """Return (first index, term) of each term."""
    starts: dict[int, int] = {}
    for entry in entries:
        starts.setdefault(entry.term, entry.index)
    return tuple((index, term) for term, index in starts.items())


def stored(
    replica_id: int,
    membership: Membership,
    terms: Sequence[int],
    *,
    term: int = 0,
) -> InitialState:
    """Return the state of a replica that holds a log with the given terms, nothing applied."""
    entries = entries_of(terms)
    return InitialState(
        replica_id=replica_id,
        hard_state=HardState(term=max(term, *terms, 0)),
        membership=membership,
        membership_index=0,
        term_starts=term_starts_of(entries),
        last_index=len(entries),
        entries=entries,
    )


def fixed_randomizer(replica_id: int) -> Callable[[int, int], int]:
    """Return a randomizer by which lower replica ids time out first, five ticks apart."""

    def draw(low: int, high: int) -> int:
        return min(low + 5 * (replica_id - 1), high - 1)

    return draw


@dataclass
class Replica:
    """One node, its disk and what its caller would keep."""

    initial: InitialState
    config: RaftConfig
    node: RawNode = field(init=False)
    disk: list[Entry] = field(default_factory=list)
    """The durable log."""
    hard_state: HardState = field(default_factory=HardState)
    writing: deque[Write] = field(default_factory=deque)
    """Writes that are issued and not durable."""
    durable_write_id: int = 0
    held: deque[tuple[int, Rpc]] = field(default_factory=deque)
    """(write id, RPC) that may leave when that write is durable."""
    applied: list[Entry] = field(default_factory=list)
    reads: list[tuple[int, int]] = field(default_factory=list)
    failed_reads: list[int] = field(default_factory=list)
    snapshots_wanted: list[int] = field(default_factory=list)
    """Peers that need one, as often as they were told."""

    def __post_init__(self) -> None:
        self.disk = list(self.initial.entries)
        self.hard_state = self.initial.hard_state
        self.start()

    def start(self) -> None:
        """Start the node from the disk; everything else is gone."""
        initial = replace(
            self.initial,
            hard_state=self.hard_state,
            entries=tuple(e for e in self.disk if e.index > self.initial.applied_index),
            last_index=self.disk[-1].index if self.disk else self.initial.applied_index,
            term_starts=term_starts_of(self.disk),
        )
        randomizer = fixed_randomizer(initial.replica_id)
        self.node = RawNode(self.config, initial, randomizer=randomizer)
        self.writing.clear()
        self.held.clear()
        self.applied.clear()
        self.durable_write_id = 0

    def take_ready(self) -> tuple[Ready, list[Rpc]]:
        """Take one `Ready`, apply, keep the write; return it with the RPCs that may leave."""
        ready = self.node.ready()
        leaving = list(ready.send_now)
        if ready.write is not None:
            self.writing.append(ready.write)
        self.held.extend((ready.after_write_id, rpc) for rpc in ready.send_after_durable)
        leaving += self._release()
        if ready.committed:
            self.applied += ready.committed
            self.node.applied(ready.committed[-1].index)
        self.reads += [(read.context, read.index) for read in ready.reads_confirmed]
        self.failed_reads += ready.reads_failed
        self.snapshots_wanted += [wanted.peer for wanted in ready.snapshots_wanted]
        for wanted in ready.entries_wanted:
            first_index = self.initial.first_index
            wanted_entries = self.disk[wanted.first_index - first_index :]
            self.node.entries_read(wanted, wanted_entries[:3])
        return ready, leaving

    def persist(self) -> list[Rpc]:
        """Make the oldest write durable; return the RPCs that may leave now."""
        write = self.writing.popleft()
        if write.hard_state is not None:
            self.hard_state = write.hard_state
        if write.entries:
            del self.disk[write.entries[0].index - self.initial.first_index :]
            self.disk += write.entries
        self.durable_write_id = write.write_id
        self.node.persisted(write.write_id)
        return self._release()

    def snapshot(self) -> SnapshotMeta:
        """Return what a snapshot of the applied state covers."""
        index, membership = self.initial.membership_index, self.initial.membership
        for entry in self.applied:
            if entry.kind == EntryKind.MEMBERSHIP:
                index, membership = entry.index, Membership.decode(entry.data)
        last_index = self.node.applied_index
        last_term = self.node.term_at(last_index)
        assert last_term is not None
        return SnapshotMeta(last_index, last_term, membership, index)

    def compact(self) -> None:
        """Store a checkpoint of the applied state and drop the log that it covers."""
        meta = self.snapshot()
        kept = [entry for entry in self.disk if entry.index > meta.last_index]
        self._store_snapshot(meta, kept)
        self.node.compacted(meta.last_index + 1, meta.last_term)

    def install(self, meta: SnapshotMeta) -> None:
        """Put a wanted snapshot in place at once."""
        self.node.begin_install()
        self._store_snapshot(meta, [])
        self.applied.clear()
        self.node.finish_install(meta)

    def _store_snapshot(self, meta: SnapshotMeta, log: list[Entry]) -> None:
        self.disk = log
        self.initial = replace(
            self.initial,
            membership=meta.membership,
            membership_index=meta.membership_index,
            applied_index=meta.last_index,
            first_index=meta.last_index + 1,
            previous_term=meta.last_term,
        )

    def _release(self) -> list[Rpc]:
        leaving: list[Rpc] = []
        while self.held and self.held[0][0] <= self.durable_write_id:
            leaving.append(self.held.popleft()[1])
        return leaving


class Group:
    """Several replicas and the RPCs between them.

    `settle` runs everything to rest; finer steps are the replicas' own methods.
    """

    def __init__(
        self,
        voters: int = 3,
        *,
        learners: int = 0,
        config: RaftConfig | None = None,
        logs: dict[int, Sequence[int]] | None = None,
        term: int = 0,
    ) -> None:
        """Make a bootstrapped group, or one whose replicas hold logs with the given terms.

        `term` is the stored term of the latter where it is above that of the last entry.
        """
        self.membership = Membership(members(voters), members(learners, first=voters + 1))
        config = config or RaftConfig()
        self.replicas = {
            member.replica_id: Replica(
                bootstrap_state(member.replica_id, self.membership)
                if logs is None
                else stored(member.replica_id, self.membership, logs[member.replica_id], term=term),
                config,
            )
            for member in self.membership.members
        }
        self.network: list[Rpc] = []
        self.cut: set[tuple[int, int]] = set()
        self.sent: list[Rpc] = []
        self.slow_disks: set[int] = set()

    def __getitem__(self, replica_id: int) -> RawNode:
        """Return one node."""
        return self.replicas[replica_id].node

    def join(self, replica_id: int) -> RawNode:
        """Start a replica that knows nothing and is no member yet."""
        config = next(iter(self.replicas.values())).config
        self.replicas[replica_id] = Replica(joining_state(replica_id), config)
        return self[replica_id]

    def add_learner(self, leader: int, replica_id: int) -> None:
        """Start a new replica and let it catch up as a learner."""
        self.join(replica_id)
        change = AddLearner(RaftMember(replica_id, 10 * replica_id))
        self[leader].propose_membership(change, version=0)
        self.tick(2 * HEARTBEAT, only=[leader])

    def add_voter(self, leader: int, replica_id: int) -> None:
        """Start a new replica and make it a voter."""
        self.add_learner(leader, replica_id)
        self[leader].propose_membership(Promote(replica_id), version=0)
        self.settle()

    def transfer_snapshot(self, leader: int, peer: int) -> bool:
        """Offer a leader's snapshot to a peer, install it if it is wanted; tell whether it was."""
        meta = self.replicas[leader].snapshot()
        term = self[leader].term
        wanted = self[peer].offer_snapshot(leader, term, meta)
        if wanted:
            self.replicas[peer].install(meta)
        self[leader].report_snapshot(peer, wanted)
        self.settle()
        return wanted

    def isolate(self, *replica_ids: int) -> None:
        """Cut every link between these replicas and the others."""
        for inside in replica_ids:
            for outside in self.replicas.keys() - set(replica_ids):
                self.cut |= {(inside, outside), (outside, inside)}

    def heal(self) -> None:
        """Mend every link."""
        self.cut.clear()

    def send(self, rpcs: Iterable[Rpc]) -> None:
        """Put RPCs on their way, or lose them where a link is cut."""
        for rpc in rpcs:
            self.sent.append(rpc)
            if (rpc.sender, rpc.to) not in self.cut and rpc.to in self.replicas:
                self.network.append(rpc)

    def collect(self) -> bool:
        """Take every `Ready` and make what fast disks hold durable; tell whether any was there."""
        any_ready = False
        for replica_id, replica in self.replicas.items():
            while replica.node.has_ready() or (
                replica.writing and replica_id not in self.slow_disks
            ):
                any_ready = True
                if replica.node.has_ready():
                    self.send(replica.take_ready()[1])
                if replica_id not in self.slow_disks:
                    while replica.writing:
                        self.send(replica.persist())
        return any_ready

    def settle(self) -> None:
        """Deliver and collect until nothing moves."""
        while self.collect() or self.network:
            arriving, self.network = self.network, []
            for rpc in arriving:
                self[rpc.to].step(rpc)

    def tick(self, count: int = 1, *, only: Iterable[int] | None = None) -> None:
        """Let ticks pass, settling after each."""
        for _ in range(count):
            for replica_id in only or self.replicas:
                self[replica_id].tick()
            self.settle()

    def elect(self, replica_id: int) -> RawNode:
        """Make a replica the leader, by a campaign that nobody has a reason to refuse."""
        for other, replica in self.replicas.items():
            if other != replica_id:
                replica.node.report_connection_lost(replica.node.leader)
        self[replica_id].campaign()
        self.settle()
        assert self[replica_id].is_leader
        return self[replica_id]

    def propose(self, replica_id: int, *texts: str) -> list[tuple[int, int]]:
        """Propose on one replica and settle."""
        positions = self[replica_id].propose([data(text) for text in texts])
        self.settle()
        return positions

    def roles(self) -> dict[int, Role]:
        """Return the role of each replica."""
        return {replica_id: replica.node.role for replica_id, replica in self.replicas.items()}

    def applied_data(self, replica_id: int) -> list[str]:
        """Return the DATA that one replica has applied."""
        return [
            entry.data.decode()
            for entry in self.replicas[replica_id].applied
            if entry.kind == EntryKind.DATA
        ]

    def sent_of(self, kind: type[R]) -> list[R]:
        """Return the RPCs of one type that were ever sent."""
        return [rpc for rpc in self.sent if isinstance(rpc, kind)]


def append(
    to: int,
    sender: int,
    *,
    term: int,
    prev: tuple[int, int],
    entries: Sequence[Entry] = (),
    commit: int = 0,
) -> AppendEntries:
    """Return an AppendEntries; `prev` is (index, term)."""
    return AppendEntries(to, sender, term, prev[0], prev[1], tuple(entries), commit)


def answer_to(group: Group, replica_id: int) -> list[Rpc]:
    """Take everything ready of one replica, with its disk done; return what left."""
    group.sent.clear()
    group.network.clear()
    group.collect()
    return [rpc for rpc in group.sent if rpc.sender == replica_id]


def candidate(voters: int = 3) -> Group:
    """Return a group whose replica 1 is a candidate in term 2, its requests not delivered."""
    group = Group(voters)
    group[1].campaign()
    group.collect()
    group.network.clear()
    for peer in range(2, voters // 2 + 2):
        group[1].step(PreVoteReply(1, peer, 2, granted=True))
    assert group[1].role is Role.CANDIDATE
    group.collect()
    group.network.clear()
    return group


def led(voters: int = 3, *, config: RaftConfig | None = None) -> Group:
    """Return a group that replica 1 leads in term 2, at rest; index 2 is the no-op."""
    group = Group(voters, config=config)
    group.elect(1)
    group.tick(HEARTBEAT, only=[1])
    return group
