"""One simulated process: a node, its disk and its state machine, driven as `Ready` demands."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from raft_app.core.errors import NotLeader
from raft_app.core.rpcs import AppendEntries, AppendEntriesReply, Heartbeat, RequestVoteReply
from raft_app.core.types import NO_REPLICA, HardState, Ready
from tests.raft_app.core.simulation.disk import StoredState
from tests.raft_app.core.simulation.plan import TICK
from tests.raft_app.core.simulation.service import Service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from raft_app.core.rawnode import RawNode
    from raft_app.core.rpcs import Rpc
    from raft_app.core.types import EntriesWanted, Entry, Write
    from tests.raft_app.core.simulation.disk import Disk
    from tests.raft_app.core.simulation.simulation import Simulation

TURN_ROUNDS_MAX = 1_000
"""Ready values that one turn may handle; more means that a node never comes to rest."""

DISK_DELAY_MAX = 40 * TICK
"""Longest time that even a slow disk takes, in units."""


class Host:
    """The process of one replica. Every event of a former life of the process is ignored.

    Attributes:
        replica_id: whose process it is.
        disk: survives the process.
        node: the Raft core; a new one after each start.
        service: state machine and waiting clients; new after each start.
        alive: whether the process runs.
        log: the log as it will be once all writes handed over are durable.
        log_writes: the write that put each of these entries there; 0 for an earlier process.
        hard_state: the hard state once all writes handed over are durable.
        slowness: factor on the time of a transaction.
        stalled_until: the clock does not tick before.
        frozen_until: nothing at all happens before.
    """

    node: RawNode
    service: Service

    def __init__(self, simulation: Simulation, replica_id: int, disk: Disk, period: int) -> None:
        self._simulation = simulation
        self._random = simulation.random
        self._watch = simulation.watch
        self.replica_id = replica_id
        self.disk = disk
        self.alive = False
        self.slowness = 1
        self.stalled_until = 0
        self.frozen_until = 0
        self._period = period
        self._life = 0
        self._reset()

    def _reset(self) -> None:
        self.log = list(self.disk.log)
        self.log_writes = [0] * len(self.log)
        self.hard_state: HardState = self.disk.hard_state
        self._issued = 0
        self._reported = 0
        self._held: deque[tuple[int, list[tuple[Rpc, int]]]] = deque()
        self._committed: deque[Entry] = deque()
        self._turn_due = False
        self._ticks = 0
        self._heard = (NO_REPLICA, 0, 0)

    # --- life ---------------------------------------------------------------------------

    def start(self) -> None:
        """Start the process from what is on disk."""
        assert not self.alive
        initial, ledger = self.disk.load()
        self._life += 1
        self._reset()
        self.alive = True
        self.stalled_until = self.frozen_until = 0
        simulation = self._simulation
        simulation.trace.note(simulation.now, self.replica_id, "start", initial)
        self._watch.applied_prefixes.started(self.replica_id, initial.applied_index)
        self.node = simulation.make_node(initial)
        self.service = Service(
            self.replica_id, self.node, ledger, clients=simulation.clients, watch=self._watch
        )
        self._later(1 + int(self._random.random() * self._period), self._tick)
        self.act()

    def crash(self) -> None:
        """Kill the process; some prefix of the unfinished writes may have become durable."""
        assert self.alive
        unfinished = self.disk.unfinished
        survivors = self._random.choice((0, self._random.randint(0, unfinished)))
        self._note("crash", f"{survivors} of {unfinished} unfinished writes survive")
        self.alive = False
        self.disk.crash(survivors)
        self._watch.cut_off.ends(self.replica_id)

    @property
    def awake(self) -> bool:
        """Whether the process runs and is not frozen."""
        return self.alive and self.frozen_until <= self._simulation.now

    def request(self, action: Callable[..., None], *args: Any) -> None:
        """Let a client's request in: at once, or when the process is not frozen any more."""
        self._act_if_alive(self._life, action, args)

    def _later(self, delay: int, action: Callable[..., None], *args: Any) -> None:
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
        self._later(self._period if simulation.plan.clock_drift else TICK, self._tick)
        if simulation.now < self.stalled_until:
            return
        self._ticks += 1
        self.node.tick()
        self.act()
        self._watch.cut_off.ticked(self.replica_id, self.node.term, leads=self.node.is_leader)

    def deliver(self, rpc: Rpc) -> None:
        """Give an RPC to the node, unless the process is dead or frozen."""
        if not self.alive:
            return
        frozen = self.frozen_until - self._simulation.now
        if frozen > 0:
            self._later(frozen, self.deliver, rpc)
            return
        self._note("receives", rpc)
        self._watch.arrives(self, rpc)
        self.node.step(rpc)
        if isinstance(rpc, AppendEntries | Heartbeat) and rpc.term == self.node.term:
            self._heard = (rpc.sender, rpc.term, self._ticks)
        self._watch.cut_off.hears(self.replica_id, self.node.term)
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
        self._note("campaigns")
        self.node.campaign()
        self.act()

    def connection_lost(self, peer: int) -> None:
        """The connection from `peer` broke; the hint that its leadership may be over."""
        self._note("connection lost", peer)
        led = self.node.leader == peer
        self.node.report_connection_lost(peer)
        if self._heard[0] == peer:
            self._heard = (NO_REPLICA, 0, 0)
        if led:
            others = [other for other in self._simulation.hosts if other != peer]
            delay = others.index(self.replica_id) * TICK * 3 // 2
            self._later(delay + self._random.randrange(TICK), self._hint, 3)
        self.act()

    def _hint(self, attempts: int) -> None:
        self._note("hint", "taken" if self.node.campaign_hint() else "refused")
        if attempts > 1 and self.node.leader == NO_REPLICA:
            self._later(self._random.randrange(3 * TICK, 6 * TICK), self._hint, attempts - 1)
        self.act()

    def hint(self) -> None:
        """Hint at an election, for no reason."""
        self._hint(1)

    def unreachable(self, peer: int) -> None:
        """RPCs to `peer` were lost on the way out."""
        self._note("unreachable", peer)
        self.node.report_unreachable(peer)
        self.act()

    def transfer(self, to: int) -> None:
        """Ask the node to hand its leadership over."""
        try:
            self.node.transfer_leadership(to)
        except NotLeader:
            return
        self._note("transfers to", to)
        self.act()

    def checkpoint(self) -> None:
        """Store the state machine, so that a restart applies less."""
        ledger = self.service.ledger.copy()
        self._note("checkpoint", ledger.applied_index)
        self.disk.submit(StoredState(ledger))
        self._write()

    # --- clients ------------------------------------------------------------------------

    def propose(self, values: Iterable[bytes], record_count: int) -> None:
        """Ask for values to be stored, each as an entry of `record_count` messages."""
        places = self.service.propose(values, record_count)
        if places:
            self._note("proposed", (values, places))
        self.act()

    def read(self, floor: int) -> None:
        """Begin a read that a client asked for when it had seen `floor` applied."""
        context = self.service.read(floor)
        if context:
            self._note("reads", context)
        self.act()

    # --- outputs ------------------------------------------------------------------------

    def act(self) -> None:
        """Handle what the node wants done, now or, with what comes meanwhile, a little later."""
        if self._turn_due or not self.node.has_ready():
            return
        delay = self._simulation.plan.turn_delay
        if delay:
            self._turn_due = True
            self._later(1 + int(delay * self._random.random()), self._delayed_turn)
        else:
            self._turn()

    def _delayed_turn(self) -> None:
        self._turn_due = False
        self._turn()

    def _turn(self) -> None:
        for _ in range(TURN_ROUNDS_MAX):
            if not self.node.has_ready():
                self._check_rest()
                return
            self._handle(self.node.ready())
        raise AssertionError(f"replica {self.replica_id} always has something ready")

    def _check_rest(self) -> None:
        """A node at rest has told all it knows."""
        node = self.node
        assert node.last_index == len(self.log)
        assert node.term == self.hard_state.term
        assert node.applied_index <= node.commit_index <= node.last_index
        assert node.ready() == Ready(after_write_id=self._issued), "something was not announced"

    def _handle(self, ready: Ready) -> None:
        self._note("ready", ready)
        if ready.write is not None:
            self._accept(ready.write)
        assert ready.after_write_id == self._issued
        if ready.soft_state is not None:
            self._watch.changes_role(self, ready.soft_state)
        self._watch.commits(self, self.node.commit_index)
        for rpc in ready.send_now:
            self._send(rpc, self._needs(rpc))
        if ready.send_after_durable:
            held = [(rpc, self._needs(rpc)) for rpc in ready.send_after_durable]
            self._held.append((ready.after_write_id, held))
            self._release()
        self._take_committed(ready.committed)
        for confirmed in ready.reads_confirmed:
            self.service.confirm_read(confirmed)
        for context in ready.reads_failed:
            self.service.fail_read(context)
        self.service.answer_reads()
        for wanted in ready.entries_wanted:
            self._later(1 + self._disk_delay(), self._read_entries, wanted)

    def _accept(self, write: Write) -> None:
        assert write.write_id == self._issued + 1
        self._issued = write.write_id
        if write.hard_state is not None:
            self.hard_state = write.hard_state
        if write.entries:
            first_index = write.entries[0].index
            assert first_index <= len(self.log) + 1
            self.log[first_index - 1 :] = write.entries
            self.log_writes[first_index - 1 :] = [write.write_id] * len(write.entries)
        self._watch.writes(self, write)
        self.disk.submit(write)
        self._write()

    def _needs(self, rpc: Rpc) -> int:
        return self._watch.promises(self, rpc) if isinstance(rpc, AppendEntriesReply) else 0

    def _send(self, rpc: Rpc, needed_write_id: int) -> None:
        assert rpc.sender == self.replica_id
        self._watch.leaves(self, rpc, needed_write_id)
        self._simulation.send(rpc)
        if isinstance(rpc, RequestVoteReply | AppendEntriesReply):
            self._simulation.faults.promised(self)

    def term_at(self, index: int) -> int | None:
        """Return the term of the entry at `index`; None when there is none."""
        if index == 0:
            return 0
        return self.log[index - 1].term if index <= len(self.log) else None

    def _take_committed(self, entries: tuple[Entry, ...]) -> None:
        if not entries:
            return
        for entry in entries:
            assert self.log[entry.index - 1] == entry, "what is applied is in the log"
        self._committed.extend(entries)
        delay = self._simulation.plan.apply_delay
        if delay:
            self._later(1 + int(delay * self._random.random()), self._apply)
        else:
            self._apply()

    def _apply(self) -> None:
        if not self._committed:
            return
        while self._committed:
            entry = self._committed.popleft()
            self._watch.applies(self, entry)
            self.service.apply(entry)
        self.node.applied(self.service.ledger.applied_index)
        self.service.answer_reads()
        self.act()

    # --- disk ---------------------------------------------------------------------------

    def _write(self) -> None:
        if self.disk.begin(limit=self._random.choice((1, 4, 1_000))):
            self._later(5 + self._disk_delay(), self._stored)

    def _stored(self) -> None:
        self.disk.finish()
        write_id = self.disk.durable_write_id
        if self._simulation.plan.turn_delay:
            self._later(1 + int(50 * self._random.random()), self._report, write_id)
        else:
            self._report(write_id)
        self._write()

    def _report(self, write_id: int) -> None:
        while self._reported < write_id:
            # Each write is reported, or the last of a transaction for all before it.
            self._reported = self._random.choice((self._reported + 1, write_id))
            self._note("persisted", self._reported)
            self.node.persisted(self._reported)
        self._release()
        self.act()

    def _release(self) -> None:
        while self._held and self._held[0][0] <= self._reported:
            for rpc, needed_write_id in self._held.popleft()[1]:
                self._send(rpc, needed_write_id)

    def _disk_delay(self) -> int:
        delay = self._simulation.plan.disk_delay * self.slowness
        return min(int(delay * self._random.random() ** 2), DISK_DELAY_MAX)

    def _read_entries(self, wanted: EntriesWanted) -> None:
        assert 1 <= wanted.first_index <= wanted.last_index
        simulation = self._simulation
        entries: tuple[Entry, ...] = ()
        if not simulation.faulty or self._random.random() > 0.2:
            entries = self.disk.read(wanted.first_index, wanted.last_index, wanted.max_bytes)
        self._later(1 + self._disk_delay(), self._entries_read, wanted, entries)

    def _entries_read(self, wanted: EntriesWanted, entries: tuple[Entry, ...]) -> None:
        self._note("entries read", (wanted, len(entries)))
        self.node.entries_read(wanted, entries)
        self.act()

    def _note(self, what: str, value: object = "") -> None:
        self._simulation.trace.note(self._simulation.now, self.replica_id, what, value)
