"""One local replica at work: its Raft node, its state machine and the requests that wait for it.

A replica is driven by the engine, in its loop. It decides nothing: about Raft the core does, about
commands the state machine. It moves what the core's `Ready` hands out to where it belongs, into
the effects of a turn (`Effects`), which the loop carries out.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

from http_base.kept import Found, Kept
from http_base.memory_budget import MemoryBudget
from myqueue.contract import retry_after
from myqueue.contract.errors import NoLeader, NotLeader, Overloaded, QueueError
from raft_app.core.errors import NodeNotLeader, NodeNotReady, ProposalDropped
from raft_app.core.types import NO_REPLICA, AppendEntriesReply, Entry, EntryKind, Membership, Role
from raft_app.engine.kept import found_in, kept_in
from raft_app.engine.waiters import Waiters
from raft_app.engine.windows import PeerWindows, UnderWay
from raft_app.size_marks import SizeMarks
from raft_app.statemachine import CommandAnswer, InconsistentEntry, Join, Propose
from raft_app.storage.protocol import Checkpoint, GroupWrite, SaveCheckpoint, SetFaulty, StoredBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from raft_app.core.rawnode import RawNode
    from raft_app.core.types import EntriesWanted, Ready, Rpc, SnapshotMeta, Write
    from raft_app.engine.waiters import Told
    from raft_app.statemachine import StateMachine
    from raft_app.storage.protocol import GroupSpec, Operation, PeerAddress


class Effects(msgspec.Struct):
    """The effects of one turn, in memory; the engine carries them out when the turn ends."""

    rpcs: dict[int, list[tuple[int, Rpc]]] = msgspec.field(default_factory=dict)
    """By broker id: (group id, RPC)."""
    writes: list[tuple[Replica, Operation, Write | None]] = msgspec.field(default_factory=list)
    """To be stored; the write is reported back to the replica once it is durable."""
    wanted: list[tuple[Replica, EntriesWanted]] = msgspec.field(default_factory=list)
    """Older entries that a node needs from storage."""
    snapshots: list[tuple[Replica, int]] = msgspec.field(default_factory=list)
    """Replica ids of peers that need a snapshot."""
    committed: list[tuple[Replica, Sequence[Entry]]] = msgspec.field(default_factory=list)
    """Next entries to be applied, once everything else has left or is being stored."""
    batches: list[tuple[Replica, StoredBatch]] = msgspec.field(default_factory=list)
    """Newly applied batches, kept in memory for readers that keep up."""
    applied: dict[int, Replica] = msgspec.field(default_factory=dict)
    """By group id: replicas that applied entries."""
    leadership: dict[int, Replica] = msgspec.field(default_factory=dict)
    """By group id: replicas whose role, leader, term or readiness changed."""

    def send(self, replica: Replica, rpcs: Sequence[Rpc]) -> None:
        """Send RPCs to the brokers of their receivers; a receiver that is no member gets none."""
        for rpc in rpcs:
            broker_id = replica.broker_of(rpc.to)
            if broker_id:
                self.rpcs.setdefault(broker_id, []).append((replica.group_id, rpc))


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowerProgress:
    """How far one follower is, as its leader knows."""

    replica_id: int
    broker_id: int
    """0 when unknown."""
    match_index: int
    """Highest index that it has acknowledged."""
    state: str
    """How its leader sends to it: a `ProgressState`."""
    lag_entries: int
    """Entries of the leader's log that it has not acknowledged."""


@dataclass(frozen=True, slots=True)
class Pin:
    """What a snapshot on its way needs: the messages that it contains, and the log behind it."""

    first_index: int
    """The log is kept from here on."""
    log_start_offset: int
    """Messages are kept from here on."""
    until: float
    """Loop time at which the pin holds no longer, in seconds."""


@dataclass(slots=True)
class LogStart:
    """How far storage has followed the log start offset of one replica's state."""

    told: int = -1
    """Log start offset of the last compaction; -1 before the first, which finishes old ones."""
    cut: int = 0
    """No row of a message below it is left."""


