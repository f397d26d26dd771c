"""What goes wrong during a run, and for how long."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_app.core.types import NO_REPLICA
from tests.raft_app.core.simulation.plan import SLOW_NETWORK_TICKS, TICK, Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.raft_app.core.simulation.disk import Copy
    from tests.raft_app.core.simulation.host import Host
    from tests.raft_app.core.simulation.simulation import Simulation


class Faults:
    """Makes one fault after the other, until it is told to stop.

    Attributes:
        crashes: processes killed so far.
        rollbacks: disks that were put back to an earlier state so far.
        kinds: the faults of this run, also after its end.
    """

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._random = simulation.random
        self._network = simulation.network
        self._active = True
        self._promises_watched = 0
        self.crashes = 0
        self.rollbacks = 0
        self.kinds = simulation.plan.faults
        self._actions: dict[Fault, Callable[[], None]] = {
            Fault.CRASH: lambda: self._crash_some(self._choose(1)),
            Fault.CRASH_LEADER: lambda: self._crash_some(self._leaders()),
            Fault.CRASH_ALL: lambda: self._crash_some(list(simulation.hosts.values())),
            Fault.CRASH_PROMISER: self._watch_promises,
            Fault.RIVALS: self._set_rivals,
            Fault.SPLIT: self._split,
            Fault.ISOLATE: lambda: self._isolate(self._choose(1)),
            Fault.ISOLATE_LEADER: lambda: self._isolate(self._leaders()),
            Fault.ONE_WAY: self._cut_one_way,
            Fault.DEAF_LEADER: self._deafen_leader,
            Fault.LOSS: self._lose,
            Fault.SLOW_NETWORK: self._slow_network,
            Fault.SLOW_DISK: self._slow_disk,
            Fault.STALLED_CLOCK: self._stall_clock,
            Fault.FREEZE: self._freeze,
            Fault.CONNECTION_LOST: lambda: self._tell(lambda host, to: host.connection_lost(to)),
            Fault.UNREACHABLE: lambda: self._tell(lambda host, to: host.unreachable(to)),
            Fault.HINT: lambda: self._tell(lambda host, _: host.hint()),
            Fault.TRANSFER: self._transfer,
            Fault.CHECKPOINT: lambda: self._tell(lambda host, _: host.checkpoint()),
            Fault.GROW: lambda: simulation.placement.grow(),
            Fault.SHRINK: lambda: simulation.placement.shrink(),
            Fault.REPLACE: lambda: simulation.placement.replace(),
            Fault.LOSE_DISK: lambda: simulation.placement.lose_disk(),
            Fault.MEDDLE: lambda: simulation.placement.meddle(),
            Fault.COMPACT: lambda: self._compact(self._choose(1)),
            Fault.COMPACT_ALL: lambda: self._compact(simulation.hosts.values()),
            Fault.CUT_TRANSFERS: lambda: simulation.transfers.cut(),
            Fault.ROLLBACK: self._copy_disk,
        }

    def start(self) -> None:
        """Begin; goes on by itself."""
        if self._simulation.plan.faults:
            self._next()

    def heal(self) -> None:
        """Stop, take everything back and start what is down. Who is frozen thaws in its time."""
        self._active = False
        self._network.mend_all()
        self._network.reset(self._simulation.plan)
        for host in self._simulation.hosts.values():
            host.slowness = 1
            host.stalled_until = 0
            self.restart(host)
        self._links_changed()

    def kill(self, host: Host) -> None:
        """Kill one process; most peers, after faults all, notice that connections from it broke."""
        host.crash()
        self.crashes += 1
        self._links_changed()
        peer = host.replica_id
        for other in self._simulation.hosts.values():
            if other is not host and (not self._active or self._random.random() < 0.8):
                delay = self._network.ending(peer, other.replica_id, self._simulation.now)
                self._simulation.schedule(delay, self._lose_connection, other, peer)

    # --- choices ------------------------------------------------------------------------

    def _next(self) -> None:
        interval = self._simulation.plan.fault_interval
        self._later(1 + int(self._random.expovariate(1 / interval)), self._make)

    def _make(self) -> None:
        fault = self._random.choice(self._simulation.plan.faults)
        self._simulation.note("fault", fault)
        self._actions[fault]()
        self._next()

    def _later(self, delay: int, action: Callable[..., None], *args: object) -> None:
        self._simulation.schedule(delay, self._act_if_active, action, args)

    def _act_if_active(self, action: Callable[..., None], args: tuple[object, ...]) -> None:
        if self._active:
            action(*args)

    def _duration(self) -> int:
        """Short, about an election timeout, or several of them."""
        timeout = self._simulation.plan.config.election_timeout_ticks * TICK
        return 1 + int(self._random.choice((0.1, 1.0, 4.0)) * timeout * self._random.random())

    def _choose(self, count: int) -> list[Host]:
        return self._random.sample(list(self._simulation.hosts.values()), count)

    def _leaders(self) -> list[Host]:
        hosts = self._simulation.hosts.values()
        return [host for host in hosts if host.alive and host.node.is_leader]

    # --- processes ----------------------------------------------------------------------

    def _crash_some(self, hosts: Iterable[Host]) -> None:
        for host in hosts:
            if host.alive:
                self.kill(host)
                self._later(self._duration(), self.restart, host)

    def restart(self, host: Host) -> None:
        """Start a process unless it runs already, or can never run again."""
        if not host.alive and not host.is_gone:
            host.start()
            self._links_changed()

    def promised(self, host: Host) -> None:
        """A host sent a vote or an acknowledgement: sometimes just the moment to kill it."""
        if self._promises_watched and self._active and self._random.random() < 0.3:
            self._promises_watched -= 1
            self._later(1, self._crash_briefly, host)

    def _watch_promises(self) -> None:
        self._promises_watched = self._random.randint(1, 3)

    def _crash_briefly(self, host: Host) -> None:
        if host.alive:
            self.kill(host)
            self._later(1 + int(self._random.random() * TICK), self.restart, host)

    def _set_rivals(self) -> None:
        """The leader dies, and everybody wants to succeed it at the same moment."""
        leaders = self._leaders()
        self._crash_some(leaders)
        self._watch_promises()
        for host in self._simulation.hosts.values():
            if host.awake:
                for leader in leaders:
                    host.connection_lost(leader.replica_id)
                host.hint()

    @staticmethod
    def _lose_connection(host: Host, peer: int) -> None:
        if host.awake:
            host.connection_lost(peer)

    def _slow_disk(self) -> None:
        (host,) = self._choose(1)
        host.slowness = self._random.choice((5, 50, 400))
        self._later(self._duration(), self._restore_disk, host)

    @staticmethod
    def _restore_disk(host: Host) -> None:
        host.slowness = 1

    def _stall_clock(self) -> None:
        for host in self._choose(self._random.randint(1, len(self._simulation.hosts))):
            host.stalled_until = self._simulation.now + self._duration()

    def _freeze(self) -> None:
        (host,) = self._random.choice((self._leaders()[:1] or self._choose(1), self._choose(1)))
        if host.alive:
            host.frozen_until = max(host.frozen_until, self._simulation.now + self._duration())

    # --- network ------------------------------------------------------------------------

    def _cut(self, links: Iterable[tuple[int, int]]) -> None:
        number = self._network.cut(links)
        self._links_changed()
        self._later(self._duration(), self._mend, number)

    def _mend(self, number: int) -> None:
        self._network.mend(number)
        self._links_changed()

    def _links_changed(self) -> None:
        self._simulation.watch_cut_off()

    def _split(self) -> None:
        ids = list(self._simulation.hosts)
        side = set(self._random.sample(ids, self._random.randint(0, len(ids) - 1)))
        self._cut((a, b) for a in ids for b in ids if (a in side) != (b in side))

    def _isolate(self, hosts: Iterable[Host]) -> None:
        for host in hosts:
            own = host.replica_id
            others = [other for other in self._simulation.hosts if other != own]
            self._cut([(own, other) for other in others] + [(other, own) for other in others])
            if self._random.random() < 0.5:
                for other in others:
                    self._lose_connection(self._simulation.hosts[other], own)

    def _cut_one_way(self) -> None:
        ids = list(self._simulation.hosts)
        links = [(a, b) for a in ids for b in ids if a != b]
        self._cut(self._random.sample(links, self._random.randint(0, len(links) // 2)))

    def _deafen_leader(self) -> None:
        for host in self._leaders():
            own = host.replica_id
            self._cut([(other, own) for other in self._simulation.hosts if other != own])

    def _lose(self) -> None:
        self._network.loss = self._random.choice((0.2, 0.5))
        self._later(self._duration(), self._restore_network)

    def _slow_network(self) -> None:
        self._network.delay = self._random.choice((5, SLOW_NETWORK_TICKS)) * TICK
        self._later(self._duration(), self._restore_network)

    def _restore_network(self) -> None:
        self._network.reset(self._simulation.plan)

    # --- nodes --------------------------------------------------------------------------

    def _tell(self, what: Callable[[Host, int], None]) -> None:
        host, *others = self._choose(len(self._simulation.hosts))
        if host.awake and others:
            what(host, others[0].replica_id)

    def _compact(self, hosts: Iterable[Host]) -> None:
        """Drop the log below the state machine, or a little less of it.

        Not while a disk is lost: a second replica that must be refilled could be one too many.
        """
        for host in hosts:
            if host.awake and self._simulation.placement.lost == NO_REPLICA:
                host.compact(self._random.choice((0, 0, 3, 20)))

    def _copy_disk(self) -> None:
        """A disk is copied, and the copy is put back a while later."""
        (host,) = self._choose(1)
        if host.alive and not host.disk.installing:
            delay = 1 + self._random.randrange(60 * TICK)
            self._later(delay, self._put_back, host, host.disk.copy())

    def _put_back(self, host: Host, copy: Copy) -> None:
        if self._simulation.placement.roll_back(host, copy):
            self.rollbacks += 1
            self._later(self._duration(), self.restart, host)

    def _transfer(self) -> None:
        for host in self._leaders():
            others = sorted(host.node.membership.voter_ids - {host.replica_id})
            if host.awake and others:
                host.transfer(self._random.choice(others))
