"""One local replica at work: its Raft node, its state machine and the requests that wait for it.

A group is driven by the engine, in its loop. It decides nothing: about Raft the core does, about
commands the state machine. It moves what the core's `Ready` hands out to where it belongs.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Any

from myqueue.errors import NoLeader, NotLeader, Overloaded, QueueError
from raft_app.core.errors import NotLeader as NodeNotLeader
from raft_app.core.errors import ProposalDropped
from raft_app.core.rpcs import AppendEntriesReply
from raft_app.core.types import NO_REPLICA, Entry, EntryKind, Membership, Role
from raft_app.engine.applied import Applied
from raft_app.engine.read_rounds import ReadRounds
from raft_app.engine.retained import Retained
from raft_app.engine.suspicion import Suspicion
from raft_app.engine.waiters import Waiters
from raft_app.statemachine import Answer, InconsistentEntry, Join, Propose
from raft_app.storage.storage import GroupWrite, SaveCheckpoint, SetFaulty, StoredBatch

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from raft_app.core.rawnode import RawNode
    from raft_app.core.rpcs import Rpc
    from raft_app.core.types import EntriesWanted, Ready, SnapshotMeta, Write
    from raft_app.engine.turn import Turn
    from raft_app.statemachine import StateMachine
    from raft_app.storage.storage import Checkpoint, GroupSpec

logger = logging.getLogger(__name__)

DRAIN_ROUNDS_MAX = 8
"""Most `Ready` values that one group may hand out in one turn of the loop."""
STRANGERS_MAX = 16
"""Most senders outside the membership that a group remembers; the oldest one is forgotten."""
RETRY_AFTER_MS = 50
"""What a request refused for a passing reason is told to wait."""


class Group:
    """One local replica and everything in memory that belongs to it."""

    def __init__(
        self, spec: GroupSpec, node: RawNode, state_machine: StateMachine, checkpoint: Checkpoint
    ) -> None:
        self.spec = spec
        self.node = node
        self.state_machine = state_machine
        self.applied = Applied(checkpoint, state_machine.log_start_offset, spec.replica_id)
        self.faulty = ""
        """Why this replica can no longer be trusted; empty while it can."""
        self.serving_seen = False
        """What `serves` was when the engine last told its listeners."""
        self.retained = Retained()
        self.install_offset: int | None = None
        """Where a snapshot that is partly in place goes on; None when none is."""
        self._waiters = Waiters()
        self._held: deque[tuple[int, tuple[Rpc, ...]]] = deque()
        """RPCs that may leave once the numbered write is durable."""
        self._durable_write_id = 0
        self._reads = ReadRounds(self.not_leader)
        self._suspicion = Suspicion()
        self._brokers: dict[int, int] = {}
        self._brokers_of: Membership | None = None
        self._strangers: dict[int, int] = {}
        """Broker by replica id, of senders that are not in the membership known here."""

    # --- what others may know ---------------------------------------------------------------

    @property
    def group_id(self) -> int:
        """Number of the group in the cluster."""
        return self.spec.group_id

    @property
    def role(self) -> Role:
        """The node's role; one that led when it became faulty leads no more."""
        leads_no_more = self.faulty and self.node.is_leader
        return Role.FOLLOWER if leads_no_more else self.node.role

    @property
    def term(self) -> int:
        """The node's term."""
        return self.node.term

    @property
    def is_leader(self) -> bool:
        """True for a leader, also before it serves."""
        return not self.faulty and self.node.is_leader

    @property
    def serves(self) -> bool:
        """True when writes and confirmed reads are taken."""
        return not self.faulty and self.node.serves

    @property
    def hears_leader(self) -> bool:
        """True when a leader was heard in time or this is one, and no snapshot is put in place."""
        return not (self.faulty or self.node.is_installing) and self.node.hears_leader

    @property
    def is_installing(self) -> bool:
        """True while a snapshot is put in place."""
        return self.node.is_installing

    @property
    def is_removed(self) -> bool:
        """True when a membership without this replica was applied after one with it."""
        return self.applied.is_removed

    @property
    def suspects(self) -> dict[int, str]:
        """On a leader: replicas that seem to have lost what they acknowledged, and why."""
        return self._suspicion.suspects if self.node.is_leader else {}

    @property
    def commit_index(self) -> int:
        """Highest index known on a quorum."""
        return self.node.commit_index

    @property
    def applied_index(self) -> int:
        """Highest index given to the state machine."""
        return self.applied.index

    @property
    def last_index(self) -> int:
        """Highest index in the log."""
        return self.node.last_index

    @property
    def membership(self) -> Membership:
        """The membership in force."""
        return self.node.membership

    @property
    def leader_broker_id(self) -> int:
        """Broker of the current leader, 0 when unknown."""
        leader = self.node.leader
        is_gone = leader == NO_REPLICA or (leader == self.spec.replica_id and bool(self.faulty))
        return 0 if is_gone else self.broker_of(leader)

    def broker_of(self, replica_id: int) -> int:
        """Return the broker of a member, or of a stranger that was heard; 0 when unknown."""
        if (membership := self.node.membership) is not self._brokers_of:
            self._brokers = {member.replica_id: member.broker_id for member in membership.members}
            self._brokers_of = membership
        return self._brokers.get(replica_id) or self._strangers.get(replica_id, 0)

    def replica_on(self, broker_id: int) -> int:
        """Return the member on a broker, `NO_REPLICA` when there is none."""
        for member in self.node.membership.members:
            if member.broker_id == broker_id:
                return member.replica_id
        return NO_REPLICA

    def progress(self) -> list[dict[str, Any]]:
        """Return, on a leader, how far each follower is: replica, broker, match, state, lag."""
        if not self.node.is_leader:
            return []
        return [
            {
                "replica_id": replica_id,
                "broker_id": self.broker_of(replica_id),
                "match_index": peer.match,
                "state": str(peer.state),
                "lag_entries": self.last_index - peer.match,
            }
            for replica_id, peer in self.node.status().progress.items()
        ]

    def admits(self, broker_id: int, to: int, sender: int) -> bool:
        """Tell whether what came from a broker is for this replica.

        A replica that does not know the membership yet must answer senders that it does not know;
        a sender that is known to live on another broker is refused.
        """
        if to != self.spec.replica_id:
            return False
        known = self.broker_of(sender)
        if not known:
            if len(self._strangers) >= STRANGERS_MAX:
                del self._strangers[next(iter(self._strangers))]
            self._strangers[sender] = broker_id
            return True
        return known == broker_id

    def step(self, broker_id: int, rpc: Rpc) -> bool:
        """Give the node an RPC that came from a broker; return False when it is not for it."""
        if self.faulty or not self.admits(broker_id, rpc.to, rpc.sender):
            return False
        if type(rpc) is AppendEntriesReply and self.node.is_leader and rpc.term == self.node.term:
            self._judge(rpc)
        self.node.step(rpc)
        return True

    def _judge(self, reply: AppendEntriesReply) -> None:
        """See whether a follower has lost what it had acknowledged."""
        if reply.success:
            self._suspicion.acknowledged(reply.sender)
            return
        peer = self.node.status().progress.get(reply.sender)
        if peer is not None:
            self._suspicion.refused(reply, peer.match)

    # --- requests ---------------------------------------------------------------------------

    def propose(self, request: Any, *, now_ms: int, clock_ms: int) -> asyncio.Future[Any] | Answer:
        """Admit a request: return its answer, or the future of the entry that it waits for.

        Raises:
            NotLeader | NoLeader | Overloaded: refused before it was proposed.
            QueueError: what the state machine refuses with.
        """
        self._require_serving()
        decision = self.state_machine.prepare(request, now_ms=now_ms, clock_ms=clock_ms)
        match decision:
            case Answer():
                return decision
            case Join(index=index, term=term):
                return self._waiters.wait_for(index, term)
            case Propose(proposal=proposal, token=token):
                try:
                    [(index, term)] = self.node.propose([proposal])
                except NodeNotLeader as error:
                    raise self.not_leader() from error
                except ProposalDropped as error:
                    raise Overloaded(
                        f"{self.label}: {error.reason}; try again",
                        retry_after_ms=RETRY_AFTER_MS,
                    ) from error
                self.state_machine.proposed(token, index, term)
                return self._waiters.wait_for(index, term)

    def ask_read(self) -> asyncio.Future[None]:
        """Return a future that is done when the applied state is at least as new as this call.

        Raises:
            NotLeader | NoLeader: this replica cannot confirm reads.
        """
        self._require_serving()
        return self._reads.ask()

    def not_leader(self) -> QueueError:
        """Return the error for a request that needs the leader: who it is, or that none is."""
        broker_id = self.leader_broker_id
        if self.faulty or not broker_id or self.node.is_leader:
            return NoLeader(
                f"{self.label} has no leader that serves at the moment; try again",
                retry_after_ms=RETRY_AFTER_MS,
            )
        return NotLeader(
            f"{self.label} is led by broker {broker_id}", leader={"broker_id": broker_id}
        )

    @property
    def label(self) -> str:
        """How messages to people call this group."""
        return f"partition {self.spec.partition} of topic '{self.spec.topic}'"

    def _require_serving(self) -> None:
        if not self.serves:
            raise self.not_leader()

    # --- the turn ---------------------------------------------------------------------------

    def drain(self, turn: Turn) -> bool:
        """Move out what the node has ready; return True when more is left for the next turn."""
        if self.faulty:
            return False
        self._reads.start(self.node)
        for _ in range(DRAIN_ROUNDS_MAX):
            if not self.node.has_ready():
                return False
            self._handle(self.node.ready(), turn)
            if self.faulty:
                return False
        return self.node.has_ready()

    def persisted(self, write: Write, turn: Turn) -> None:
        """Note that a write is durable; what waited for it leaves."""
        self._durable_write_id = write.write_id
        while self._held and self._held[0][0] <= write.write_id:
            turn.send(self, self._still_true(self._held.popleft()[1]))
        if not self.faulty:
            self.node.persisted(write.write_id)

    def _still_true(self, rpcs: tuple[Rpc, ...]) -> tuple[Rpc, ...]:
        """Withdraw acknowledgements of a log that a snapshot is replacing."""
        if self.install_offset is None:
            return rpcs
        return tuple(x for x in rpcs if not (isinstance(x, AppendEntriesReply) and x.success))

    def _handle(self, ready: Ready, turn: Turn) -> None:
        """Do what a `Ready` asks, in the order that it demands."""
        if ready.write is not None:
            operation = GroupWrite(self.group_id, ready.write.hard_state, ready.write.entries)
            turn.store(self, operation, ready.write)
        turn.send(self, ready.send_now)
        if ready.send_after_durable:
            if self._durable_write_id >= ready.after_write_id:
                turn.send(self, self._still_true(ready.send_after_durable))
            else:
                self._held.append((ready.after_write_id, ready.send_after_durable))
        if ready.soft_state is not None:
            self.state_machine.abandon_speculation()
            self._suspicion.clear()
            turn.changed_leadership(self)
        if ready.committed:
            self._apply(ready.committed, turn)
        self._reads.settle(ready, self.applied.index)
        for wanted in ready.entries_wanted:
            turn.read(self, wanted)
        for snapshot in ready.snapshots_wanted:
            turn.want_snapshot(self, snapshot.peer)

    # --- applying ---------------------------------------------------------------------------

    def _apply(self, entries: Sequence[Entry], turn: Turn) -> None:
        """Apply committed entries and answer whoever waited for them."""
        for entry in entries:
            try:
                result = self._apply_entry(entry, turn)
            except InconsistentEntry as error:
                self.become_faulty(f"entry {entry.index}: {error}", turn)
                return
            self.applied.advance(entry)
            self._waiters.answer(entry, result, self.not_leader)
        self.node.applied(self.applied.index)
        self._reads.release(self.applied.index)
        turn.applied(self)

    def _apply_entry(self, entry: Entry, turn: Turn) -> Any:
        match entry.kind:
            case EntryKind.DATA:
                result = self.state_machine.apply(entry)
                turn.append_tail(
                    self,
                    StoredBatch(
                        entry.base_offset, entry.record_count, entry.append_timestamp, entry.data
                    ),
                )
                return result
            case EntryKind.COMMAND:
                return self.state_machine.apply(entry)
            case EntryKind.MEMBERSHIP:
                self.applied.change_membership(entry)
                return None
            case EntryKind.NOOP:
                return None

    def become_faulty(self, reason: str, turn: Turn) -> None:
        """Take no part any more: this replica lost or doubts something it once stored."""
        logger.critical("%s, replica %d is faulty: %s", self.label, self.spec.replica_id, reason)
        self.faulty = reason
        self._held.clear()
        turn.store(self, SetFaulty(self.group_id, reason), None)
        self.fail_waiters(f"{self.label}: this replica became faulty")
        turn.changed_leadership(self)

    def fail_waiters(self, why: str) -> None:
        """End everything that waits: writes with an unknown outcome, reads as refused."""
        self._waiters.fail(why)
        self._reads.refuse_all()

    # --- checkpoints, snapshots and older entries -------------------------------------------

    def checkpoint_due(self, *, entries: int, min_bytes: int) -> bool:
        """Tell whether a new checkpoint is worth it now."""
        if self.faulty or self.is_installing:
            return False
        return self.applied.checkpoint_due(
            self.state_machine.log_start_offset, entries=entries, min_bytes=min_bytes
        )

    def checkpoint(self) -> SaveCheckpoint:
        """Return the operation that stores the state as applied now."""
        machine = self.state_machine
        checkpoint = self.applied.checkpoint(machine.snapshot(), machine.log_start_offset)
        return SaveCheckpoint(self.group_id, checkpoint)

    def snapshot_installed(self, checkpoint: Checkpoint, meta: SnapshotMeta) -> None:
        """Go on from a snapshot that is durable and in place."""
        self.state_machine.restore(checkpoint.state)
        self.applied.restore(checkpoint, self.state_machine.log_start_offset)
        self.install_offset = None
        self.fail_waiters(f"{self.label}: a snapshot took the place of the log")
        self.node.finish_install(meta)

    def entries_read(self, wanted: EntriesWanted, entries: Sequence[Entry]) -> None:
        """Hand older entries to the node."""
        if not self.faulty:
            self.node.entries_read(wanted, entries)