@dataclass(frozen=True, slots=True)
class CheckpointMark:
    """What a checkpoint holds, as far as it matters for what may be deleted."""

    index: int
    """Its applied index."""
    log_start_offset: int
    """Messages below it are gone in its state."""


class Applied:
    """The applied prefix of one replica's log."""

    def __init__(self, checkpoint: Checkpoint, log_start_offset: int, replica_id: int) -> None:
        """Begin at a stored checkpoint.

        Args:
            checkpoint: as stored.
            log_start_offset: of its state.
            replica_id: whose log it is.
        """
        self._replica_id = replica_id
        self.is_removed = False
        """A membership without this replica was applied after one that names it."""
        self._begin(checkpoint, log_start_offset)

    def _begin(self, checkpoint: Checkpoint, log_start_offset: int) -> None:
        self.index = checkpoint.applied_index
        self.term = checkpoint.applied_term
        self.membership = checkpoint.membership
        self.membership_index = checkpoint.membership_index
        self.handed_over = CheckpointMark(self.index, log_start_offset)
        """The newest checkpoint that storage was given."""
        self.durable = self.handed_over
        """The newest one that is durable."""
        self.sizes = SizeMarks(self.index)
        """Bytes of the entries behind some indexes."""
        self._checkpoint_bytes = len(checkpoint.state)
        self._bytes_since_checkpoint = 0

    def advance(self, entry: Entry) -> None:
        """Note that the next entry was applied."""
        self.index = entry.index
        self.term = entry.term
        size_bytes = entry.size_bytes
        self._bytes_since_checkpoint += size_bytes
        self.sizes.add(entry.index, size_bytes)

    def change_membership(self, entry: Entry) -> None:
        """Apply a MEMBERSHIP entry."""
        membership = Membership.decode(entry.data)
        if self._names_me(self.membership) and not self._names_me(membership):
            self.is_removed = True
        self.membership = membership
        self.membership_index = entry.index

    def checkpoint_due(self, log_start_offset: int, *, entries: int, min_bytes: int) -> bool:
        """Tell whether a new checkpoint is worth it: much was applied, or messages may go."""
        applied = self.index - self.handed_over.index
        if applied <= 0:
            return False
        return (
            applied >= entries
            or self._bytes_since_checkpoint >= max(min_bytes, 4 * self._checkpoint_bytes)
            or log_start_offset > self.handed_over.log_start_offset
        )

    def checkpoint(self, state: bytes, log_start_offset: int) -> Checkpoint:
        """Return the checkpoint of now, which the caller hands to storage.

        Args:
            state: encoded, at `index`.
            log_start_offset: of that state.
        """
        self.handed_over = CheckpointMark(self.index, log_start_offset)
        self._checkpoint_bytes = len(state)
        self._bytes_since_checkpoint = 0
        return Checkpoint(
            applied_index=self.index,
            applied_term=self.term,
            membership=self.membership,
            membership_index=self.membership_index,
            state=state,
        )

    def stored(self, mark: CheckpointMark) -> None:
        """Note that a checkpoint is durable."""
        if mark.index >= self.durable.index:
            self.durable = mark

    def restore(self, checkpoint: Checkpoint, log_start_offset: int) -> None:
        """Begin again at the checkpoint of a snapshot that is durable."""
        named = self._names_me(self.membership)
        self._begin(checkpoint, log_start_offset)
        self.is_removed = self.is_removed or (named and not self._names_me(self.membership))

    def _names_me(self, membership: Membership) -> bool:
        return any(member.replica_id == self._replica_id for member in membership.members)


