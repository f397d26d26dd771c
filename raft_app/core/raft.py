"""The state of one node and its transitions.

Three rules for this file:

- Everything that a node remembers is an attribute of `Raft` or of the parts it owns.
- A role changes in the `become_*` methods alone, along `TRANSITIONS`; anything else asserts.
- Nothing is decided here. What an RPC means, and what a caller's request means, is decided in the
  module named after its part of the protocol: `election`, `following`, `replication`, `transfer`,
  `snapshots`, `membership_change`. They import this module, never the other way round;
  `rawnode` is above all of them.

Time is `now`, in ticks since the start. `deadline` is the next tick at which something is due, so
that a tick without one costs an addition and a comparison.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_app.core.log import RaftLog
from raft_app.core.membership import MembershipHistory
from raft_app.core.outbox import Outbox
from raft_app.core.progress import Progress
from raft_app.core.quorum import is_quorum
from raft_app.core.reads import PendingReads
from raft_app.core.types import NO_REPLICA, Entry, EntryKind, HardState, Role

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from raft_app.core.config import RaftConfig
    from raft_app.core.types import InitialState, Membership

NEVER = 1 << 62
"""A tick that does not come."""
COMMIT_HINT_ENTRIES = 64
"""How far the commit index moves before the stored hard state is changed for its sake alone."""

TRANSITIONS: dict[Role, frozenset[Role]] = {
    Role.LEARNER: frozenset({Role.LEARNER, Role.FOLLOWER}),
    Role.FOLLOWER: frozenset({Role.LEARNER, Role.FOLLOWER, Role.PRE_CANDIDATE, Role.CANDIDATE}),
    Role.PRE_CANDIDATE: frozenset(
        {Role.LEARNER, Role.FOLLOWER, Role.PRE_CANDIDATE, Role.CANDIDATE}
    ),
    Role.CANDIDATE: frozenset({Role.LEARNER, Role.FOLLOWER, Role.PRE_CANDIDATE, Role.LEADER}),
    Role.LEADER: frozenset({Role.LEARNER, Role.FOLLOWER}),
}
"""Which role may follow which (paper, figure 4, with pre-candidates and learners).

