"""All checkers of one run, fed from what the hosts do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_app.core.quorum import is_quorum
from raft_app.core.types import (
    NO_REPLICA,
    AppendEntries,
    AppendEntriesReply,
    Entry,
    EntryKind,
    Heartbeat,
    Membership,
    PreVote,
    PreVoteReply,
    RequestVote,
    RequestVoteReply,
    Role,
)
from raft_app.engine.guard import silence_ticks
from tests.raft_app.core.simulation.client_checkers import LinearizableReads, Messages, Offsets
from tests.raft_app.core.simulation.log_checkers import (
    AppliedPrefixes,
    CommitQuorum,
    CommittedEntries,
    LeaderCompleteness,
    LogMatching,
    TruthfulAcknowledgements,
)
from tests.raft_app.core.simulation.membership_checkers import (
    CommittedMemberships,
    Installations,
    MembershipInForce,
    OneChangeAtATime,
)
from tests.raft_app.core.simulation.plan import TURN_TICKS_MAX
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
    Stickiness,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from raft_app.core.types import Rpc, SoftState, Write
    from tests.raft_app.core.simulation.host import Host
    from tests.raft_app.core.simulation.ledger import Ledger
    from tests.raft_app.core.simulation.plan import Plan


class Watch:
    """Passes what happens on to the checkers that it concerns.

    Attributes:
        elections: leaderships that were seen to begin.
    """

    def __init__(self, plan: Plan, hosts: Mapping[int, Host]) -> None:
        config = plan.config
        self._hosts = hosts
        self.one_leader = OneLeader()
        self.one_vote = OneVote()
        self.durable_first = DurableFirst()
        self.stickiness = Stickiness()
        self.cut_off = CutOff(2 * (config.election_timeout_ticks + config.heartbeat_ticks) + 2)
        self.log_matching = LogMatching()
        self.acknowledgements = TruthfulAcknowledgements()
        self.commit_quorum = CommitQuorum()
        self.committed_entries = CommittedEntries()
        self.applied_prefixes = AppliedPrefixes(self.committed_entries)
        self.leader_completeness = LeaderCompleteness()
        self.one_change = OneChangeAtATime()
        self.memberships = CommittedMemberships()
        self.in_force = MembershipInForce()
        self.installations = Installations()
        self.messages = Messages()
        self.offsets = Offsets()
        self.reads = LinearizableReads()
        self.sleeps_on_the_living = SleepsOnTheLiving(
            silence_ticks(config) + config.heartbeat_ticks + plan.sign_delay_ticks + TURN_TICKS_MAX
        )
        self.sleeps_stranded = SleepsStranded(
            config.heartbeat_ticks + plan.sign_delay_ticks + TURN_TICKS_MAX
        )
        self.sleeps_complete = SleepsComplete()
        self.elections = 0

    def writes(self, host: Host, write: Write) -> None:
        """A host handed a write to its disk; its log in memory has it already."""
        for entry in write.entries:
            previous = host.stream.log.term_at(entry.index - 1)
            assert previous is not None
            self.log_matching.stored(host.replica_id, entry, previous)

        if write.entries:
            self.membership_in_force(host)

    def membership_in_force(self, host: Host) -> None:
        """The log of a host changed, and it has handed over all of it."""
        log = host.stream.log
        ledger = host.service.ledger
        expected = (ledger.membership_index, ledger.membership)
        for entry in reversed(log.entries(log.first_index, log.last_index)):
            if entry.kind == EntryKind.MEMBERSHIP:
                expected = (entry.index, Membership.decode(entry.data))
                break
        found = (host.node.membership_index, host.node.membership)
        self.in_force.is_in_force(host.replica_id, found, expected)

    def ticked(self, host: Host) -> None:
        """The clock of a host ticked."""
        replica_id, node = host.replica_id, host.node
        if node.membership.voter_ids == {replica_id}:
            self.cut_off.hears(replica_id, node.term)  # It needs nobody, so it may go on.
        else:
            self.cut_off.ticked(replica_id, node.term, leads=node.is_leader, sleeps=node.is_asleep)
        sleeps = node.is_asleep and node.leader != NO_REPLICA
        self.sleeps_complete.ticked(
            replica_id,
            sleeps=sleeps,
            last_index=node.last_index,
            committed=len(self.committed_entries.entries),
        )
        self.sleeps_on_the_living.ticked(
            replica_id,
            node.leader,
            sleeps=sleeps and not node.is_leader,
            leader_is_heard=sleeps and host.may_hear(node.leader),
        )
        stranded = node.is_asleep and not sleeps
        heard = [peer for peer in node.peers if stranded and host.may_hear(peer)]
        self.sleeps_stranded.ticked(
            replica_id,
            sleeps=stranded,
            quorum_is_heard=is_quorum(node.membership.voter_ids, [replica_id, *heard]),
        )

    def changes_role(self, host: Host, state: SoftState) -> None:
        """A node told of a new role, leader or term."""
        if state.role == Role.LEADER:
            self.elections += 1
            replica_id = host.replica_id
            self.one_leader.leads(replica_id, state.term)
            self.durable_first.votes(replica_id, state.term, replica_id, host.disk.hard_state)
            self.memberships.leads(replica_id, state.term, host.node.membership)
            self.leader_completeness.leads(
                replica_id, state.term, lambda index: self._term_of(host, index)
            )

    def changes_membership(self, host: Host, before: tuple[int, Membership]) -> None:
        """A leader appended a change; `before` is the (index, membership) that was in force."""
        node = host.node
        entry = Entry(
            node.membership_index, node.term, EntryKind.MEMBERSHIP, node.membership.encode()
        )
        self.one_change.changed(
            entry,
            before=before[1],
            before_index=before[0],
            committed=self.committed_entries.entries,
        )

    def installs(self, host: Host, state: Ledger) -> None:
        """A host is about to make a snapshot its whole state."""
        committed = self.committed_entries.entries
        applied_index = host.node.applied_index
        held = [entry for entry in committed[state.applied_index :] if host.disk.held(entry)]
        self.installations.installs(
            host.replica_id,
            state.meta,
            applied_index=applied_index,
            held=held,
            committed=committed,
        )
        self.applied_prefixes.started(host.replica_id, state.applied_index)

    def commits(self, host: Host, commit_index: int) -> None:
        """A host's node moved its commit index here, by itself or as its leader told it."""
        known = self.committed_entries.entries
        before = len(known)
        for index in range(before + 1, commit_index + 1):
            entry = host.stream.log.entry(index)
            self.committed_entries.committed(host.replica_id, entry)
            self._first_committed(host, entry)
        if len(known) > before and before and host.node.is_leader:
            self.commit_quorum.moved(host.replica_id, known[-1], host.node.term)
            self.memberships.commits(host.replica_id, host.node.term, host.node.membership)

    def _first_committed(self, host: Host, entry: Entry) -> None:
        voters = [self._hosts[voter] for voter in host.node.membership.voter_ids]
        holders = sum(voter.disk.holds(entry) for voter in voters)
        self.commit_quorum.committed(entry, holders=holders, quorum=len(voters) // 2 + 1)
        self.leader_completeness.committed(entry, host.node.term)
        self.memberships.committed(entry, host.node.term)
        self.messages.committed(entry)
        self.offsets.committed(entry)

    def applies(self, host: Host, entry: Entry) -> None:
        """A host gives a committed entry to its state machine."""
        self.committed_entries.committed(host.replica_id, entry)
        self.applied_prefixes.applied(host.replica_id, entry)

    def arrives(self, host: Host, rpc: Rpc) -> None:
        """An RPC is about to be given to a node."""
        match rpc:
            case PreVote():
                self.stickiness.asked(
                    PreVoteReply,
                    host.replica_id,
                    rpc.sender,
                    rpc.term,
                    hears=host.surely_hears_leader(),
                )
            case RequestVote():
                self.installations.asked(
                    (host.replica_id, rpc.sender, rpc.term),
                    end=(rpc.last_term, rpc.last_index),
                    replaced_end=host.disk.replaced_end,
                )
                self.stickiness.asked(
                    RequestVoteReply,
                    host.replica_id,
                    rpc.sender,
                    rpc.term,
                    # In its own term a node may repeat a vote that it gave before.
                    hears=rpc.term > host.node.term
                    and not rpc.transfer
                    and host.surely_hears_leader(),
                )
            case _:
                pass

    def promises(self, host: Host, reply: AppendEntriesReply) -> int:
        """A node wants to acknowledge entries; return the write that must be durable first."""
        if reply.success:
            self.installations.acknowledges(
                host.replica_id, reply.index, is_installing=host.node.is_installing
            )
        if not reply.success or reply.term < host.stream.hard_state.term:
            # A later term in the same write fences what was acknowledged in an earlier one.
            return 0
        index = reply.index
        leader = self._hosts[reply.to]
        if leader.alive and leader.node.is_leader and leader.node.term == reply.term:
            self.acknowledgements.acknowledged(
                host.replica_id,
                index,
                own_term=self._term_of(host, index),
                leader_term=self._term_of(leader, index),
            )
        return host.stream.log_writes.get(index, 0)

    def _term_of(self, host: Host, index: int) -> int | None:
        """Return the term of the entry at `index`; it is a committed one where the log is gone."""
        log = host.stream.log
        if index == 0:
            return 0
        if index < log.first_index:
            return self.committed_entries.entries[index - 1].term
        return log.term_at(index)

    def leaves(self, host: Host, rpc: Rpc, needed_write_id: int) -> None:
        """An RPC leaves a host; `needed_write_id` is what `promises` returned for it."""
        replica_id = host.replica_id
        match rpc:
            case AppendEntries() | Heartbeat():
                self.one_leader.leads(replica_id, rpc.term)
            case AppendEntriesReply():
                self.durable_first.acknowledged(
                    replica_id,
                    rpc.index,
                    needed_write_id=needed_write_id,
                    durable_write_id=host.disk.durable_write_id,
                )
            case RequestVote():
                self._votes(host, rpc.term, replica_id)
            case RequestVoteReply() if rpc.granted:
                self.stickiness.granted(RequestVoteReply, replica_id, rpc.to, rpc.term)
                self.installations.votes((replica_id, rpc.to, rpc.term))
                self._votes(host, rpc.term, rpc.to)
            case PreVoteReply() if rpc.granted:
                self.stickiness.granted(PreVoteReply, replica_id, rpc.to, rpc.term)
            case _:
                pass

    def _votes(self, host: Host, term: int, candidate: int) -> None:
        self.durable_first.votes(host.replica_id, term, candidate, host.disk.hard_state)
        self.one_vote.votes(host.replica_id, term, candidate)
        self.memberships.granted(host.replica_id, candidate, term)