class ReadRounds:
    """Readers on their way: asked, sent with a round, confirmed but not applied yet."""

    def __init__(self, refusal: Callable[[], Exception]) -> None:
        """Make an empty set.

        Args:
            refusal: makes the error for readers that cannot be served here.
        """
        self._refusal = refusal
        self.asked: list[asyncio.Future[None]] = []
        """Those for whom no round was started yet."""
        self._sent: dict[int, list[asyncio.Future[None]]] = {}
        self.confirmed: list[tuple[int, list[asyncio.Future[None]]]] = []
        """(Index that they need applied, futures)."""
        self._context = 0

    def ask(self) -> asyncio.Future[None]:
        """Return a future that is done when the applied state is at least as new as this call."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.asked.append(future)
        return future

    def start(self, node: RawNode) -> None:
        """Start one round for all readers that asked since the last one."""
        futures, self.asked = self.asked, []
        self._context += 1
        try:
            node.read_index(self._context)
        except (NodeNotLeader, NodeNotReady):
            self._refuse(futures)
            return
        self._sent[self._context] = futures

    def settle(self, ready: Ready, applied_index: int) -> None:
        """Take in what a `Ready` says of the rounds under way."""
        for confirmed in ready.reads_confirmed:
            futures = self._sent.pop(confirmed.context, None)
            if futures:
                self.confirmed.append((confirmed.index, futures))
        for context in ready.reads_failed:
            self._refuse(self._sent.pop(context, ()))
        self.release(applied_index)

    def release(self, applied_index: int) -> None:
        """Answer the confirmed readers whose index is applied."""
        if not self.confirmed:
            return
        waiting = []
        for index, futures in self.confirmed:
            if index > applied_index:
                waiting.append((index, futures))
                continue
            for future in futures:
                if not future.done():
                    future.set_result(None)
        self.confirmed = waiting

    def refuse_all(self) -> None:
        """End every read that is under way."""
        self._refuse(self.asked)
        for futures in self._sent.values():
            self._refuse(futures)
        for _, futures in self.confirmed:
            self._refuse(futures)
        self.asked = []
        self._sent.clear()
        self.confirmed.clear()

    def _refuse(self, futures: Iterable[asyncio.Future[None]]) -> None:
        for future in futures:
            if not future.done():
                future.set_exception(self._refusal())


REFUSALS_MIN = 3
"""In a row, before a follower is suspected."""


class ForgetfulFollowers:
    """Which followers of one leader, in its term, seem to have lost what they once acknowledged.

    A refusal that names an end of the log below what its sender had acknowledged to this leader
    cannot come from a healthy replica, unless it is an old one that was overtaken on the way. So it
    takes several in a row, without an acknowledgement in between.
    """

    def __init__(self) -> None:
        """Suspect no follower."""
        self.refusals: dict[int, int] = {}
        self.suspects: dict[int, str] = {}
        """By replica id: why. Never taken back while this replica leads."""

    def refused(self, reply: AppendEntriesReply, match: int) -> None:
        """Take in a refusal of this leader's term; `match` is what its sender had acknowledged."""
        if reply.wants_snapshot or reply.last_index >= match:
            return
        count = self.refusals[reply.sender] = self.refusals.get(reply.sender, 0) + 1
        if count >= REFUSALS_MIN and reply.sender not in self.suspects:
            self.suspects[reply.sender] = (
                f"its log ends at {reply.last_index}, it had acknowledged {match}"
            )

    def acknowledged(self, replica_id: int) -> None:
        """Take in an acknowledgement."""
        if self.refusals:
            self.refusals.pop(replica_id, None)

    def clear(self) -> None:
        """Forget everything: leadership has changed."""
        self.refusals.clear()
        self.suspects.clear()


logger = logging.getLogger(__name__)

STRANGERS_MAX = 16
"""Most senders outside the membership that a replica remembers; the oldest one is forgotten."""


def _still_true(rpcs: tuple[Rpc, ...]) -> tuple[Rpc, ...]:
    """Withdraw acknowledgements of a log that a snapshot is replacing."""
    return tuple(x for x in rpcs if not (isinstance(x, AppendEntriesReply) and x.success))


