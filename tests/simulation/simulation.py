"""One run: brokers in virtual time, first in trouble, then healed."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING, Any
from zlib import crc32

from myqueue.contract.records import decode_records
from tests.raft_app.core.simulation.checker import Checker, Violation
from tests.simulation.broker import Broker
from tests.simulation.clients import Clients
from tests.simulation.faults import Faults
from tests.simulation.managers import Managers
from tests.simulation.network import BrokerNetwork
from tests.simulation.placement import Placement
from tests.simulation.plan import Fault, Plan, calm, draw_plan, sleepy, with_rollbacks
from tests.simulation.virtual_loop import VirtualLoop
from tests.simulation.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from raft_app.engine.replica import Replica

SECONDS = 15.0
"""Of virtual time until everything is healed, unless told otherwise."""
SETTLE_SECONDS = 60.0
"""After healing until everybody must have caught up, and all clients have their answers; beyond
the time that snapshots need at the rate of the plan."""
SNAPSHOT_BYTES = 2_000_000
"""More than the snapshots of one run have together."""
TRACE_LINES = 150


class Liveness(Checker):
    """Healed brokers elect, serve, catch up and have the replicas that are wanted."""


class Complete(Checker):
    """In the end every replica holds every message that was not let go."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run without a violation did."""

    seed: int
    trace_hash: int
    """Of everything that happened, with its time."""
    events: int
    elections: int
    sleeps: int
    """How often a replica fell asleep."""
    crashes: int
    entries: int
    acknowledged: int
    popped: int
    reads: int
    changes: int
    """Targets of the placement."""
    snapshots: int
    commits: int
    """Of consumer groups."""
    fenced: int
    """Commits refused since a later generation had the group."""
    deliveries: int
    """To queue workers."""
    deaths: int
    """Messages that were delivered too often."""
    disk_errors: int
    """Transactions that failed."""
    rollbacks: int
    """Folders that were put back to an earlier state."""
    settle_seconds: float
    """From healing until everybody had caught up."""


RESTART_SECONDS = 4.0
"""From the death of a leader's broker, while its groups sleep, until it is back."""
VOTERS_TO_LOSE_ONE = 3
FAILOVER_SECONDS = 3.0
"""Until another one must lead; its peers may have to miss its signs of life first."""


class SimulationFailure(AssertionError):
    """A run broke a rule.

    Attributes:
        seed: what reproduces it.
        checker: who saw it.
        trace: the last events, oldest first.
    """

    def __init__(self, seed: int, checker: str, message: str, trace: list[str]) -> None:
        super().__init__(f"seed {seed}: {checker}: {message}")
        self.seed = seed
        self.checker = checker
        self.trace = trace


