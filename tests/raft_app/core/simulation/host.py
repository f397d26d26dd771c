"""One simulated process: a node, its disk and its state machine, driven as `Ready` demands."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from http_base.kept import Found, Kept
from raft_app.core.errors import ChangeReason, ChangeRefused, NodeNotLeader
from raft_app.core.quorum import is_quorum
from raft_app.core.types import (
    NO_REPLICA,
    AppendEntries,
    AppendEntriesReply,
    Heartbeat,
    Quiesce,
    Ready,
    RequestVoteReply,
)
from raft_app.engine.guard import PeerSigns, silence_ticks
from raft_app.engine.kept import found_in, kept_in
from tests.raft_app.core.simulation.disk import Compaction, StoredState
from tests.raft_app.core.simulation.installer import Installer
from tests.raft_app.core.simulation.plan import TICK, TURN_TICKS, Fault
from tests.raft_app.core.simulation.service import Service
from tests.raft_app.core.simulation.write_stream import WriteStream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from raft_app.core.rawnode import RawNode
    from raft_app.core.types import EntriesWanted, Entry, MembershipChange, Rpc
    from tests.raft_app.core.simulation.disk import Disk
    from tests.raft_app.core.simulation.ledger import Ledger
    from tests.raft_app.core.simulation.simulation import Simulation
    from tests.raft_app.core.simulation.transfers import Transfer

TURN_ROUNDS_MAX = 1_000
"""Ready values that one turn may handle; more means that a node never comes to rest."""


SPARES_WAIT = TICK
"""Longest time until followers that a quorum does without get what the others have."""
VOUCH_TICKS_MAX = 40
"""Until a process that starts hears what it once had."""


class Host:
    """The process of one replica. Every event of a former life of the process is ignored.

    Attributes:
        replica_id: whose process it is.
        disk: survives the process.
        node: the Raft core; a new one after each start.
        service: state machine and waiting clients; new after each start.
        stream: what the process hands to its disk; new after each start.
        installer: takes snapshots in; new after each start.
        alive: whether the process runs.
        is_gone: it will never run again.
        slowness: factor on the time of a transaction.
        stalled_until: the clock does not tick before.
        frozen_until: nothing at all happens before.
        kept: the most that it ever reported of what is durable here.
    """

    node: RawNode
    service: Service
    stream: WriteStream
    installer: Installer

    def __init__(self, simulation: Simulation, replica_id: int, disk: Disk, period: int) -> None:
        self._simulation = simulation
        self._random = simulation.random
        self.watch = simulation.watch
        self.replica_id = replica_id
        self.disk = disk
        self.alive = False
        self.is_gone = False
        self.slowness = 1
        self.stalled_until = 0
        self.frozen_until = 0
        self.kept = Kept(0, 0)
        self._found: Found | None = None
        self._period = period
        self._life = 0
        self._reset()

    def _reset(self) -> None:
        self._committed: deque[Entry] = deque()
        self._turn_due = self._spares_wait = False
        self._ticks = 0
        self._heard = (NO_REPLICA, 0, 0)
        self._signs = PeerSigns(silence_ticks(self._simulation.plan.config))
        self._peer_lives: dict[int, int] = {}
        self._turns = 0
        self._silent: set[int] = set()
        """Peers that fell silent and were not heard since, whose connection is up."""

    # --- life ---------------------------------------------------------------------------

    def start(self) -> None:
        """Start the process from what is on disk."""
        assert not self.alive
        assert not self.is_gone
        initial, ledger = self.disk.load()
        self._life += 1
        self._reset()
        self.alive = True
        self.stalled_until = self.frozen_until = 0
        simulation = self._simulation
        simulation.trace.note(simulation.now, self.replica_id, "start", initial)
        self.watch.applied_prefixes.started(self.replica_id, initial.applied_index)
        self.node = simulation.make_node(initial)
        self.stream = WriteStream(simulation, self, self.disk)
        self.installer = Installer(self, self.disk)
        self.service = Service(
            self.replica_id, self.node, ledger, clients=simulation.clients, watch=self.watch
        )
        self.later(1 + int(self._random.random() * self._period), self._tick)
        if Fault.ROLLBACK in simulation.faults.kinds:
            self.node.withhold_votes()
            self._found = None if self.node.log.is_frozen else found_in(self.node.log)
            self.later(1 + self._random.randrange(VOUCH_TICKS_MAX * TICK), self._hear_what_it_kept)
        self.act()

    def _hear_what_it_kept(self) -> None:
        """Hear from those who remember what this replica once had; with less it is of no use."""
        found, self._found = self._found or found_in(self.node.log), None
        if found.lacks(self.kept) and not self.node.log.is_frozen:
            self.note("is an older copy")
            self._simulation.faults.kill(self)
            self.is_gone = True
        else:
            self.node.allow_votes()
            self.act()

    def crash(self) -> None:
        """Kill the process; some prefix of the unfinished writes may have become durable."""
        assert self.alive
        unfinished = self.disk.unfinished
        survivors = self._random.choice((0, self._random.randint(0, unfinished)))
        self.note("crash", f"{survivors} of {unfinished} unfinished writes survive")
        self.alive = False
        self.disk.crash(survivors)
        self.watch.cut_off.ends(self.replica_id)
        self._simulation.transfers.broken(self)

    @property
    def awake(self) -> bool:
        """Whether the process runs and is not frozen."""
        return self.alive and self.frozen_until <= self._simulation.now

    def request(self, action: Callable[..., None], *args: Any) -> None:
        """Let a client's request in: at once, or when the process is not frozen any more."""
        self._act_if_alive(self._life, action, args)

    def later(self, delay: int, action: Callable[..., None], *args: Any) -> None:
        self._simulation.schedule(delay, self._act_if_alive, self._life, action, args)

    def _act_if_alive(self, life: int, action: Callable[..., None], args: tuple[Any, ...]) -> None:
        if life != self._life or not self.alive:
            return
        frozen = self.frozen_until - self._simulation.now
        if frozen > 0:
            self._simulation.schedule(frozen, self._act_if_alive, life, action, args)
        else:
            action(*args)

    # --- inputs -------------------------------------------------------------------------

    def _tick(self) -> None:
        simulation = self._simulation
        self.later(self._period if simulation.plan.clock_drift else TICK, self._tick)
        if simulation.now < self.stalled_until:
            return
        self._ticks += 1
        self.node.tick()
        self.act()
        if simulation.plan.naps:
            self._guard()
        log = self.node.log
        kept = kept_in(log)
        self.kept = self.kept.more(kept.within(self._found) if self._found else kept)
        self.watch.ticked(self)

    # --- signs of life ------------------------------------------------------------------

    def _guard(self) -> None:
        """Send signs of life, and miss those of others."""
        if self._ticks % self._simulation.plan.config.heartbeat_ticks == 0:
            self._simulation.send_signs(self.replica_id, self._life)
        for peer in self._signs.tick():
            self.connection_lost(peer, is_silent=True)
        self._strand()

    def hear_sign(self, peer: int, life: int) -> None:
        """Take a sign of life; that of another process came over a new connection."""
        if not self.alive:
            return
        frozen = self.frozen_until - self._simulation.now
        if frozen > 0:
            self.later(frozen, self.hear_sign, peer, life)
            return
        if self._peer_lives.setdefault(peer, life) != life:
            self._peer_lives[peer] = life
            self._signs.lost(peer)
            self.connection_lost(peer)
        self.watch.cut_off.hears(self.replica_id, self.node.term)
        self._hear(peer)

    def _hear(self, peer: int) -> None:
        if self._signs.heard(peer):
            if peer in self._silent:
                self._silent.discard(peer)
                self.node.report_found(peer)
            if self.node.should_wake and not self.node.is_leader:
                self._turns += 1
                self.later(self._random.randrange(TURN_TICKS * TICK), self._turn_came)
            self.node.report_back(peer)
            self.act()

    def may_hear(self, peer: int) -> bool:
        """Tell whether the process of a peer runs, and the link from it works."""
        host = self._simulation.hosts[peer]
        return (
            host.awake
            and host.stalled_until <= self._simulation.now
            and self._simulation.network.is_open(peer, self.replica_id)
        )

    def deliver(self, rpc: Rpc) -> None:
        """Give an RPC to the node, unless the process is dead or frozen."""
        if not self.alive:
            return
        frozen = self.frozen_until - self._simulation.now
        if frozen > 0:
            self.later(frozen, self.deliver, rpc)
            return
        self.note("receives", rpc)
        if self._simulation.plan.naps:
            self._hear(rpc.sender)
        self.watch.arrives(self, rpc)
        if isinstance(rpc, Quiesce) and any(map(self._signs.hears, rpc.lagging)):
            self.node.decline_sleep()
        else:
            self.node.step(rpc)
        if isinstance(rpc, AppendEntries | Heartbeat) and rpc.term == self.node.term:
            self._heard = (rpc.sender, rpc.term, self._ticks)
        self.watch.cut_off.hears(self.replica_id, self.node.term)
        self.act()

    def surely_hears_leader(self) -> bool:
        """Tell whether the node must refuse to vote for others; False in doubt."""
        if self.node.is_leader:
            return True
        leader, term, tick = self._heard
        timeout = self._simulation.plan.config.election_timeout_ticks
        return leader != NO_REPLICA and term == self.node.term and self._ticks - tick < timeout - 1

    def campaign(self) -> None:
        """Start an election at once, as the first replica of a new group does."""
        self.note("campaigns")
        self.node.campaign()
        self.act()

    def connection_lost(self, peer: int, *, is_silent: bool = False) -> None:
        """The connection from `peer` broke, or it is silent: its leadership may be over."""
        self.note("connection lost", peer)
        if is_silent:
            self._silent.add(peer)
        else:
            self._silent.discard(peer)
        led = self.node.leader == peer
        self._signs.lost(peer)
        waits = self._simulation.plan.naps and self._random.random() < 0.5
        self.node.report_connection_lost(peer, wakes=not waits)
        if self._heard[0] == peer:
            self._heard = (NO_REPLICA, 0, 0)
        voters = self.node.membership.voter_ids
        turn = self._random.randrange(TURN_TICKS * TICK) if waits else 0
        if led and (self.replica_id in voters or waits):
            others = sorted(voters - {peer} | {self.replica_id})
            delay = others.index(self.replica_id) * TICK * 3 // 2
            self._turns += 1
            self.later(turn + delay + self._random.randrange(TICK), self._turn_came)
        if waits and self.node.is_leader:
            self.later(turn, self._wake_unfollowed)
        self.act()

    def _wake_unfollowed(self) -> None:
        """Wake a leader that sleeps and is left without a quorum."""
        if self.node.is_leader and self.node.should_wake:
            self.note("wakes without a quorum")
            self.node.wake()
            self.act()

    def _strand(self) -> None:
        """Sleep without a leader as long as no quorum is heard."""
        node = self.node
        heard = [self.replica_id, *filter(self._signs.hears, node.peers)]
        if node.leader == NO_REPLICA and not is_quorum(node.membership.voter_ids, heard):
            if not node.is_asleep:
                self.note("strands")
            node.strand()
            self.act()

    def _turn_came(self) -> None:
        self._turns -= 1
        self._hint(3)

    @property
    def waits_for_turn(self) -> bool:
        """Whether the node is to be told later that a leader may be gone."""
        return self._turns > 0

    def _hint(self, attempts: int) -> None:
        self.note("hint", "taken" if self.node.campaign_hint() else "refused")
        if attempts > 1 and self.node.leader == NO_REPLICA:
            self.later(self._random.randrange(3 * TICK, 6 * TICK), self._hint, attempts - 1)
        self.act()

    def hint(self) -> None:
        """Hint at an election, for no reason."""
        self._hint(1)

    def unreachable(self, peer: int) -> None:
        """RPCs to `peer` were lost on the way out."""
        self.note("unreachable", peer)
        self.node.report_unreachable(peer)
        self.act()

    def transfer(self, to: int) -> None:
        """Ask the node to hand its leadership over."""
        try:
            self.node.transfer_leadership(to)
        except NodeNotLeader:
            return
        self.note("transfers to", to)
        self.act()

    def checkpoint(self) -> None:
        """Store the state machine, so that a restart applies less."""
        if not self.node.is_installing:
            self.note("checkpoint", self.service.ledger.applied_index)
            self.stream.submit(StoredState(self.service.ledger.copy()))

    def compact(self, kept: int) -> None:
        """Store the state machine and drop the log it covers, all but some entries."""
        if self.node.is_installing:
            return
        self.checkpoint()
        first_index = self.service.ledger.applied_index + 1 - kept
        if first_index > self.node.first_index:
            self.note("compacts to", first_index)
            self.stream.submit(Compaction(first_index), lambda: self._compacted(first_index))

    def _compacted(self, first_index: int) -> None:
        if first_index <= self.node.first_index:
            return  # A snapshot was put in place meanwhile.
        self.stream.log.compact(first_index)
        self.node.compacted(first_index, self.stream.log.previous_term)

    # --- membership and snapshots -------------------------------------------------------

    def change_membership(self, change: MembershipChange, version: int) -> ChangeReason | None:
        """Ask the node for a change; return why it was refused, None when it was not."""
        node = self.node
        self.watch.commits(self, node.commit_index)
        before = (node.membership_index, node.membership)
        try:
            node.propose_membership(change, version=version)
        except ChangeRefused as refused:
            self.note("change refused", (change, refused.reason))
            return refused.reason
        except NodeNotLeader:
            return ChangeReason.NOT_READY
        self.note("changes", (change, version, node.membership))
        self.watch.changes_membership(self, before)
        self.act()
        return None

    def snapshot_sent(self, transfer: Transfer, ok: bool) -> None:
        """A transfer of ours ended."""
        self.note("snapshot sent" if ok else "snapshot not sent", transfer)
        self.node.report_snapshot(transfer.receiver.replica_id, ok)
        self.act()

    def apply_waiting(self) -> None:
        """Apply at once what is committed."""
        self._apply()

    def installed(self, state: Ledger) -> None:
        """A snapshot is in place, durably."""
        meta = state.meta
        self.note("installed", meta)
        self._committed.clear()
        self.stream.installed(meta)
        self.node.finish_install(meta)
        self.service.install(self.disk.load()[1])
        self.watch.membership_in_force(self)
        self._simulation.transfers.installed += 1

    # --- clients ------------------------------------------------------------------------

    def propose(self, values: Iterable[bytes], record_count: int) -> None:
        """Ask for values to be stored, each as an entry of `record_count` messages."""
        places = self.service.propose(values, record_count)
        if places:
            self.note("proposed", (values, places))
        self.act()

    def read(self, floor: int) -> None:
        """Begin a read that a client asked for when it had seen `floor` applied."""
        context = self.service.read(floor)
        if context:
            self.note("reads", context)
        self.act()

    # --- outputs ------------------------------------------------------------------------

    def act(self) -> None:
        """Handle what the node wants done, now or, with what comes meanwhile, a little later."""
        if self._turn_due or not self.node.has_ready():
            return
        delay = self._simulation.plan.turn_delay
        if delay:
            self._turn_due = True
            self.later(1 + int(delay * self._random.random()), self._delayed_turn)
        else:
            self._turn()

    def _delayed_turn(self) -> None:
        self._turn_due = False
        self._turn()

    def _turn(self) -> None:
        for _ in range(TURN_ROUNDS_MAX):
            if not self.node.has_ready():
                self._check_rest()
                self._send_to_spares_later()
                return
            ready = self.node.ready()
            assert not self.node.has_ready(), "one `Ready` tells everything"
            self._handle(ready)
        raise AssertionError(f"replica {self.replica_id} always has something ready")

    def _send_to_spares_later(self) -> None:
        if self.node.spares_due and not self._spares_wait:
            self._spares_wait = True
            self.later(1 + int(self._random.random() * SPARES_WAIT), self._send_to_spares)

    def _send_to_spares(self) -> None:
        self._spares_wait = False
        self.node.send_to_spares()
        self.act()

    def _check_rest(self) -> None:
        """A node at rest has told all it knows."""
        node = self.node
        stream = self.stream
        assert node.is_installing or node.last_index == stream.log.last_index
        assert node.term == stream.hard_state.term
        assert node.applied_index <= node.commit_index <= node.last_index
        assert node.ready() == Ready(after_write_id=stream.issued), "something was not announced"

    def _handle(self, ready: Ready) -> None:
        self.note("ready", ready)
        if ready.write is not None:
            self.stream.accept(ready.write)
        assert ready.after_write_id == self.stream.issued
        if ready.soft_state is not None:
            self.watch.changes_role(self, ready.soft_state)
        self.watch.commits(self, self.node.commit_index)
        for rpc in ready.send_now:
            self.send(rpc, self._needs(rpc))
        if ready.send_after_durable:
            held = [(rpc, self._needs(rpc)) for rpc in ready.send_after_durable]
            self.stream.hold(ready.after_write_id, held)
        self._take_committed(ready.committed)
        for confirmed in ready.reads_confirmed:
            self.service.confirm_read(confirmed)
        for context in ready.reads_failed:
            self.service.fail_read(context)
        self.service.answer_reads()
        for wanted in ready.entries_wanted:
            self.later(1 + self.stream.delay(), self._read_entries, wanted)
        for peer in ready.snapshots_wanted:
            self._simulation.transfers.start(self, peer.peer)

    def _needs(self, rpc: Rpc) -> int:
        return self.watch.promises(self, rpc) if isinstance(rpc, AppendEntriesReply) else 0

    def send(self, rpc: Rpc, needed_write_id: int) -> None:
        assert rpc.sender == self.replica_id
        self.watch.leaves(self, rpc, needed_write_id)
        self._simulation.send(rpc)
        if isinstance(rpc, RequestVoteReply | AppendEntriesReply):
            self._simulation.faults.promised(self)

    def _take_committed(self, entries: tuple[Entry, ...]) -> None:
        if not entries:
            return
        for entry in entries:
            assert self.stream.log.entry(entry.index) == entry, "what is applied is in the log"
        self._committed.extend(entries)
        delay = self._simulation.plan.apply_delay
        if delay:
            self.later(1 + int(delay * self._random.random()), self._apply)
        else:
            self._apply()

    def _apply(self) -> None:
        if not self._committed:
            return
        while self._committed:
            entry = self._committed.popleft()
            self.watch.applies(self, entry)
            self.service.apply(entry)
        self.node.applied(self.service.ledger.applied_index)
        self.service.answer_reads()
        self.act()

    # --- disk ---------------------------------------------------------------------------

    def _read_entries(self, wanted: EntriesWanted) -> None:
        assert 1 <= wanted.first_index <= wanted.last_index
        simulation = self._simulation
        entries: tuple[Entry, ...] = ()
        if not simulation.faulty or self._random.random() > 0.2:
            entries = self.disk.read(wanted.first_index, wanted.last_index, wanted.max_bytes)
        self.later(1 + self.stream.delay(), self._entries_read, wanted, entries)

    def _entries_read(self, wanted: EntriesWanted, entries: tuple[Entry, ...]) -> None:
        self.note("entries read", (wanted, len(entries)))
        self.node.entries_read(wanted, entries)
        self.act()

    def note(self, what: str, value: object = "") -> None:
        self._simulation.trace.note(self._simulation.now, self.replica_id, what, value)
