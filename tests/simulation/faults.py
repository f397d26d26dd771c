"""What goes wrong during a run, and for how long."""

from __future__ import annotations

from typing import TYPE_CHECKING

from myqueue.contract.errors import QueueError
from tests.simulation.disk import RESERVE_BYTES, Breakage
from tests.simulation.plan import Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.doubles.storage_replica import MemoryReplica
    from tests.simulation.broker import Broker
    from tests.simulation.disk import Copy
    from tests.simulation.plan import Plan
    from tests.simulation.simulation import Simulation

Links = list[tuple[int, int]]


class Faults:
    """Makes one fault after the other, until it is told to stop.

    Attributes:
        crashes: processes killed so far.
    """

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._random = simulation.random
        self._network = simulation.network
        self._brokers = simulation.brokers
        self._active = True
        self._down_until: dict[int, float] = {}
        self.crashes = 0
        self._actions: dict[Fault, Callable[[], None]] = {
            Fault.CRASH: lambda: self._crash([self._choose()]),
            Fault.CRASH_LEADER: lambda: self._crash(self._leaders()),
            Fault.CRASH_ALL: lambda: self._crash(list(self._brokers.values())),
            Fault.RESTART: lambda: self._choose().stop(),
            Fault.PAUSE: lambda: self._pause([self._choose()]),
            Fault.PAUSE_LEADER: lambda: self._pause(self._leaders()),
            Fault.HALVES: lambda: self._cut(self._halves()),
            Fault.MAJORITIES_RING: lambda: self._cut(self._majorities_ring()),
            Fault.RANDOM_BROKER: lambda: self._cut(self._around(self._choose().broker_id)),
            Fault.ISOLATE_LEADER: self._isolate_leader,
            Fault.SWIZZLE_CLOG: self._swizzle_clog,
            Fault.ONE_WAY: self._one_way,
            Fault.LOSS: self._lose,
            Fault.SLOW_NETWORK: self._slow_network,
            Fault.BREAK_CONNECTION: self._break_connection,
            Fault.SLOW_DISK: self._slow_disk,
            Fault.FULL_DISK: self._fill_disk,
            Fault.NO_ROOM: self._fill_disk_to_the_last_byte,
            Fault.DISK_ERROR: self._break_disk,
            Fault.STALLED_CLOCK: self._stall_clock,
            Fault.TICK_BURST: lambda: self._choose().burst(self._random.choice((2, 5, 15))),
            Fault.TRANSFER: self._transfer,
            Fault.REPLACE: lambda: self._random.choice(simulation.placements).replace(),
            Fault.RESIZE: lambda: self._random.choice(simulation.placements).resize(),
            Fault.ROT: self._rot,
            Fault.BREAK_SNAPSHOTS: simulation.network.break_snapshots,
            Fault.SCRUB: self._scrub,
            Fault.ROLLBACK: self._roll_back,
        }

    def start(self) -> None:
        """Begin; goes on by itself. From now on processes that ended are started again."""
        self._supervise()
        if self._simulation.plan.faults:
            self._next()

    def heal(self, plan: Plan) -> None:
        """Stop, and take everything back; disks are as quick as `plan` says."""
        self._active = False
        self._down_until.clear()
        for broker in self._brokers.values():
            broker.disk.restore(plan.disk_delay)
            broker.stalled_until = 0.0
            if broker.process is not None:
                broker.process.resume()

    def kill(self, broker: Broker, seconds: float) -> None:
        """Kill a process; another one is started after a while."""
        if broker.alive:
            self._simulation.note("kills", broker.broker_id)
            self._down_until[broker.broker_id] = self._simulation.loop.time() + seconds
            broker.kill()
            self.crashes += 1

    def start_again(self, broker: Broker) -> None:
        """Start another process in place of one that was killed, before its time."""
        self._down_until.pop(broker.broker_id, None)

    def _supervise(self) -> None:
        self._network.later(0.05, self._supervise)
        now = self._simulation.loop.time()
        for broker_id, broker in self._brokers.items():
            if not broker.alive and self._down_until.get(broker_id, 0.0) <= now:
                self._simulation.note("starts", broker_id)
                broker.start()

    # --- choices ----------------------------------------------------------------------------

    def _next(self) -> None:
        self._later(self._random.expovariate(1 / self._simulation.plan.fault_interval), self._make)

    def _make(self) -> None:
        fault = self._random.choice(self._simulation.plan.faults)
        self._simulation.note("fault", 0, fault)
        self._actions[fault]()
        self._next()

    def _later(self, seconds: float, action: Callable[..., None], *args: object) -> None:
        self._network.later(seconds, self._act_if_active, action, args)

    def _act_if_active(self, action: Callable[..., None], args: tuple[object, ...]) -> None:
        if self._active:
            action(*args)

    def _duration(self) -> float:
        """Short, about an election timeout, or several of them, in seconds."""
        return self._random.choice((0.1, 1.0, 4.0)) * self._random.random()

    def _choose(self) -> Broker:
        return self._random.choice(list(self._brokers.values()))

    def _leaders(self) -> list[Broker]:
        return [
            broker
            for broker in self._brokers.values()
            if any(replica.is_leader for replica in broker.replicas.values())
        ]

    # --- processes --------------------------------------------------------------------------

    def _crash(self, brokers: Iterable[Broker]) -> None:
        for broker in brokers:
            self.kill(broker, self._duration())

    def _pause(self, brokers: Iterable[Broker]) -> None:
        for broker in brokers:
            if broker.process is not None:
                broker.process.pause()
                self._later(self._duration(), broker.process.resume)

    def _slow_disk(self) -> None:
        broker = self._choose()
        disk = broker.disk
        kind = self._random.random()
        if kind < 0.4:
            disk.slowness = self._random.choice((5.0, 50.0))
        elif kind < 0.8:
            disk.slow_seconds = self._random.uniform(0.2, 2.0)
        else:  # It hangs.
            disk.slow_seconds = self._random.uniform(6.0, 20.0)
        self._later(self._duration(), disk.be_quick)

    def _fill_disk(self) -> None:
        """Less is free than the reserve, for long enough that it is noticed."""
        disk = self._random.choice(self._leaders() or [self._choose()]).disk
        disk.free_bytes = self._random.choice((0, RESERVE_BYTES - 1))
        self._later(1.0 + 3 * self._duration(), disk.make_room)

    def _fill_disk_to_the_last_byte(self) -> None:
        """The next transactions fail, however often the broker is started again."""
        disk = self._choose().disk
        disk.free_bytes, disk.breakage = 0, Breakage.NO_ROOM
        self._later(self._duration(), disk.make_room)

    def _break_disk(self) -> None:
        """A write or a sync fails, where the groups can do without all that is on the disk."""
        broker = self._choose()
        placements = [
            placement
            for group_id, placement in enumerate(self._simulation.placements, start=1)
            if broker.disk.replica(group_id) is not None
        ]
        may_lose = [placement.may_lose(broker.broker_id) for placement in placements]
        if may_lose and all(may_lose):
            broker.disk.breakage = self._random.choice((Breakage.WRITE, Breakage.SYNC))
            for placement in placements:
                placement.lose(broker.broker_id)

    def _roll_back(self) -> None:
        """A folder is copied, and some time later the copy is put back."""
        broker = self._choose()
        self._later(0.5 + self._duration(), self._put_back, broker, broker.disk.copy())

    def _put_back(self, broker: Broker, copy: Copy) -> None:
        """Put a copy back where the groups can do without it, and managers know of what it lacks.

        They hear of a broker several times a second; no backup is that young.
        """
        placements = {
            group_id: placement
            for group_id, placement in enumerate(self._simulation.placements, start=1)
            if not _is_same(copy.replicas.get(group_id), broker.disk.replica(group_id))
        }
        is_sound = all(
            (now := broker.disk.replica(group_id)) is not None
            and now.spec == old.spec
            and not (now.faulty or old.faulty or now.installing or old.installing)
            for group_id, old in copy.replicas.items()
        )
        if not (broker.alive and placements and is_sound):
            return
        managers = self._simulation.managers
        for group_id, placement in placements.items():
            if not placement.may_lose(broker.broker_id):
                return
            old = copy.replicas.get(group_id)
            if old is not None:
                knows = managers.know_better(broker.broker_id, old)
            else:  # It has been made since.
                wanted = placement.target[broker.broker_id]
                knows = managers.have_seen(broker.broker_id, group_id, wanted)
            if not knows:
                return
        self._simulation.note("rolls back", broker.broker_id, sorted(placements))
        self._simulation.managers.rollbacks += 1
        for placement in placements.values():
            placement.lose(broker.broker_id)
        self.kill(broker, self._duration())
        broker.disk.put_back(copy)

    def _stall_clock(self) -> None:
        self._choose().stalled_until = self._simulation.loop.time() + self._duration()

    def _rot(self) -> None:
        """A stored row of a replica is damaged, where the others can do without it."""
        placement = self._random.choice(self._simulation.placements)
        group_id = self._simulation.placements.index(placement) + 1
        broker = self._brokers[self._random.choice(sorted(placement.target))]
        if not placement.may_lose(broker.broker_id):
            return
        replica = broker.disk.replica(group_id)
        if replica is not None and replica.rows:
            broker.disk.damage_entry(group_id, self._random.choice(replica.rows).index)
            placement.lose(broker.broker_id)
            placement.replace_faulty(broker.broker_id)

    def _scrub(self) -> None:
        broker = self._choose()
        if broker.alive and broker.is_ready and broker.process is not None:
            broker.process.soon(broker.engine.request_scrub)

    def _transfer(self) -> None:
        group_id = self._random.randint(1, self._simulation.plan.group_count)
        target = self._choose().broker_id

        async def serve(broker: Broker) -> None:
            try:
                await broker.engine.transfer_leadership(group_id, target, timeout_ms=1_000)
            except QueueError as error:
                self._simulation.note("stays", broker.broker_id, type(error).__name__)

        for broker in self._leaders():
            broker.serve(serve, lambda _: None)

    # --- network ----------------------------------------------------------------------------

    def _cut(self, links: Iterable[tuple[int, int]]) -> None:
        links = list(links)
        number = self._network.cut(links)
        self._later(self._duration(), self._network.mend, number)
        if self._random.random() < 0.5:
            for source, target in links:
                self._network.break_connection(source, target)

    def _halves(self) -> Links:
        ids = list(self._brokers)
        side = set(self._random.sample(ids, len(ids) // 2))
        return [(a, b) for a in ids for b in ids if (a in side) != (b in side)]

    def _majorities_ring(self) -> Links:
        """Each broker reaches a majority, no two of them the same one."""
        ids = self._random.sample(list(self._brokers), len(self._brokers))
        near = len(ids) // 2 // 2 if len(ids) > 3 else 0
        links = []
        for a, one in enumerate(ids):
            for b, other in enumerate(ids):
                distance = min((a - b) % len(ids), (b - a) % len(ids))
                if distance > max(1, near) or (len(ids) == 3 and {a, b} == {0, 2}):
                    links.append((one, other))
        return links

    def _around(self, broker_id: int) -> Links:
        others = [other for other in self._brokers if other != broker_id]
        return [(broker_id, other) for other in others] + [(other, broker_id) for other in others]

    def _isolate_leader(self) -> None:
        for broker in self._leaders():
            self._cut(self._around(broker.broker_id))

    def _swizzle_clog(self) -> None:
        """Some brokers are cut off one after the other, and come back in another order."""
        ids = list(self._brokers)
        chosen = self._random.sample(ids, self._random.randint(1, len(ids)))
        numbers: list[int] = []
        step = self._duration() / len(chosen)
        for place, broker_id in enumerate(chosen):
            self._later(place * step, self._clog, broker_id, numbers)
        for place in range(len(chosen)):
            self._later((len(chosen) + place) * step, self._unclog, numbers)

    def _clog(self, broker_id: int, numbers: list[int]) -> None:
        numbers.append(self._network.cut(self._around(broker_id)))

    def _unclog(self, numbers: list[int]) -> None:
        if numbers:
            self._network.mend(numbers.pop(self._random.randrange(len(numbers))))

    def _one_way(self) -> None:
        ids = list(self._brokers)
        links = [(a, b) for a in ids for b in ids if a != b]
        self._cut(self._random.sample(links, self._random.randint(1, len(links) // 2)))

    def _break_connection(self) -> None:
        source, target = self._random.sample(list(self._brokers), 2)
        self._network.break_connection(source, target)

    def _lose(self) -> None:
        self._network.links.loss = self._random.choice((0.2, 0.5))
        self._later(self._duration(), self._restore_network)

    def _slow_network(self) -> None:
        self._network.links.delay = self._random.choice((5_000, 15_000))
        self._later(self._duration(), self._restore_network)

    def _restore_network(self) -> None:
        self._network.links.reset(self._simulation.plan)


def _is_same(one: MemoryReplica | None, other: MemoryReplica | None) -> bool:
    """Tell whether nothing was stored between two states of a replica, or both are none."""
    if one is None or other is None:
        return one is other
    return (one.hard_state, one.first_index, one.checkpoint) == (
        other.hard_state,
        other.first_index,
        other.checkpoint,
    ) and one.rows == other.rows