class Simulation:
    """Brokers in virtual time.

    Args:
        seed: decides everything.
        seconds: of virtual time until everything is healed.
        faults: the kinds of faults, instead of those that the seed selects.
        naps: groups sleep; None: as the seed decides, every other one.
        rollbacks: folders are put back to an earlier state; None: as the seed decides, one of four,
            unless `faults` are given.
        plan: what the run is, instead of what the seed selects.

    Attributes:
        is_over: tells whether everything may be healed once the seconds have passed.
    """

    def __init__(
        self,
        seed: int,
        *,
        seconds: float = SECONDS,
        faults: tuple[Fault, ...] = (),
        naps: bool | None = None,
        rollbacks: bool | None = None,
        plan: Plan | None = None,
    ) -> None:
        self.random = Random(seed)
        self.plan = plan or draw_plan(seed, self.random, seconds=seconds)
        if plan is None and (naps if naps is not None else seed % 2):
            self.plan = sleepy(self.plan)
        if faults:
            self.plan = replace(self.plan, faults=faults)
        if rollbacks is None:
            rollbacks = plan is None and not faults and Random(f"rollbacks {seed}").random() < 0.25
        if rollbacks:
            self.plan = with_rollbacks(self.plan)
        self.loop = VirtualLoop(self.random)
        self.events = 0
        self.trace_hash = 0
        self._trace: deque[tuple[float, str, int, object]] = deque(maxlen=TRACE_LINES)
        self._over: asyncio.Future[None] = self.loop.create_future()
        self._liveness = Liveness()
        self._complete = Complete()
        ids = range(1, self.plan.broker_count + 1)
        self.brokers: dict[int, Broker] = {}
        self.managers = Managers()
        self.watch = Watch(self)
        self.network = BrokerNetwork(self.loop, self.plan, self.random, ids)
        self.network.watch = self.watch
        self.brokers.update((broker_id, Broker(self, broker_id)) for broker_id in ids)
        groups = range(1, self.plan.group_count + 1)
        self.placements = [Placement(self, group_id) for group_id in groups]
        self.clients = [Clients(self, group_id) for group_id in groups]
        self.faults = Faults(self)
        self.is_over: Callable[[], bool] = lambda: True

    def run(self) -> Outcome:
        """Run both phases.

        Raises:
            SimulationFailure: a rule was broken.
        """
        try:
            return self.loop.run_until_complete(self._run_guarded())
        except Violation as violation:
            raise self._failure(violation.checker, violation.message) from violation
        except Exception as error:
            raise self._failure("program", f"{type(error).__name__}: {error}") from error
        finally:
            self.loop.end()

    def _failure(self, checker: str, message: str) -> SimulationFailure:
        return SimulationFailure(self.plan.seed, checker, message, self.trace_lines())

    # --- what the parts use -----------------------------------------------------------------

    def note(self, what: str, number: int, value: object = "") -> None:
        """Note an event of a broker or group."""
        self.events += 1
        now = self.loop.time()
        self._trace.append((now, what, number, value))
        self.trace_hash = crc32(f"{now:.9f} {what} {number} {value}".encode(), self.trace_hash)

    def trace_lines(self) -> list[str]:
        """Return the last events, oldest first."""
        return [
            f"{at:10.4f}  {what:<12} {number:<4} {value}" for at, what, number, value in self._trace
        ]

    def failed(self, where: str, error: BaseException) -> None:
        """End the run: something broke a rule."""
        if not self._over.done():
            self.note("fails", 0, where)
            self._over.set_exception(error)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run work of a client; what it raises ends the run."""
        task = self.loop.create_task(work, context=self.loop.neutral())
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failed("client", error)

    # --- phases -----------------------------------------------------------------------------

    async def _run_guarded(self) -> Outcome:
        run = self.loop.create_task(self._run())
        await asyncio.wait((run, self._over), return_when=asyncio.FIRST_COMPLETED)
        if self._over.done():
            run.cancel()
            self._over.result()
        return run.result()

    async def _run(self) -> Outcome:
        self.note("plan", self.plan.seed, self.plan)
        for broker in self.brokers.values():
            broker.start()
        await self._until(lambda: all(one.is_ready for one in self.brokers.values()), "starts")
        for placement in self.placements:
            await placement.create()
        for part in (self.faults, *self.placements, *self.clients):
            part.start()
        await asyncio.sleep(self.plan.seconds)
        await self._until(lambda: self.is_over(), "everything went wrong that should")
        healed_at = self.loop.time()
        await self._heal()
        settle_seconds = self.loop.time() - healed_at
        if self.plan.naps:
            await self._lose_leaders_asleep()
        for group_id in range(1, self.plan.group_count + 1):
            self._check_end(group_id)
        return self._outcome(settle_seconds)

    async def _heal(self) -> None:
        self.note("heals", 0)
        self.plan = calm(self.plan)
        self.network.heal(self.plan)
        self.faults.heal(self.plan)
        await asyncio.sleep(1.0)
        for clients in self.clients:
            clients.writing = False
        await self._until(self._has_settled, "everybody has caught up")
        for clients in self.clients:
            clients.active = False
        await self._until(
            lambda: all(clients.are_done for clients in self.clients), "clients have their answers"
        )
        await self._until(self._has_settled, "everybody has caught up again")

    async def _lose_leaders_asleep(self) -> None:
        """See that everybody sleeps, and that the death of a leader's broker wakes its groups."""
        await self._until(self._all_sleep, "everybody sleeps")
        broker_id, _ = self._leader(1)
        if len(self._replicas(1)) < VOTERS_TO_LOSE_ONE:
            return
        self.note("kills leader", broker_id)
        self.faults.kill(self.brokers[broker_id], RESTART_SECONDS)
        limit = self.loop.time() + FAILOVER_SECONDS
        while self._leader(1)[0] in (0, broker_id):
            self._liveness.require(self.loop.time() < limit, "nobody leads instead of a dead one")
            await asyncio.sleep(0.05)
        await self._until(self._has_settled, "the dead broker has caught up")

    def _all_sleep(self) -> bool:
        return all(
            replica.is_asleep
            for group_id in range(1, self.plan.group_count + 1)
            for replica in self._replicas(group_id).values()
        )

    def _leader(self, group_id: int) -> tuple[int, int]:
        """Return who leads a group in the highest term, and that term; 0 when nobody serves."""
        led = [
            (replica.node.term, broker_id)
            for broker_id, replica in self._replicas(group_id).items()
            if replica.serves
        ]
        term, broker_id = max(led, default=(0, 0))
        return broker_id, term

    async def _until(self, holds: Callable[[], bool], what: str) -> None:
        rate = self.plan.engine.snapshot_bytes_per_second
        limit = self.loop.time() + SETTLE_SECONDS + SNAPSHOT_BYTES / rate
        while not holds():
            is_late = self.loop.time() >= limit
            self._liveness.require(not is_late, "not in time: %s", what)
            if is_late:
                return
            await asyncio.sleep(0.05)

    def _has_settled(self) -> bool:
        if not all(broker.is_ready and not broker.is_stopping for broker in self.brokers.values()):
            return False
        return all(
            self._group_has_settled(group_id, placement)
            for group_id, placement in enumerate(self.placements, start=1)
        )

    def _group_has_settled(self, group_id: int, placement: Placement) -> bool:
        replicas = self._replicas(group_id)
        leader = next((replica for replica in replicas.values() if replica.serves), None)
        if leader is None or not placement.is_reached(leader.applied.membership):
            return False
        there = {broker_id: replica.spec.replica_id for broker_id, replica in replicas.items()}
        return there == placement.target and all(
            replica.applied.index == leader.node.last_index
            and replica.node.term == leader.node.term
            and not replica.node.is_installing
            for replica in replicas.values()
        )

    def _replicas(self, group_id: int) -> dict[int, Replica]:
        return {
            broker_id: broker.replicas[group_id]
            for broker_id, broker in self.brokers.items()
            if group_id in broker.replicas
        }

    # --- the end ----------------------------------------------------------------------------

    def _check_end(self, group_id: int) -> None:
        messages = self.watch.groups[group_id].history.messages
        states = set()
        for broker_id, replica in self._replicas(group_id).items():
            machine = replica.state_machine
            self._complete.require(
                machine.next_offset == len(messages),
                "broker %s has %s of %s messages",
                broker_id,
                machine.next_offset,
                len(messages),
            )
            states.add(machine.snapshot())
            self._check_rows(broker_id, group_id, machine.log_start_offset)
        self._complete.require(len(states) == 1, "replicas end with %s states", len(states))

    def _check_rows(self, broker_id: int, group_id: int, offset: int) -> None:
        """Compare what a broker has on disk with what was committed."""
        messages = self.watch.groups[group_id].history.messages
        disk = self.brokers[broker_id].disk
        offset = max(offset, getattr(disk.replica(group_id), "log_start_offset", 0))
        while offset < len(messages):
            batches = disk.read_batches(group_id, offset, len(messages), 1 << 20)
            self._complete.require(
                bool(batches), "broker %s lacks the message at %s", broker_id, offset
            )
            if not batches:
                return
            for batch in batches:
                values = [str(record.value) for record in decode_records(batch.data)]
                self._complete.require(
                    messages[batch.base_offset : batch.base_offset + len(values)] == values,
                    "broker %s has %s at %s",
                    broker_id,
                    values,
                    batch.base_offset,
                )
                offset = batch.base_offset + len(values)

    def _outcome(self, settle_seconds: float) -> Outcome:
        groups = self.watch.groups.values()
        histories = [group.history for group in groups]
        return Outcome(
            seed=self.plan.seed,
            trace_hash=self.trace_hash,
            events=self.events,
            elections=self.watch.elections,
            sleeps=sum(group.sleeps_complete.sleeps for group in groups),
            crashes=self.faults.crashes,
            entries=sum(len(group.applied) for group in groups),
            acknowledged=sum(history.acknowledged for history in histories),
            popped=sum(history.popped for history in histories),
            reads=sum(history.reads for history in histories),
            changes=sum(placement.changes for placement in self.placements),
            snapshots=self.watch.installs,
            commits=sum(group.fences.commits for group in groups),
            fenced=sum(group.fences.refused for group in groups),
            deliveries=sum(group.works.deliveries for group in groups),
            deaths=sum(group.works.deaths for group in groups),
            disk_errors=sum(broker.disk.errors for broker in self.brokers.values()),
            rollbacks=self.managers.rollbacks,
            settle_seconds=settle_seconds,
        )
