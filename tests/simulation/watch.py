"""All checkers of one run, fed from what leaves brokers, what their disks hold, what is applied."""

from __future__ import annotations

from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from broker_app.partition.commands import CommitOffsets, Truncate, decode_command
from raft_app.core.quorum import is_quorum
from raft_app.core.types import (
    NO_REPLICA,
    AppendEntries,
    AppendEntriesReply,
    Entry,
    EntryKind,
    Heartbeat,
    Membership,
    RequestVote,
    RequestVoteReply,
    Wake,
)
from raft_app.storage.protocol import (
    CreateGroup,
    DeleteGroup,
    FinishInstall,
    GroupWrite,
    SaveCheckpoint,
)
from tests.raft_app.core.simulation.checker import Violation
from tests.raft_app.core.simulation.log_checkers import (
    CommitQuorum,
    CommittedEntries,
    LeaderCompleteness,
    LogMatching,
    TruthfulAcknowledgements,
)
from tests.raft_app.core.simulation.membership_checkers import OneChangeAtATime
from tests.raft_app.core.simulation.sleep_checkers import (
    SleepsComplete,
    SleepsOnTheLiving,
    SleepsStranded,
)
from tests.raft_app.core.simulation.vote_checkers import (
    CutOff,
    DurableFirst,
    OneLeader,
    OneVote,
)
from tests.simulation.group_checkers import Fences, Works
from tests.simulation.history import AppliedEntries, History, StatesAt
from tests.simulation.promises import Admission, ReplicaIds, Silence

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from raft_app.core.types import RaftMember, Rpc
    from raft_app.engine.replica import Replica
    from raft_app.storage.protocol import Operation
    from tests.doubles.storage_replica import MemoryReplica
    from tests.simulation.broker import Broker
    from tests.simulation.disk import Disk
    from tests.simulation.simulation import Simulation
    from tests.simulation.watched_state import WatchedState


class GroupWatch:
    """The checkers of one group."""

    def __init__(self, cut_off_ticks: int) -> None:
        self.one_leader = OneLeader()
        self.one_vote = OneVote()
        self.durable_first = DurableFirst()
        self.cut_off = CutOff(cut_off_ticks)
        self.sleeps_complete = SleepsComplete()
        self.sleeps_on_the_living = SleepsOnTheLiving(cut_off_ticks)
        self.sleeps_stranded = SleepsStranded(cut_off_ticks)
        self.log_matching = LogMatching()
        self.acknowledgements = TruthfulAcknowledgements()
        self.commit_quorum = CommitQuorum()
        self.leader_completeness = LeaderCompleteness()
        self.committed = CommittedEntries()
        self.one_change = OneChangeAtATime()
        self.replica_ids = ReplicaIds()
        self.silence = Silence()
        self.applied = AppliedEntries()
        self.states = StatesAt()
        self.history = History()
        self.fences = Fences()
        self.works = Works()
        self.stored: dict[tuple[int, int], Entry] = {}
        """By (index, term): what was ever durable anywhere."""
        self.in_force: dict[int, list[tuple[int, Membership]]] = defaultdict(list)
        """By term: the memberships that its leader went by, with their indexes."""