A follower becomes a candidate without a pre-vote only when its leader wants it (TimeoutNow)."""


class Raft:
    """One node of one group: state, transitions, terms and time.

    Attributes:
        config: limits and timeouts.
        randomizer: `randomizer(low, high)` returns a number in [low, high).
        replica_id: this node's id in the group.
        term, vote: paper, figure 2; durable before anything that depends on them leaves.
        role: changed by `become_*` alone.
        leader: replica id of the leader of `term`, or `NO_REPLICA`.
        log: the entries; commit, applied and durable index.
        memberships: the membership in force and those it replaced.
        peers: the other members, ascending; `other_voters` are the voters among them.
        outbox: what the next `Ready` carries away.
        votes: answers to the current pre-vote or election, replica id to "granted".
        progress: what a leader knows about each peer; empty in other roles.
        reads: ReadIndex reads; empty of waiting ones in other roles.
        inflight_limits: peers to whom less may be on its way than the configuration says, in bytes.
        sending_due: a leader may have something to send to some peer.
        has_spares: a leader has spare followers; see `spares`.
        spares_due: entries wait for `RawNode.send_to_spares`.
        transferee: who leadership is handed to, or `NO_REPLICA`.
        term_start_index: index of the no-op of a leader's term.
        may_vote: False until somebody who would know has vouched that this node still has all that
            it acknowledged: it gives no vote and no pre-vote, and does not campaign.
        lost_index: what the leader of this term heard this node acknowledge, and it has not; 0
            while nothing is known to be lost.
        agreed: (term, index) up to which the log agreed with that of the leader of that term, while
            `may_vote` is False; else it does not matter.
        is_asleep: no time passes for this node until something wakes it; see `quiescence`.
        quiet_mark: what a leader with nothing under way has done so far; None when something is.
        quiet_since: tick since when that is so.
        is_tired: this node slept until its leader was lost, or no quorum was in reach: if it is
            elected and nothing comes meanwhile, its group sleeps again at once.
    """

    def __init__(
        self, config: RaftConfig, initial: InitialState, randomizer: Callable[[int, int], int]
    ) -> None:
        assert initial.replica_id != NO_REPLICA
        self.config = config
        self.randomizer = randomizer
        self.replica_id = initial.replica_id
        self.term = initial.hard_state.term
        self.vote = initial.hard_state.vote
        self.role = Role.LEARNER
        self.leader = NO_REPLICA
        self.log = RaftLog(initial, max_recent_bytes=config.max_recent_bytes)
        assert self.log.last_term <= self.term, "the term is stored no later than its entries"
        self.memberships = MembershipHistory(initial)
        self.peers: tuple[int, ...] = ()
        self.other_voters: tuple[int, ...] = ()
        self.outbox = Outbox()
        self.votes: dict[int, bool] = {}
        self.progress: dict[int, Progress] = {}
        self.reads = PendingReads()
        self.inflight_limits: Mapping[int, int] = {}
        self.sending_due = False
        self.has_spares = False
        self.spares_due = False
        self.transferee = NO_REPLICA
        self.term_start_index = 0
        self.may_vote = True
        self.lost_index = 0
        self.agreed = (0, 0)
        self.is_asleep = False
        self.quiet_mark: tuple[int, int] | None = None
        self.quiet_since = 0
        self.is_tired = False
        self.now = 0
        self._issued_hard_state = initial.hard_state
        self._heard_at = 0
        self._patient_until = 0
        self._leader_connected = False
        self._heartbeat_at = NEVER
        self._check_quorum_at = NEVER
        self._transfer_ends_at = NEVER
        self._timeout_ticks = self._draw_timeout()
        self.deadline = self._timeout_ticks
        self._membership_changed()

    # --- facts derived from the state ---------------------------------------------------------

    @property
    def is_leader(self) -> bool:
        """This node leads its term, as far as it knows."""
        return self.role is Role.LEADER

    @property
    def is_voter(self) -> bool:
        """This node counts in its own membership."""
        return self.replica_id in self.memberships.voters

    @property
    def may_campaign(self) -> bool:
        """This node counts, may vote, and no snapshot is being put in place of its log."""
        return (
            self.may_vote and self.replica_id in self.memberships.voters and not self.log.is_frozen
        )

    @property
    def serves(self) -> bool:
        """This node leads, and the no-op of its term is applied: it knows all that is committed."""
        return self.role is Role.LEADER and self.log.applied_index >= self.term_start_index

    @property
    def hears_leader(self) -> bool:
        """The leader was heard within T and its connection is up; or this node leads.

        A leader that hears no quorum steps down within 2 T, so leading is as good.
        """
        if self.role is Role.LEADER:
            return True
        return (
            self.leader != NO_REPLICA
            and self._leader_connected
            and self.now - self._heard_at < self.config.election_timeout_ticks
        )

    @property
    def is_own_vote_in_flight(self) -> bool:
        """This node is a candidate whose vote for itself is not durable yet."""
        return self.role is Role.CANDIDATE and not self.log.has_durable_vote(
            self.term, self.replica_id
        )

    # --- time -----------------------------------------------------------------------------------

    def _check_quorum(self) -> bool:
        """Tell whether a quorum was heard since the last time, and start counting anew."""
        active = {self.replica_id}
        for progress in self.progress.values():
            if progress.is_active:
                active.add(progress.peer)
            progress.begin_period()
        return is_quorum(self.memberships.voters, active)

    def _set_leader_deadline(self) -> None:
        self.deadline = min(self._heartbeat_at, self._check_quorum_at, self._transfer_ends_at)

    def _draw_timeout(self) -> int:
        ticks = self.config.election_timeout_ticks
        return self.randomizer(ticks, 2 * ticks)

    def restart_election_timer(self) -> None:
        """Wait a whole new randomised timeout before campaigning."""
        self._timeout_ticks = self._draw_timeout()
        self.deadline = self.now + self._timeout_ticks

    def grant_vote(self, candidate: int) -> None:
        """Vote for a candidate, and give it time before a hint leads to another election."""
        self.vote = candidate
        self.await_outcome()
        self.restart_election_timer()

    def await_outcome(self) -> None:
        """For T / 2: a slow disk needs that for the votes, a fast one is not held up by it."""
        self._patient_until = self.now + self.config.election_timeout_ticks // 2

    def expect_no_outcome(self) -> None:
        """The election that this node voted in may well be lost: the next hint counts."""
        self._patient_until = 0

    @property
    def awaits_outcome(self) -> bool:
        """The candidate this node voted for, itself perhaps, may still win its election.

        Another election could only split votes. Not so when the connection from the candidate
        broke since, or when it is this node and was refused a vote.
        """
        return (
            self.now < self._patient_until and self.vote != NO_REPLICA and self.leader == NO_REPLICA
        )

    def campaign_soon(self) -> None:
        """Try again after 2 to 4 ticks, unless something is due sooner."""
        self.deadline = min(self.deadline, self.now + self.randomizer(2, 5))

    def fall_asleep(self) -> None:
        """Let no time pass until `wake`."""
        assert self.log.commit_index == self.log.last_index, "what is not committed needs time"
        self.is_tired = False
        self.rest()

    def rest(self) -> None:
        """Let no time pass until `wake`, whatever is left to do."""
        assert self.role not in {Role.PRE_CANDIDATE, Role.CANDIDATE}, "candidates do not sleep"
        self.is_asleep = True
        self.deadline = NEVER

    def wake(self) -> None:
        """Let time pass again: a leader heartbeats with the next tick, others wait a timeout."""
        if not self.is_asleep:
            return
        self.is_asleep = False
        if self.role is not Role.LEADER:
            self.restart_election_timer()
            return
        self.stay_awake()
        self._check_quorum_at = self.now + self.config.election_timeout_ticks
        self._heartbeat_at = self.now + 1
        self._set_leader_deadline()

    def lose_leader_connection(self, *, wakes: bool = True) -> None:
        """Hear the leader no more, until an RPC of it comes: nobody sleeps on that for long.

        Args:
            wakes: False where the driver of this node sees to it that it wakes in its turn.
        """
        self._leader_connected = False
        self.is_tired |= self.is_asleep
        if wakes:
            self.wake()

    def find_leader_connection(self) -> None:
        """Hear the leader again, who was but silent: it is the process that led before."""
        assert self.leader != NO_REPLICA, "it had a leader"
        self._leader_connected = True

    def stay_awake(self) -> None:
        """Count the idle ticks of a leader anew."""
        self.quiet_mark = None

    # --- transitions ----------------------------------------------------------------------------

    def _enter(self, role: Role) -> None:
        assert role in TRANSITIONS[self.role], f"{self.role} cannot become {role}"
        assert not self.is_asleep, "roles change while awake"
        self.role = role

    def become_follower(self, term: int, leader: int) -> None:
        """Follow `leader` (or nobody yet) in `term`; a learner when this node is no voter.

        The election timer of a follower goes on: only its leader, or a vote it grants, resets it.
        """
        assert term >= self.term, "terms never fall"
        was_following = self.role in {Role.FOLLOWER, Role.LEARNER}
        self._enter(Role.FOLLOWER if self.is_voter else Role.LEARNER)
        if term > self.term:
            self.term = term
            self.vote = NO_REPLICA
        self.leader = leader
        self._leader_connected = leader != NO_REPLICA
        self.votes.clear()
        if not was_following:
            self._leave_leadership()
            self.restart_election_timer()

    def become_pre_candidate(self) -> None:
        """Ask whether an election could be won; term and vote stay (thesis, section 9.6)."""
        assert self.may_campaign, "only voters with a log campaign"
        self._enter(Role.PRE_CANDIDATE)
        self.leader = NO_REPLICA
        self.votes = {self.replica_id: True}
        self.restart_election_timer()

    def become_candidate(self) -> None:
        """Start an election in the next term (section 5.2).

        The own vote counts when it is durable; until then the election timer stands still.
        """
        assert self.may_campaign, "only voters with a log campaign"
        self._enter(Role.CANDIDATE)
        self.term += 1
        self.vote = self.replica_id
        self.leader = NO_REPLICA
        self.votes = {}
        self.deadline = NEVER

    def become_leader(self) -> None:
        """Lead the term: append its no-op (thesis, section 6.4). The caller tells the others."""
        self._enter(Role.LEADER)
        self.leader = self.replica_id
        self.votes.clear()
        self.progress = {peer: Progress(peer, self.log.last_index + 1) for peer in self.peers}
        self.term_start_index = self.log.last_index + 1
        self.log.append([Entry(self.term_start_index, self.term, EntryKind.NOOP)])
        self.sending_due = True
        self._check_quorum_at = self.now + self.config.election_timeout_ticks
        self._heartbeat_at = self.now + self.config.heartbeat_ticks
        self._set_leader_deadline()

    def _leave_leadership(self) -> None:
        self.progress = {}
        self.reads.fail_all()
        self.sending_due = self.has_spares = self.spares_due = False
        self.stay_awake()
        self.transferee = NO_REPLICA
        self._heartbeat_at = self._check_quorum_at = self._transfer_ends_at = NEVER

    def begin_transfer(self, to: int) -> None:
        """Take no proposals for T while leadership is handed to `to` (thesis, section 3.10)."""
        self.transferee = to
        self._transfer_ends_at = self.now + self.config.election_timeout_ticks
        self._set_leader_deadline()

    def end_transfer(self) -> None:
        """Lead on: the transferee did not take over in time."""
        self.transferee = NO_REPLICA
        self._transfer_ends_at = NEVER

    def hear_leader(self, leader: int) -> None:
        """An RPC of the leader of our term came: follow it, and restart the election timer."""
        assert self.role is not Role.LEADER, "two leaders in one term"
        if self.leader != leader:
            assert self.leader == NO_REPLICA, "two leaders in one term"
            self.become_follower(self.term, leader)
        self._heard_at = self.now
        self._leader_connected = True
        self.deadline = self.now + self._timeout_ticks

    # --- membership -----------------------------------------------------------------------------

    def entries_added(self, entries: Sequence[Entry]) -> None:
        """New entries of a leader are in the log: a membership among them is in force."""
        for entry in entries:
            if entry.kind == EntryKind.MEMBERSHIP:
                self.memberships.extend(entries, commit_index=self.log.commit_index)
                self._membership_changed()
                return

    def entries_overwritten(self, index: int) -> None:
        """The log was cut before `index`: a membership from there on is taken back."""
        if self.memberships.revert(index):
            self._membership_changed()

    def membership_replaced(self, membership: Membership, index: int) -> None:
        """A snapshot, whose membership was set by the entry at `index`, replaced the log."""
        self.memberships.replace(membership, index)
        self._membership_changed()

    def _membership_changed(self) -> None:
        """Know the new members, and be a follower or a learner as the new membership says."""
        ids = sorted(member.replica_id for member in self.memberships.current.members)
        self.peers = tuple(peer for peer in ids if peer != self.replica_id)
        self.other_voters = tuple(peer for peer in self.peers if peer in self.memberships.voters)
        if self.role is not Role.LEADER:
            assert self.role in {Role.FOLLOWER, Role.LEARNER}, "only followers take entries in"
            self._enter(Role.FOLLOWER if self.is_voter else Role.LEARNER)

    # --- hard state -----------------------------------------------------------------------------

    def take_hard_state(self) -> HardState | None:
        """Return the hard state for a write, None when it is not worth one.

        The commit index is a hint: it goes along with term or vote, or when it moved far.
        """
        commit_index, issued = self.log.commit_index, self._issued_hard_state
        if self.log.is_frozen:  # What was committed and not written yet stays unwritten.
            commit_index = min(commit_index, self.log.written_index)
        is_voted = self.term == issued.term and self.vote == issued.vote
        if is_voted and commit_index - issued.commit < COMMIT_HINT_ENTRIES:
            return None
        state = HardState(self.term, self.vote, commit_index)
        self._issued_hard_state = state
        return state
