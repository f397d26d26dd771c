"""The public front of the core: one Raft node without clock, disk or network.

The same state and the same inputs always give the same outputs. The caller owns time, storage and
the connections, and has these duties:

1. Call `tick()` once per tick, `step(rpc)` for each RPC that comes for this replica, and the other
   inputs when their moment comes. One thread at a time.
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
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_app.core import election, membership_change, replication, snapshots, transfer
from raft_app.core.raft import Raft
from raft_app.core.status import Status, status_of
from raft_app.core.types import Ready, SoftState, Write

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from raft_app.core.config import RaftConfig
    from raft_app.core.rpcs import Rpc
    from raft_app.core.types import (
        EntriesWanted,
        Entry,
        InitialState,
        Membership,
        MembershipChange,
        Proposal,
        Role,
        SnapshotMeta,
    )


class RawNode:
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
        self._raft = Raft(config, initial, randomizer)
        self._told = SoftState(self._raft.role, self._raft.leader, self._raft.term)

    # --- inputs ---------------------------------------------------------------------------------

    def tick(self) -> None:
        """One tick has passed."""
        self._raft.tick()

    def step(self, rpc: Rpc) -> None:
        """Take in an RPC of a peer; `rpc.to` is this replica."""
        self._raft.step(rpc)

    def propose(self, proposals: Sequence[Proposal]) -> list[tuple[int, int]]:
        """Append proposals to the leader's log: all of them or none.

        Args:
            proposals: of any kind but MEMBERSHIP.

        Returns:
            (index, term) of each. It is committed if the entry that is applied at that index has
            that term; another one there means that it is lost.

        Raises:
            NotLeader: this node does not lead.
            ProposalDropped: the leader takes none now; its `reason` says why.
        """
        return replication.propose(self._raft, proposals)

    def propose_membership(self, change: MembershipChange, *, version: int) -> tuple[int, int]:
        """Append one change of the membership; it is in force at once (thesis, chapter 4).

        Args:
            change: the step; at most one voter comes or goes with it.
            version: of the placement that the step leads to; at least that of the one in force.

        Returns:
            Its (index, term). It is lost when another entry is committed there.

        Raises:
            NotLeader: this node does not lead.
            ChangeRefused: not now, or never; its `reason` says why.
        """
        return membership_change.propose_membership(self._raft, change, version=version)

    def transfer_leadership(self, to: int) -> None:
        """Hand leadership to another voter; given up after T, when it has not taken over.

        No proposals are taken meanwhile.

        Raises:
            NotLeader: this node does not lead.
            ValueError: `to` is not another voter.
        """
        transfer.transfer_leadership(self._raft, to)

    def report_unreachable(self, peer: int) -> None:
        """AppendEntries that were sent to `peer` are lost."""
        replication.unreachable(self._raft, peer)

    def report_connection_lost(self, peer: int) -> None:
        """The connection from `peer` broke. Ends "hears the leader" when it is the leader."""
        self._raft.connection_lost(peer)

    def campaign_hint(self) -> bool:
        """Start a pre-vote round, since the leader may be gone; tell whether one was started.

        False while this node hears its leader, leads, is no voter, or writes its own vote.
        """
        return election.start_hinted_pre_vote(self._raft)

    def campaign(self) -> None:
        """Start a pre-vote round now, as if the election timeout had passed.

        Nothing happens on a leader, on one that is no voter, and while the own vote is written.
        """
        election.start_campaign(self._raft)

    def read_index(self, context: int) -> None:
        """Ask for the index that a linearizable read needs; comes as `ReadConfirmed(context, ..)`.

        Args:
            context: the caller's number of the read, given back as it is.

        Raises:
            NotLeader: this node does not lead.
            NotReady: the no-op of the leader's term is not applied yet.
        """
        replication.read_index(self._raft, context)

    def persisted(self, write_id: int) -> None:
        """Every write up to `write_id` is durable."""
        self._raft.persisted(write_id)

    def applied(self, up_to: int) -> None:
        """The entries handed out as `committed` are applied up to this index."""
        self._raft.log.applied_to(up_to)

    def entries_read(self, wanted: EntriesWanted, entries: Sequence[Entry]) -> None:
        """Answer an `EntriesWanted`.

        Args:
            wanted: as it came.
            entries: a non-empty prefix of its range, or nothing when they could not be read.
        """
        replication.entries_read(self._raft, wanted, entries)

    def compacted(self, first_index: int, previous_term: int) -> None:
        """The storage has no entry below `first_index` any more; going back is ignored.

        Args:
            first_index: at most one above what was reported as applied.
            previous_term: term of the entry before it, `term_at(first_index - 1)` until now.
        """
        self._raft.log.compact(first_index, previous_term)

    def report_snapshot(self, peer: int, ok: bool) -> None:
        """The transfer that a `SnapshotWanted` of `peer` led to has ended.

        Args:
            peer: its replica id.
            ok: the peer has installed it. Else it is asked for again later, if still needed.
        """
        snapshots.report_snapshot(self._raft, peer, ok=ok)

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
        return snapshots.offer_snapshot(self._raft, sender, term, meta)

    def begin_install(self) -> None:
        """A wanted snapshot begins to replace what is stored; it may follow another one.

        From now on this node answers heartbeats, but neither campaigns nor acknowledges, votes
        only by the log that it had, writes no entries and hands none out.
        """
        snapshots.begin_install(self._raft)

    def abort_install(self) -> None:
        """The installation ended before anything stored was replaced."""
        snapshots.abort_install(self._raft)

    def finish_install(self, meta: SnapshotMeta) -> None:
        """The snapshot is in place, durably: the log begins after it, and all of it is applied."""
        snapshots.finish_install(self._raft, meta)

    # --- output ---------------------------------------------------------------------------------

    def has_ready(self) -> bool:
        """Tell whether `ready()` has anything to say; costs a few comparisons."""
        raft = self._raft
        told = self._told
        reads = raft.reads
        return (
            not raft.outbox.is_empty
            or raft.sending_due
            or raft.log.has_unwritten
            or raft.log.has_committed
            or raft.has_unwritten_vote
            or reads.needs_round
            or bool(reads.confirmed or reads.failed)
            or raft.term != told.term
            or raft.role is not told.role
            or raft.leader != told.leader
        )

    def ready(self) -> Ready:
        """Return all that is to be done since the last time; nothing of it comes again."""
        raft = self._raft
        replication.send_due(raft)
        write = self._take_write()
        return Ready(
            write=write,
            send_now=raft.outbox.take_now(),
            send_after_durable=raft.outbox.take_after_durable(),
            after_write_id=raft.log.last_write_id,
            committed=raft.log.take_committed(),
            reads_confirmed=raft.reads.take_confirmed(),
            reads_failed=raft.reads.take_failed(),
            entries_wanted=raft.outbox.take_wanted(),
            snapshots_wanted=raft.outbox.take_snapshots_wanted(),
            soft_state=self._take_soft_state(),
        )

    def _take_write(self) -> Write | None:
        """Return a write when there is something that must be durable.

        The commit index alone is not worth one; it goes along with entries, term or vote.
        """
        raft = self._raft
        if not raft.log.has_unwritten and not raft.has_unwritten_vote:
            return None
        hard_state = raft.take_hard_state()
        write_id, entries = raft.log.issue_write(hard_state)
        return Write(write_id, hard_state, entries)

    def _take_soft_state(self) -> SoftState | None:
        raft = self._raft
        told = self._told
        if raft.term == told.term and raft.role is told.role and raft.leader == told.leader:
            return None
        self._told = SoftState(raft.role, raft.leader, raft.term)
        return self._told

    # --- state ----------------------------------------------------------------------------------

    @property
    def replica_id(self) -> int:
        """This node's id in its group."""
        return self._raft.replica_id

    @property
    def term(self) -> int:
        """The current term."""
        return self._raft.term

    @property
    def role(self) -> Role:
        """The current role."""
        return self._raft.role

    @property
    def leader(self) -> int:
        """Replica id of the leader of the current term, or `NO_REPLICA`."""
        return self._raft.leader

    @property
    def is_leader(self) -> bool:
        """This node leads its term, as far as it knows."""
        return self._raft.is_leader

    @property
    def serves(self) -> bool:
        """This node leads and has applied the no-op of its term: it may take requests."""
        return self._raft.serves

    @property
    def hears_leader(self) -> bool:
        """The leader was heard within T and its connection is up; or this node leads."""
        return self._raft.hears_leader

    @property
    def ticks_since_leader(self) -> int:
        """Ticks since the leader was heard, or since the start; 0 on the leader itself."""
        return self._raft.ticks_since_leader

    @property
    def commit_index(self) -> int:
        """Highest index known to be committed."""
        return self._raft.log.commit_index

    @property
    def applied_index(self) -> int:
        """Highest index that was reported as applied."""
        return self._raft.log.applied_index

    @property
    def last_index(self) -> int:
        """Highest index in the log, durable or not."""
        return self._raft.log.last_index

    @property
    def first_index(self) -> int:
        """Lowest index that the stored log has."""
        return self._raft.log.first_index

    @property
    def is_installing(self) -> bool:
        """A snapshot is being put in place of the log."""
        return self._raft.log.is_frozen

    def term_at(self, index: int) -> int | None:
        """Return the term of the entry at `index`; None when the log does not know it."""
        return self._raft.log.term_at(index)

    @property
    def membership(self) -> Membership:
        """The membership in force: of the last MEMBERSHIP entry in the log, else the snapshot's."""
        return self._raft.memberships.current

    @property
    def membership_index(self) -> int:
        """Index of the entry that set it; 0 when there was none."""
        return self._raft.memberships.index

    def status(self) -> Status:
        """Return the whole state as a value; costs a walk over the peers."""
        return status_of(self._raft)