class Replica:
    """One local replica and everything in memory that belongs to it."""

    def __init__(
        self,
        spec: GroupSpec,
        node: RawNode,
        state_machine: StateMachine,
        checkpoint: Checkpoint,
        *,
        memory: MemoryBudget,
        peers: Mapping[int, PeerAddress] = MappingProxyType({}),
        windows: PeerWindows | None = None,
    ) -> None:
        """Put a replica together.

        Args:
            spec: what it is.
            node: its Raft node.
            state_machine: at the state of `checkpoint`.
            checkpoint: as stored.
            memory: of the broker.
            peers: where other brokers are, by broker id.
            windows: of the broker; without another bound than its configuration when None.
        """
        self._memory = memory
        self._pending_bytes = self._recent_bytes = 0
        """As counted in `_memory`."""
        self.is_ticked = False  # The engine lets time pass for it.
        self.spec = spec
        self.group_id = spec.group_id
        """Number of the group in the cluster."""
        self._peers = peers
        """Where other brokers are, by broker id; named in refusals."""
        self.node = node
        self._windows = windows or PeerWindows.unbounded()
        self._under_way = UnderWay(self._windows, spec.group_id, node, self.broker_of)
        self.state_machine = state_machine
        self.applied = Applied(checkpoint, state_machine.log_start_offset, spec.replica_id)
        self.faulty = ""
        """Why this replica can no longer be trusted; empty while it can."""
        self.found_at_start: Found | None = None
        """What its disk had then; None once somebody vouched for it."""
        self.serving_seen = False
        """What `serves` was when the engine last told its listeners."""
        self.pins: dict[int, Pin] = {}
        """By the replica id of the peer that gets a snapshot."""
        self.log_start = LogStart()
        self.install_offset: int | None = None
        """Where a snapshot that is partly in place goes on; None when none is."""
        self._waiters = Waiters()
        self._held: deque[tuple[int, tuple[Rpc, ...]]] = deque()
        """RPCs that may leave once the numbered write is durable."""
        self._durable_write_id = 0
        self._reads = ReadRounds(self.not_leader)
        self._forgetful = ForgetfulFollowers()
        self._brokers: dict[int, int] = {}
        self._brokers_of: Membership | None = None
        self._strangers: dict[int, int] = {}
        """Broker by replica id, of senders that are not in the membership known here."""

    # --- what others may know ---------------------------------------------------------------

    @property
    def role(self) -> Role:
        """The node's role; one that led when it became faulty leads no more."""
        leads_no_more = self.faulty and self.node.is_leader
        return Role.FOLLOWER if leads_no_more else self.node.role

    @property
    def is_leader(self) -> bool:
        """True for a leader, also before it serves."""
        return not self.faulty and self.node.is_leader

    @property
    def serves(self) -> bool:
        """True when writes and confirmed reads are taken."""
        return not self.faulty and self.node.serves

    @property
    def is_asleep(self) -> bool:
        """True while no time passes for the node: its group sleeps, or it takes no part."""
        return bool(self.faulty) or self.node.is_asleep

    @property
    def hears_leader(self) -> bool:
        """True when a leader was heard in time or this is one, and no snapshot is put in place."""
        return not (self.faulty or self.node.is_installing) and self.node.hears_leader

    @property
    def kept(self) -> Kept:
        """What is durable here for good, for others to remember; of the start until they did."""
        kept = kept_in(self.node.log)
        return kept if self.found_at_start is None else kept.within(self.found_at_start)

    @property
    def found(self) -> Found:
        """What its disk had at the start, until somebody vouched for it; then what it has."""
        return self.found_at_start or found_in(self.node.log)

    @property
    def suspects(self) -> dict[int, str]:
        """On a leader: replicas that seem to have lost what they acknowledged, and why."""
        return self._forgetful.suspects if self.node.is_leader else {}

    @property
    def leader_broker_id(self) -> int:
        """Broker of the current leader, 0 when unknown."""
        leader = self.node.leader
        is_gone = leader == NO_REPLICA or (leader == self.spec.replica_id and bool(self.faulty))
        return 0 if is_gone else self.broker_of(leader)

    def broker_of(self, replica_id: int) -> int:
        """Return the broker of a member, or of a stranger that was heard; 0 when unknown."""
        if (membership := self.node.memberships.current) is not self._brokers_of:
            self._brokers = {member.replica_id: member.broker_id for member in membership.members}
            self._brokers_of = membership
        return self._brokers.get(replica_id) or self._strangers.get(replica_id, 0)

    def replica_on(self, broker_id: int) -> int:
        """Return the member on a broker, `NO_REPLICA` when there is none."""
        for member in self.node.membership.members:
            if member.broker_id == broker_id:
                return member.replica_id
        return NO_REPLICA

    def progress(self) -> list[FollowerProgress]:
        """Return, on a leader, how far each follower is."""
        if not self.node.is_leader:
            return []
        return [
            FollowerProgress(
                replica_id=replica_id,
                broker_id=self.broker_of(replica_id),
                match_index=peer.match,
                state=str(peer.state),
                lag_entries=self.node.last_index - peer.match,
            )
            for replica_id, peer in self.node.progress.items()
        ]

    def followers(self) -> Iterator[tuple[int, int, bool]]:
        """Yield, on a leader, for each follower its broker and how many entries it lacks.

        The third value tells whether it takes them as they come, or has all of a group that sleeps.
        """
        node = self.node
        for replica_id, peer in node.progress.items():
            lag = node.last_index - peer.match
            follows = peer.is_connected and (not lag if node.is_asleep else peer.is_following)
            yield self.broker_of(replica_id), lag, follows

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
        if self.faulty:
            return False
        is_member = (
            rpc.to == self.spec.replica_id
            and self._brokers_of is self.node.memberships.current
            and self._brokers.get(rpc.sender) == broker_id
        )
        if not (is_member or self.admits(broker_id, rpc.to, rpc.sender)):
            return False
        if type(rpc) is AppendEntriesReply and (not rpc.success or self._forgetful.refusals):
            self._judge(rpc)
        self.node.step(rpc)
        return True

    def _judge(self, reply: AppendEntriesReply) -> None:
        """See whether a follower has lost what it had acknowledged."""
        if not self.node.is_leader or reply.term != self.node.term:
            return
        if reply.success:
            self._forgetful.acknowledged(reply.sender)
            return
        peer = self.node.status().progress.get(reply.sender)
        if peer is not None:
            self._forgetful.refused(reply, peer.match)

    # --- requests ---------------------------------------------------------------------------

    def propose(
        self, request: Any, waiting: asyncio.Future[Any] | Told, *, now_ms: int, clock_ms: int
    ) -> CommandAnswer | None:
        """Admit a request: return its answer, or None when `waiting` will be told.

        Raises:
            NotLeader | NoLeader | Overloaded: refused before it was proposed.
            QueueError: what the state machine refuses with.
        """
        if not self.serves:
            raise self.not_leader()
        decision = self.state_machine.prepare(request, now_ms=now_ms, clock_ms=clock_ms)
        match decision:
            case CommandAnswer():
                return decision
            case Join(index=index, term=term):
                self._waiters.add(index, term, waiting)
            case Propose(proposal=proposal, token=token):
                self._require_room(proposal.size_bytes)
                try:
                    [(index, term)] = self.node.propose([proposal])
                except NodeNotLeader as error:
                    raise self.not_leader() from error
                except ProposalDropped as error:
                    raise Overloaded(
                        f"{self.label}: {error.reason}; try again",
                        retry_after_ms=retry_after.COMMIT_MS,
                    ) from error
                self.state_machine.proposed(token, index, term)
                self._count_log()
                self._waiters.add(index, term, waiting)
        return None

    def _require_room(self, size_bytes: int) -> None:
        """Refuse a proposal that the broker's budget has no room for.

        Raises:
            Overloaded: it has none for this partition.
        """
        memory = self._memory
        for share, held_bytes in ((memory.pending, self._pending_bytes), (memory.unwritten, 0)):
            if not share.admits(size_bytes, held_bytes=held_bytes):
                raise Overloaded(
                    f"{self.label}: {share.used_bytes} of {share.limit_bytes} bytes of {share.name}"
                    f" entries are in use (QUEUE_MEMORY_BUDGET_BYTES), {held_bytes} of them here;"
                    " try again",
                    retry_after_ms=retry_after.COMMIT_MS,
                )

    def ask_read(self) -> asyncio.Future[None]:
        """Return a future that is done when the applied state is at least as new as this call.

        Raises:
            NotLeader | NoLeader: this replica cannot confirm reads.
        """
        if not self.serves:
            raise self.not_leader()
        return self._reads.ask()

    def not_leader(self) -> QueueError:
        """Return the error for a request that needs the leader: who it is, or that none is."""
        broker_id = self.leader_broker_id
        if self.faulty:
            return NoLeader(
                f"{self.label} has no leader that serves here: its replica is faulty:"
                f" {self.faulty}",
                retry_after_ms=retry_after.COMMIT_MS,
            )
        if not broker_id or self.node.is_leader:
            return NoLeader(
                f"{self.label} has no leader that serves at the moment; try again",
                retry_after_ms=retry_after.COMMIT_MS,
            )
        leader: dict[str, Any] = {"broker_id": broker_id}
        if broker_id in self._peers:
            leader["address"] = self._peers[broker_id].http_address
        return NotLeader(f"{self.label} is led by broker {broker_id}", leader=leader)

    @property
    def label(self) -> str:
        """How messages to people call this group."""
        return f"partition {self.spec.partition} of topic '{self.spec.topic}'"

    # --- the turn ---------------------------------------------------------------------------

    def has_news(self) -> bool:
        """Tell whether there may be something to move out; without, count what is on its way."""
        node = self.node
        is_limited = self._windows.is_tight or node.inflight_limits
        if is_limited or node.has_ready() or node.is_asleep is self.is_ticked:
            return True
        if not self.faulty:
            self._under_way.count()
        return False

    def drain(self, effects: Effects) -> None:
        """Move out what the node has ready."""
        node = self.node
        if self._windows.is_tight or node.inflight_limits:
            self._under_way.limit()
        if node.lost_index and not self.faulty:
            self.become_faulty(
                f"its log ends at {node.last_index}, and its leader says that it had acknowledged"
                f" {node.lost_index}"
            )
            effects.writes.append((self, self.fault(), None))
            effects.leadership[self.group_id] = self
        if self.faulty:
            self._count_log()
            self._under_way.forget()
            return
        if self._reads.asked:
            self._reads.start(node)
        ready = node.ready() if node.has_ready() else None
        if ready is not None:
            self._handle(ready, effects)
        if ready is None or not ready.committed:  # else `apply` does
            self._count_log()
        self._under_way.count()

    def _count_log(self) -> None:
        """Tell the budget what the log holds in memory."""
        log, memory = self.node.log, self._memory
        if log.pending_bytes != self._pending_bytes:
            memory.pending.move(log.pending_bytes - self._pending_bytes)
            self._pending_bytes = log.pending_bytes
        if log.recent_bytes != self._recent_bytes:
            memory.recent.move(log.recent_bytes - self._recent_bytes)
            self._recent_bytes = log.recent_bytes

    def keep_recent(self, max_bytes: int) -> None:
        """Keep so much of the applied log in memory, and tell the budget."""
        self.node.keep_recent(max_bytes)
        self._count_log()

    def forget_memory(self) -> None:
        """Give everything back to the budget and the windows; this replica is gone."""
        self._memory.pending.move(-self._pending_bytes)
        self._memory.recent.move(-self._recent_bytes)
        self._pending_bytes = self._recent_bytes = 0
        self._under_way.forget()

    def persisted(self, write: Write, effects: Effects) -> None:
        """Note that a write is durable; what waited for it leaves."""
        self._durable_write_id = write.write_id
        if write.entries and logger.isEnabledFor(logging.DEBUG):
            first, last = write.entries[0], write.entries[-1]
            logger.debug(
                "%s: entries %d to %d are stored, the last one of term %d",
                *(self.label, first.index, last.index, last.term),
            )
        while self._held and self._held[0][0] <= write.write_id:
            _, rpcs = self._held.popleft()
            effects.send(self, rpcs if self.install_offset is None else _still_true(rpcs))
        if not self.faulty:
            self.node.persisted(write.write_id)

    def _handle(self, ready: Ready, effects: Effects) -> None:
        """Do what a `Ready` asks, in the order that it demands."""
        if ready.write is not None:
            operation = GroupWrite(self.group_id, ready.write.hard_state, ready.write.entries)
            effects.writes.append((self, operation, ready.write))
        if ready.send_now:
            effects.send(self, ready.send_now)
        if rpcs := ready.send_after_durable:
            if self._durable_write_id >= ready.after_write_id:
                effects.send(self, rpcs if self.install_offset is None else _still_true(rpcs))
            else:
                self._held.append((ready.after_write_id, rpcs))
        if ready.soft_state is not None:
            self.state_machine.abandon_speculation()
            self._forgetful.clear()
            effects.leadership[self.group_id] = self
        if ready.committed:
            effects.committed.append((self, ready.committed))
        if ready.reads_confirmed or ready.reads_failed:
            self._reads.settle(ready, self.applied.index)
        for wanted in ready.entries_wanted:
            effects.wanted.append((self, wanted))
        for needed in ready.snapshots_wanted:
            effects.snapshots.append((self, needed.peer))

    # --- applying ---------------------------------------------------------------------------

    def apply(self, entries: Sequence[Entry], effects: Effects) -> None:
        """Apply the next committed entries and answer the requests that waited for them."""
        for entry in entries:
            try:
                result = self._apply_entry(entry, effects)
            except InconsistentEntry as error:
                self.become_faulty(f"entry {entry.index}: {error}")
                return
            self.applied.advance(entry)
            if self._waiters.by_index:
                self._waiters.answer(entry, result, self.not_leader)
        self.node.applied(self.applied.index)
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug(
                "%s: entries %d to %d are applied",
                *(self.label, entries[0].index, entries[-1].index),
            )
        self._count_log()
        if self._reads.confirmed:
            self._reads.release(self.applied.index)
        effects.applied[self.group_id] = self

    def _apply_entry(self, entry: Entry, effects: Effects) -> Any:
        match entry.kind:
            case EntryKind.DATA:
                result = self.state_machine.apply(entry)
                batch = StoredBatch(
                    entry.base_offset, entry.record_count, entry.append_timestamp, entry.data
                )
                effects.batches.append((self, batch))
                return result
            case EntryKind.COMMAND:
                return self.state_machine.apply(entry)
            case EntryKind.MEMBERSHIP:
                self.applied.change_membership(entry)
                return None
            case EntryKind.NOOP:
                return None

    def become_faulty(self, reason: str) -> None:
        """Take no part any more: this replica lost or doubts something it once stored.

        The caller has `fault` stored, and the listeners told.
        """
        logger.critical("%s, replica %d is faulty: %s", self.label, self.spec.replica_id, reason)
        self.faulty = reason
        self._held.clear()
        self.fail_waiters(f"{self.label}: this replica became faulty")

    def fault(self) -> SetFaulty:
        """Return the operation that stores that this replica is faulty."""
        return SetFaulty(self.group_id, self.faulty)

    def fail_waiters(self, why: str) -> None:
        """End everything that waits: writes with an unknown outcome, reads as refused."""
        self._waiters.fail(why)
        self._reads.refuse_all()

    # --- checkpoints, snapshots and older entries -------------------------------------------

    def checkpoint_due(self, *, entries: int, min_bytes: int) -> bool:
        """Tell whether a new checkpoint is worth it now."""
        if self.faulty or self.node.is_installing:
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
