"""The public front of the core: one Raft node without clock, disk or network.

The same state and the same inputs always give the same outputs. The caller owns time, storage and
the connections, and has these duties:

1. Call `tick()` once per tick, except while `is_asleep`, `step(rpc)` for each RPC that comes for
   this replica, and the other inputs when their moment comes. One thread at a time.
2. After inputs, while `has_ready()`, take one `ready()`. For each, in this order:

   a. hand `write` to the storage, behind all earlier ones;
   b. send `send_now`;
   c. keep `send_after_durable` until every write up to `after_write_id` is durable, then send it;
      at once when that is so already. RPCs of later `Ready` values do not overtake it;
   d. apply `committed` in order, then call `applied(index)`;
   e. answer `reads_confirmed` when their `index` is applied, refuse `reads_failed`;
   f. read `entries_wanted` from the storage and call `entries_read`;
   g. offer each peer in `snapshots_wanted` a snapshot, then call `report_snapshot`.

3. Call `persisted(write_id)` when a write is durable. Writes finish in order. If one fails, nothing
   is known about what is stored: the node must not be used any more.
4. Sending may fail: RPCs may be lost, doubled, late or out of order. When AppendEntries were
   certainly lost, call `report_unreachable(peer)`; it saves time.
5. After a crash, start a new `RawNode` from what is durable. Its `InitialState` has every entry
   above the applied index of the checkpoint.
6. A snapshot that a leader offers: ask `offer_snapshot`; if it is wanted, call `begin_install` in
   the same turn, put the rows in place behind all writes handed over so far, and mark the stored
   replica as installing with the first of them. When rows, state and the new `first_index` are
   durable and the mark is gone, all in one transaction, call `finish_install`; until that
   transaction is done take no other offer. If the transfer ends before, call `abort_install` when
   nothing was replaced yet, else stay and wait for the next offer. Begin no checkpoint and no
   compaction meanwhile, and report nothing as `applied` after `finish_install` that was handed out
   before it.
7. When old entries were deleted from the storage, call `compacted`.
8. While `spares_due` after a `Ready`, call `send_to_spares` in a moment: followers lag so long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_app.core import (
    election,
    following,
    membership_change,
    quiescence,
    replication,
    snapshots,
    spares,
    transfer,
)
from raft_app.core.outbox import drain
from raft_app.core.raft import Raft
from raft_app.core.status import Status, status_of
from raft_app.core.types import (
    NO_REPLICA,
    AppendEntries,
    AppendEntriesReply,
    Heartbeat,
    HeartbeatReply,
    PreVote,
    PreVoteReply,
    Quiesce,
    Ready,
    RequestVote,
    RequestVoteReply,
    Role,
    SoftState,
    TimeoutNow,
    Wake,
    Write,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from raft_app.core.config import RaftConfig
    from raft_app.core.types import (
        EntriesWanted,
        Entry,
        InitialState,
        Membership,
        MembershipChange,
        Proposal,
        Rpc,
        SnapshotMeta,
    )


class RawNode(Raft):
    """One replica's Raft node. See the module for what its caller must do."""

    def __init__(
        self,
        config: RaftConfig,
        initial: InitialState,
        *,
        randomizer: Callable[[int, int], int],
    ) -> None:
        """Start from what is durable.

        Args:
            config: limits and timeouts; the same on every replica of a group.
            initial: what storage holds, or `bootstrap_state`.
            randomizer: `randomizer(low, high)` returns an integer in [low, high).
        """
        super().__init__(config, initial, randomizer)
        self._told = SoftState(self.role, self.leader, self.term)

    # --- inputs ---------------------------------------------------------------------------------

    def tick(self) -> None:
        """One tick has passed; nothing happens while this node sleeps."""
        if self.is_asleep:
            return
        self.now += 1
        if self.now >= self.deadline:
            if self.role is Role.LEADER:
                self._leader_deadline()
            else:
                self._election_deadline()

    def step(self, rpc: Rpc) -> None:
        """Take in an RPC of a peer; `rpc.to` is this replica."""
        assert rpc.to == self.replica_id, "not for this node"
        if self.is_asleep:
            quiescence.disturb(self, rpc)
        if rpc.term != self.term and not self._settle_term(rpc):
            return
        match rpc:
            case AppendEntriesReply():
                replication.append_entries_reply(self, rpc)
            case AppendEntries():
                following.append_entries(self, rpc)
            case Heartbeat():
                following.heartbeat(self, rpc)
            case HeartbeatReply():
                replication.heartbeat_reply(self, rpc)
            case Quiesce():
                quiescence.quiesce(self, rpc)
            case Wake():
                quiescence.woken(self, rpc)
            case _:
                self._step_election(rpc)

    def propose(self, proposals: Sequence[Proposal]) -> list[tuple[int, int]]:
        """Append proposals to the leader's log: all of them or none.

        Args:
            proposals: of any kind but MEMBERSHIP.

        Returns:
            (index, term) of each. It is committed if the entry that is applied at that index has
            that term; another one there means that it is lost.

        Raises:
            NodeNotLeader: this node does not lead.
            ProposalDropped: the leader takes none now; its `reason` says why.
        """
        if self.is_asleep:
            self._wake_to_lead()
        return replication.propose(self, proposals)

    def propose_membership(self, change: MembershipChange, *, version: int) -> tuple[int, int]:
        """Append one change of the membership; it is in force at once (thesis, chapter 4).

        Args:
            change: the step; at most one voter comes or goes with it.
            version: of the placement that the step leads to; at least that of the one in force.

        Returns:
            Its (index, term). It is lost when another entry is committed there.

        Raises:
            NodeNotLeader: this node does not lead.
            ChangeRefused: not now, or never; its `reason` says why.
        """
        self._wake_to_lead()
        return membership_change.propose_membership(self, change, version=version)

    def transfer_leadership(self, to: int) -> None:
        """Hand leadership to another voter; given up after T, when it has not taken over.

        No proposals are taken meanwhile.

        Raises:
            NodeNotLeader: this node does not lead.
            ValueError: `to` is not another voter.
        """
        self._wake_to_lead()
        transfer.transfer_leadership(self, to)

    def decline_sleep(self) -> None:
        """In place of taking in a Quiesce: stay awake, and wake the leader.

        For a follower that knows better: it can reach a member that the leader takes for gone.
        """
        quiescence.decline(self)

    def report_unreachable(self, peer: int) -> None:
        """AppendEntries that were sent to `peer` are lost."""
        replication.unreachable(self, peer)

    def report_connection_lost(self, peer: int, *, wakes: bool = True) -> None:
        """The connection from `peer` broke, or nothing comes over it any more.

        Ends "hears the leader" when it is the leader, and the sleep of its followers; and the sleep
        of a leader that is left without a quorum.

        Args:
            peer: its replica id.
            wakes: False to let sleep who sleeps. Then the caller sees to it that a node that
                `should_wake` wakes in its turn, or that `peer` is found again: no time passes
                for it until then.
        """
        if peer == self.leader:
            self.lose_leader_connection(wakes=wakes)
        if peer == self.vote:
            self.expect_no_outcome()
        quiescence.peer_lost(self, peer, wakes=wakes)

    @property
    def should_wake(self) -> bool:
        """Whether this node sleeps without a leader or, when it leads, without a quorum."""
        return self.is_asleep and not quiescence.may_stay(self)

    def report_found(self, peer: int) -> None:
        """Things come again from `peer`, which was silent and is the process that it was."""
        quiescence.peer_found(self, peer)

    def strand(self) -> None:
        """Let no time pass, since no quorum is in reach: this node could but ask in vain.

        Its driver wakes it when there may be one; an RPC wakes it as ever. Nothing happens on a
        leader, which steps down first, on a candidate, whose vote is on its way, and where a leader
        is known.
        """
        quiescence.strand(self)

    def report_back(self, peer: int) -> None:
        """Things come from `peer` again, whose process may have started anew.

        A leader that sleeps lets it sleep too, or wakes when it lags.
        """
        quiescence.peer_back(self, peer)

    def withhold_votes(self) -> None:
        """Count for nothing until `allow_votes`: what is stored may be old.

        It may have voted in a later term than it remembers, and have acknowledged what its log
        lacks. So it gives no vote, does not campaign, acknowledges no entries, which it stores,
        and confirms no read.
        """
        self.may_vote = False

    def allow_votes(self) -> None:
        """Count again: nobody knows of anything that this node acknowledged and lacks."""
        self.may_vote = self.lost_index == 0

    def campaign_hint(self) -> bool:
        """Start a pre-vote round, since the leader may be gone; tell whether one was started.

        Wakes it, if it `should_wake`. False while this node hears its leader, leads, is no voter,
        or writes its own vote.
        """
        if self.should_wake:
            self.wake()
        return election.start_hinted_pre_vote(self)

    def campaign(self) -> None:
        """Start a pre-vote round now, as if the election timeout had passed.

        Nothing happens on a leader, on one that is no voter, and while the own vote is written.
        """
        self.wake()
        election.start_campaign(self)

    def read_index(self, context: int) -> None:
        """Ask for the index that a linearizable read needs; comes as `ReadConfirmed(context, ..)`.

        Args:
            context: the caller's number of the read, given back as it is.

        Raises:
            NodeNotLeader: this node does not lead.
            NodeNotReady: the no-op of the leader's term is not applied yet.
        """
        self._wake_to_lead()
        replication.read_index(self, context)

    def persisted(self, write_id: int) -> None:
        """Every write up to `write_id` is durable: count our own vote and our own log."""
        vote_was_in_flight = self.role is Role.CANDIDATE and self.is_own_vote_in_flight
        self.log.persisted(write_id)
        if self.role is Role.LEADER:
            if self.log.durable_index > self.log.commit_index:
                replication.commit_agreed(self)
                if self.log.durable_index <= self.log.commit_index:
                    spares.committed(self, by_spare=False)
        elif vote_was_in_flight and not self.is_own_vote_in_flight:
            election.own_vote_durable(self)

    def applied(self, up_to: int) -> None:
        """The entries handed out as `committed` are applied up to this index."""
        self.log.applied_to(up_to)

    def limit_inflight(self, limits: Mapping[int, int]) -> None:
        """Have less on its way to some peers than the configuration says; in place of earlier ones.

        What that holds back is sent after a call that allows it. Heartbeats, and the question where
        the logs agree, are not held back.

        Args:
            limits: by replica id: bytes of entries under way from which on no more are sent.
        """
        self.inflight_limits = limits
        self.sending_due = self.role is Role.LEADER

    def send_to_spares(self) -> None:
        """Send the followers that a quorum does without what came meanwhile; see `spares`."""
        replication.send_to_spares(self)

    def is_held(self, peer: int) -> bool:
        """Tell whether entries wait for a peer only because of `limit_inflight`."""
        return replication.is_held(self, self.progress[peer])

    def keep_recent(self, max_bytes: int) -> None:
        """Keep so many bytes of applied entries in memory, in place of `max_recent_bytes`."""
        self.log.keep_recent(max_bytes)

    def entries_read(self, wanted: EntriesWanted, entries: Sequence[Entry]) -> None:
        """Answer an `EntriesWanted`.

        Args:
            wanted: as it came.
            entries: a non-empty prefix of its range, or nothing when they could not be read.
        """
        replication.entries_read(self, wanted, entries)

    def compacted(self, first_index: int, previous_term: int) -> None:
        """The storage has no entry below `first_index` any more; going back is ignored.

        Args:
            first_index: at most one above what was reported as applied.
            previous_term: term of the entry before it, `term_at(first_index - 1)` until now.
        """
        self.log.compact(first_index, previous_term)

    def report_snapshot(self, peer: int, ok: bool) -> None:
        """The transfer that a `SnapshotWanted` of `peer` led to has ended.

        Args:
            peer: its replica id.
            ok: the peer has installed it. Else it is asked for again later, if still needed.
        """
        self._wake_to_lead()
        snapshots.report_snapshot(self, peer, ok=ok)

    def offer_snapshot(self, sender: int, term: int, meta: SnapshotMeta) -> bool:
        """Tell whether a snapshot that a leader offers is wanted; counts as hearing that leader.

        Not one of an earlier term, nor one that ends at or below the commit index or at an entry
        of this log: then the leader is told how far the log goes. In the middle of an installation
        only one that makes up for the log that is being replaced.

        Args:
            sender: replica id of the leader.
            term: its term.
            meta: what the snapshot covers.
        """
        self.wake()
        return snapshots.offer_snapshot(self, sender, term, meta)

    def begin_install(self) -> None:
        """A wanted snapshot begins to replace what is stored; it may follow another one.

        From now on this node answers heartbeats, but neither campaigns nor acknowledges, votes
        only by the log that it had, writes no entries and hands none out.
        """
        self.wake()
        snapshots.begin_install(self)

    def abort_install(self) -> None:
        """The installation ended before anything stored was replaced."""
        snapshots.abort_install(self)

    def finish_install(self, meta: SnapshotMeta) -> None:
        """The snapshot is in place, durably: the log begins after it, and all of it is applied."""
        snapshots.finish_install(self, meta)

    # --- time and terms -------------------------------------------------------------------------

    def _wake_to_lead(self) -> None:
        if self.role is Role.LEADER:
            self.wake()

    def _election_deadline(self) -> None:
        if self.may_campaign:
            election.start_pre_vote(self)
        else:
            self.deadline = self.now + self._timeout_ticks

    def _leader_deadline(self) -> None:
        if self.now >= self._check_quorum_at:
            self._check_quorum_at = self.now + self.config.election_timeout_ticks
            if not self._check_quorum():
                self.become_follower(self.term, NO_REPLICA)
                return
        if self.now >= self._transfer_ends_at:
            self.end_transfer()
        if self.now >= self._heartbeat_at:
            if quiescence.is_due(self):
                quiescence.begin(self)
                return
            self._heartbeat_at = self.now + self.config.heartbeat_ticks
            replication.send_heartbeats(self)
        self._set_leader_deadline()

    def _step_election(
        self, rpc: PreVote | PreVoteReply | RequestVote | RequestVoteReply | TimeoutNow
    ) -> None:
        match rpc:
            case PreVote():
                election.pre_vote(self, rpc)
            case PreVoteReply():
                election.pre_vote_reply(self, rpc)
            case RequestVote():
                election.request_vote(self, rpc)
            case RequestVoteReply():
                election.request_vote_reply(self, rpc)
            case TimeoutNow():
                election.timeout_now(self)

    def _settle_term(self, rpc: Rpc) -> bool:
        """Deal with a term other than ours (section 5.1). Tells whether the RPC goes on.

        A higher one makes this node a follower, with two exceptions: a pre-vote only talks about a
        term, and a vote asked for while the leader is heard is refused unseen (section 6), unless
        the leader itself wanted the election.
        """
        if isinstance(rpc, PreVote | PreVoteReply):
            return True
        if rpc.term < self.term:
            following.answer_stale(self, rpc)
            return False
        if isinstance(rpc, RequestVote) and not rpc.transfer and self.hears_leader:
            election.refuse_vote(self, rpc)
            return False
        from_leader = isinstance(rpc, AppendEntries | Heartbeat | Quiesce)
        self.become_follower(rpc.term, rpc.sender if from_leader else NO_REPLICA)
        return True

    # --- output ---------------------------------------------------------------------------------

    def has_ready(self) -> bool:
        """Tell whether `ready()` has anything to say; costs a few comparisons."""
        told, issued = self._told, self._issued_hard_state
        reads, outbox, log = self.reads, self.outbox, self.log
        return bool(
            outbox.now
            or outbox.after_durable
            or outbox.wanted
            or outbox.snapshots_wanted
            or self.sending_due
            or (not log.is_frozen and log.next_write <= log.last_index)
            or (not log.is_frozen and log.given_index < min(log.commit_index, log.durable_index))
            or self.term != issued.term
            or self.vote != issued.vote
            or reads.unstarted
            or reads.confirmed
            or reads.failed
            or self.term != told.term
            or self.role is not told.role
            or self.leader != told.leader
        )

    def ready(self) -> Ready:
        """Return all that is to be done since the last time; nothing of it comes again.

        `has_ready` is false then, until the next input other than `applied`.
        """
        outbox, reads, log, told = self.outbox, self.reads, self.log, self._told
        if self.sending_due or reads.unstarted:
            replication.send_due(self)
        write = self._take_write()
        soft_state = None
        if self.term != told.term or self.role is not told.role or self.leader != told.leader:
            soft_state = self._told = SoftState(self.role, self.leader, self.term)
        return Ready(
            write=write,
            send_now=drain(outbox.now) if outbox.now else (),
            send_after_durable=drain(outbox.after_durable) if outbox.after_durable else (),
            after_write_id=log.last_write_id,
            committed=log.take_committed() if log.given_index < log.commit_index else (),
            reads_confirmed=drain(reads.confirmed) if reads.confirmed else (),
            reads_failed=drain(reads.failed) if reads.failed else (),
            entries_wanted=drain(outbox.wanted) if outbox.wanted else (),
            snapshots_wanted=drain(outbox.snapshots_wanted) if outbox.snapshots_wanted else (),
            soft_state=soft_state,
        )

    def _take_write(self) -> Write | None:
        """Return a write when there is something that must be durable.

        The commit index alone is not worth one; see `take_hard_state` for what it goes along with.
        """
        log, issued = self.log, self._issued_hard_state
        if (
            (log.next_write > log.last_index or log.is_frozen)
            and self.term == issued.term
            and self.vote == issued.vote
        ):
            return None
        hard_state = self.take_hard_state()
        write_id, entries = log.issue_write(hard_state)
        return Write(write_id, hard_state, entries)

    # --- state ----------------------------------------------------------------------------------

    @property
    def commit_index(self) -> int:
        """Highest index known to be committed."""
        return self.log.commit_index

    @property
    def applied_index(self) -> int:
        """Highest index that was reported as applied."""
        return self.log.applied_index

    @property
    def last_index(self) -> int:
        """Highest index in the log, durable or not."""
        return self.log.last_index

    @property
    def first_index(self) -> int:
        """Lowest index that the stored log has."""
        return self.log.first_index

    @property
    def pending_bytes(self) -> int:
        """Size of the entries that are not applied; they are in memory."""
        return self.log.pending_bytes

    @property
    def recent_bytes(self) -> int:
        """Size of the applied entries that are in memory."""
        return self.log.recent_bytes

    @property
    def is_installing(self) -> bool:
        """A snapshot is being put in place of the log."""
        return self.log.is_frozen

    def term_at(self, index: int) -> int | None:
        """Return the term of the entry at `index`; None when the log does not know it."""
        return self.log.term_at(index)

    @property
    def membership(self) -> Membership:
        """The membership in force: of the last MEMBERSHIP entry in the log, else the snapshot's."""
        return self.memberships.current

    @property
    def membership_index(self) -> int:
        """Index of the entry that set it; 0 when there was none."""
        return self.memberships.index

    def status(self) -> Status:
        """Return the whole state as a value; costs a walk over the peers."""
        return status_of(self)