class Watch:
    """Passes what happens on to the checkers that it concerns.

    Attributes:
        groups: by group id.
        elections: leaderships that were seen to begin.
        installs: snapshots that became durable.
    """

    def __init__(self, simulation: Simulation) -> None:
        config = simulation.plan.engine.raft
        ticks = 2 * (config.election_timeout_ticks + config.heartbeat_ticks) + 2
        self.groups: dict[int, GroupWatch] = defaultdict(lambda: GroupWatch(ticks))
        self.admission = Admission()
        self.elections = 0
        self.installs = 0
        self.compactions = 0
        self._led: dict[int, tuple[int, int]] = {}
        self._advanced: dict[tuple[int, int, int], int] = {}
        """By broker, its life and replica id: the index up to which commits were looked at."""
        self._cut_off: set[int] = set()
        self._simulation = simulation

    @contextmanager
    def guard(self) -> Iterator[None]:
        """End the run at the first violation, wherever it is seen."""
        try:
            yield
        except Violation as violation:
            self._simulation.failed(violation.checker, violation)
            raise

    def failed(self, error: Exception) -> None:
        """Something of the simulation itself broke off."""
        self._simulation.failed("simulation", error)

    # --- disks ------------------------------------------------------------------------------

    def synced(self, disk: Disk, operations: Sequence[Operation]) -> None:
        """A transaction became durable."""
        self._simulation.note("synced", disk.broker_id, len(operations))
        with self.guard():
            for operation in operations:
                match operation:
                    case GroupWrite(group_id=group_id, entries=entries) if entries:
                        self._stored(disk, group_id, entries)
                    case CreateGroup(spec=spec, entries=entries):
                        self.groups[spec.group_id].replica_ids.created(disk.broker_id, spec)
                        self._note_stored(spec.group_id, entries)
                    case DeleteGroup(group_id=group_id):
                        self.groups[group_id].replica_ids.deleted(disk.broker_id)
                    case SaveCheckpoint(group_id=group_id, checkpoint=checkpoint):
                        self.groups[group_id].states.stored(disk.broker_id, checkpoint)
                    case FinishInstall(group_id=group_id, checkpoint=checkpoint):
                        self.installs += 1
                        self._simulation.note("installed", disk.broker_id, group_id)
                        self.groups[group_id].states.stored(disk.broker_id, checkpoint)

    def broke(self, disk: Disk, how: str) -> None:
        """A transaction failed."""
        self._simulation.note("breaks", disk.broker_id, how)

    def _note_stored(self, group_id: int, entries: Sequence[Entry]) -> None:
        known = self.groups[group_id].stored
        known.update(((entry.index, entry.term), entry) for entry in entries)

    def _stored(self, disk: Disk, group_id: int, entries: Sequence[Entry]) -> None:
        self._note_stored(group_id, entries)
        replica = disk.replica(group_id)
        if replica is None:
            return
        checker = self.groups[group_id].log_matching
        previous_term = term_of(replica, entries[0].index - 1)
        for entry in entries:
            if previous_term not in (None, ANY_TERM):  # Unless a snapshot came in the same moment.
                checker.stored(replica.spec.replica_id, entry, previous_term)
            previous_term = entry.term

    # --- RPCs -------------------------------------------------------------------------------

    def sends(self, broker_id: int, rpcs: Sequence[tuple[int, Rpc]]) -> None:
        """A broker sends RPCs: what they promise must be durable."""
        broker = self._simulation.brokers[broker_id]
        with self.guard():
            for group_id, rpc in rpcs:
                if isinstance(rpc, Wake):
                    continue  # It promises nothing; a faulty leader resigns with it.
                self._is_sound(broker, group_id, rpc)
                self._leaves(broker.disk, group_id, rpc)
                replica = broker.replicas.get(group_id)
                if replica is not None and replica.is_leader:
                    self._goes_by(broker, replica)

    def _is_sound(self, broker: Broker, group_id: int, rpc: Rpc) -> None:
        stored, replica = broker.disk.replica(group_id), broker.replicas.get(group_id)
        reasons = ["the broker has failed"] if broker.has_failed else []
        reasons += [found.faulty for found in (stored, replica) if found is not None]
        self.groups[group_id].silence.speaks(rpc, next(filter(None, reasons), ""))

    def _leaves(self, disk: Disk, group_id: int, rpc: Rpc) -> None:
        checkers = self.groups[group_id]
        replica = disk.replica(group_id)
        if replica is None or replica.spec.replica_id != rpc.sender:
            return
        match rpc:
            case AppendEntries() | Heartbeat():
                checkers.one_leader.leads(rpc.sender, rpc.term)
            case RequestVote():
                checkers.durable_first.votes(rpc.sender, rpc.term, rpc.sender, replica.hard_state)
                checkers.one_vote.votes(rpc.sender, rpc.term, rpc.sender)
            case RequestVoteReply() if rpc.granted:
                checkers.durable_first.votes(rpc.sender, rpc.term, rpc.to, replica.hard_state)
                checkers.one_vote.votes(rpc.sender, rpc.term, rpc.to)
            case AppendEntriesReply() if rpc.success and rpc.term >= replica.hard_state.term:
                self._acknowledges(checkers, replica, group_id, rpc)

    def _acknowledges(
        self,
        checkers: GroupWatch,
        replica: MemoryReplica,
        group_id: int,
        rpc: AppendEntriesReply,
    ) -> None:
        own_term = term_of(replica, rpc.index)
        checkers.durable_first.acknowledged(
            rpc.sender,
            rpc.index,
            needed_write_id=rpc.index,
            durable_write_id=rpc.index if own_term is not None else replica.last_index(),
        )
        for broker in self._simulation.brokers.values():
            leader = broker.replicas.get(group_id)
            if leader is None or leader.spec.replica_id != rpc.to:
                continue
            leader_term = leader.node.term_at(rpc.index)
            if leader.is_leader and leader.node.term == rpc.term and leader_term is not None:
                if own_term is ANY_TERM:
                    return
                checkers.acknowledgements.acknowledged(
                    rpc.sender, rpc.index, own_term=own_term, leader_term=leader_term
                )

    def arrives(self, broker_id: int, source: int, rpcs: Sequence[tuple[int, Rpc]]) -> None:
        """RPCs are about to be given to a broker."""
        first = rpcs[0][1]
        self._simulation.note(
            "receives", broker_id, f"{source} {len(rpcs)} {type(first).__name__} {first.term}"
        )
        if broker_id in self._cut_off:
            self._cut_off.discard(broker_id)
            for checkers in self.groups.values():
                checkers.cut_off.ends(broker_id)

    # --- time -------------------------------------------------------------------------------

    def ticked(self, broker: Broker) -> None:
        """A broker's clock ticked: one that is cut off keeps its term and stops to lead."""
        with self.guard():
            for group_id, replica in broker.replicas.items():
                self._sleeps(self.groups[group_id], broker, replica)
        broker_id = broker.broker_id
        is_cut_off = self._simulation.network.links.is_cut_off(broker_id)
        if not is_cut_off or not broker.replicas:
            self._cut_off.discard(broker_id)
            for checkers in self.groups.values():
                checkers.cut_off.ends(broker_id)
            return
        begins = broker_id not in self._cut_off
        self._cut_off.add(broker_id)
        with self.guard():
            for group_id, replica in broker.replicas.items():
                checker = self.groups[group_id].cut_off
                if begins or replica.node.membership.voter_ids == {replica.spec.replica_id}:
                    checker.begins(broker_id, replica.node.term)
                node, leads = replica.node, replica.is_leader
                checker.ticked(broker_id, node.term, leads=leads, sleeps=node.is_asleep)

    def _sleeps(self, checkers: GroupWatch, broker: Broker, replica: Replica) -> None:
        """See on whom a replica sleeps, and with what."""
        node, replica_id = replica.node, replica.spec.replica_id
        sleeps = node.is_asleep and not replica.faulty
        leader = self._simulation.brokers.get(replica.leader_broker_id)
        is_heard = leader is not None and leader.is_running
        if is_heard and leader is not None and leader is not broker:
            is_heard = self._simulation.network.is_up(leader.broker_id, broker.broker_id)
        heard = [
            voter.replica_id
            for voter in node.membership.voters
            if voter.replica_id == replica_id or self._may_hear(broker, voter)
        ]
        quorum_is_heard = is_quorum(node.membership.voter_ids, heard)
        stranded = sleeps and node.leader == NO_REPLICA
        checkers.sleeps_stranded.ticked(
            replica_id, sleeps=stranded, quorum_is_heard=quorum_is_heard
        )
        sleeps = sleeps and not stranded
        checkers.sleeps_complete.ticked(
            replica_id,
            sleeps=sleeps,
            last_index=node.last_index,
            committed=len(checkers.committed.entries),
        )
        checkers.sleeps_on_the_living.ticked(
            replica_id,
            node.leader,
            sleeps=sleeps and not node.is_leader,
            leader_is_heard=is_heard or not quorum_is_heard,
        )

    def _may_hear(self, broker: Broker, voter: RaftMember) -> bool:
        """Tell whether a voter is on another broker that runs, and the link from that works.

        One that was on the same broker is gone: another replica is in its place.
        """
        other = self._simulation.brokers.get(voter.broker_id)
        if other is None or other is broker or not other.is_running:
            return False
        return self._simulation.network.is_up(other.broker_id, broker.broker_id)

    # --- groups -----------------------------------------------------------------------------

    def advanced(self, broker: Broker, replica: Replica) -> None:
        """A group applied entries."""
        with self.guard():
            self._commits(broker, replica)
            if replica.is_leader:
                self._goes_by(broker, replica)

    def _commits(self, broker: Broker, replica: Replica) -> None:
        """Whatever a node takes for committed must never change."""
        checkers, node = self.groups[replica.group_id], replica.node
        replica_id = replica.spec.replica_id
        key = (broker.broker_id, broker.lives, replica_id)
        start = max(self._advanced.get(key, 0) + 1, node.first_index)
        self._advanced[key] = node.commit_index
        for index in range(start, node.commit_index + 1):
            entry = checkers.stored.get((index, node.term_at(index) or -1))
            checkers.committed.require(
                entry is not None, "replica %s commits index %s, stored nowhere", key, index
            )
            if entry is not None:
                checkers.committed.committed(replica_id, entry)

    def _goes_by(self, broker: Broker, replica: Replica) -> None:
        """A leader acts: note its membership, and look at how it changed."""
        checkers, node = self.groups[replica.group_id], replica.node
        known = checkers.in_force[replica.node.term]
        found = (node.membership_index, node.membership)
        if known and known[-1] == found:
            return
        self._commits(broker, replica)
        if known:
            for index in range(known[-1][0] + 1, found[0]):
                passed = checkers.stored.get((index, replica.node.term))
                if passed is not None and passed.kind is EntryKind.MEMBERSHIP:
                    self._changes(checkers, passed)
            self._changes(
                checkers,
                Entry(found[0], replica.node.term, EntryKind.MEMBERSHIP, found[1].encode()),
            )
        else:
            known.append(found)

    @staticmethod
    def _changes(checkers: GroupWatch, entry: Entry) -> None:
        known = checkers.in_force[entry.term]
        before_index, before = known[-1]
        checkers.one_change.changed(
            entry, before=before, before_index=before_index, committed=checkers.committed.entries
        )
        after = Membership.decode(entry.data)
        known.append((entry.index, after))
        for member in after.members:
            checkers.replica_ids.named(member)

    def leadership(self, broker: Broker, replica: Replica) -> None:
        """Role, leader or term of a group changed."""
        self._simulation.note(
            "role", broker.broker_id, f"{replica.group_id} {replica.role} {replica.node.term}"
        )
        replica_id = replica.spec.replica_id
        if not replica.is_leader or self._led.get(replica_id) == (
            replica.group_id,
            replica.node.term,
        ):
            return
        self._led[replica_id] = (replica.group_id, replica.node.term)
        self.elections += 1
        checkers = self.groups[replica.group_id]
        with self.guard():
            checkers.one_leader.leads(replica_id, replica.node.term)
            self._goes_by(broker, replica)
            checkers.leader_completeness.leads(
                replica_id, replica.node.term, lambda index: self._term_in_log(replica, index)
            )

    def _term_in_log(self, replica: Replica, index: int) -> int | None:
        known = self.groups[replica.group_id].applied.entry(index)
        if index < replica.node.first_index:
            return None if known is None else known.term
        return replica.node.term_at(index)

    def applied(self, broker: Broker, state: WatchedState, entry: Entry) -> bool:
        """A replica is about to apply an entry; return whether it is the first one to do so."""
        spec = state.spec
        checkers = self.groups[spec.group_id]
        self._simulation.note("applies", broker.broker_id, f"{spec.group_id} {entry.index}")
        with self.guard():
            is_first = checkers.applied.applied(spec.replica_id, entry, after=state.last_index)
            if not is_first:
                return False
            replica = broker.replicas.get(spec.group_id) or broker.engine.replicas[spec.group_id]
            checkers.history.committed(entry)
            checkers.leader_completeness.committed(entry, replica.node.term)
            memberships = [replica.node.membership, replica.applied.membership]
            memberships += [membership for _, membership in checkers.in_force[replica.node.term]]
            held = [self._held_by(spec.group_id, entry, one) for one in memberships]
            holders, quorum = max(held, key=lambda one: one[0] - one[1])
            checkers.commit_quorum.committed(entry, holders=holders, quorum=quorum)
        return True

    def executed(self, state: WatchedState, entry: Entry, result: Any) -> None:
        """The first replica has applied an entry."""
        if entry.kind is not EntryKind.COMMAND:
            return
        checkers, command = self.groups[state.spec.group_id], decode_command(entry.data)
        begin = state.log_start_offset
        with self.guard():
            match command.body:
                case CommitOffsets() as commit:
                    checkers.fences.applied(commit, result, log_start_offset=begin)
                case Truncate():
                    checkers.history.log_start_offset = begin
                    checkers.works.truncated(begin)
                case _:
                    name = checkers.works.applied(command, result, end=state.next_offset)
                    work = state.works.get(name)
                    if work is not None:
                        checkers.works.is_now(name, work.unsettled, work.dead)

    def _held_by(self, group_id: int, entry: Entry, membership: Membership) -> tuple[int, int]:
        """Return on how many voters' disks an entry is, and on how many it must be."""
        holders = 0
        for member in membership.voters:
            disk = self._simulation.brokers[member.broker_id].disk
            holders += any(
                replica.spec.replica_id == member.replica_id
                and term_of(replica, entry.index) in (ANY_TERM, entry.term)
                for replica in disk.ever_held(group_id)
            )
        return holders, len(membership.voters) // 2 + 1


ANY_TERM = -1
"""The entry is covered by a durable checkpoint and no longer in the log."""


def term_of(replica: MemoryReplica, index: int) -> int | None:
    """Return the durable term of an index; None when the log does not reach it."""
    if index == replica.first_index - 1:
        return replica.previous_term
    if index < replica.first_index:
        return ANY_TERM
    return replica.term_at(index)
