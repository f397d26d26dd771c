"""One simulated broker: its disk, and the process that comes and goes."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from broker_app.partition.limits import BrokerLimits, StateLimits
from broker_app.runtime import BrokerRuntime
from broker_app.services.dead_letters import dead_letters_start
from broker_app.services.retention import messages_truncate
from http_base.memory_budget import MemoryBudget
from myqueue.contract.errors import BrokerUnreachable, ManagerNotFound, NoLeader, QueueError
from raft_app.engine.engine import Engine
from raft_app.storage.protocol import PeerAddress
from tests.simulation.disk import Disk, DiskWorkers
from tests.simulation.network import SimulatedTransport
from tests.simulation.virtual_loop import Process
from tests.simulation.watched_state import WatchedState

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Mapping

    from raft_app.core.types import Entry
    from raft_app.engine.replica import Replica
    from raft_app.storage.protocol import GroupSpec
    from tests.simulation.simulation import Simulation

    Serve = Callable[["Broker"], Awaitable[Any]]

logger = logging.getLogger(__name__)

WALL_START_MS = 1_700_000_000_000
STOP_HAND_OVER_MS = 1_000
RESTART_SECONDS = 0.3
REPORT_SECONDS = 0.3
"""Longest time between two reports to managers."""
BURST_SECONDS = 0.001
"""From the end of a process that gave up until its supervisor starts another one."""


class NoManagers:
    """No manager is there; implements `broker_app.links.manager_link.ManagerContact`."""

    last_contact: float | None = None

    def heartbeat(self) -> None:
        """Report to nobody."""

    async def topic_leaders(self, topic: str) -> list[str | None]:
        """Know of no topic.

        Raises:
            ManagerNotFound: always.
        """
        raise ManagerNotFound(f"no manager knows topic {topic}")

    async def topic_create(self, topic: str, partitions: int, replication_factor: int) -> None:
        """Make no topic.

        Raises:
            ManagerNotFound: always.
        """
        raise ManagerNotFound(f"{topic}: {partitions} partitions, {replication_factor} replicas")


class NoPeers:
    """Nobody is asked over HTTP; implements `broker_app.links.peer_link.PeerContact`."""

    async def members(self, broker_id: int, group_id: int) -> Any:
        """Reach nobody.

        Raises:
            BrokerUnreachable: always.
        """
        raise BrokerUnreachable(f"broker {broker_id} is not asked about group {group_id}")

    async def produce(self, address: str, batch: bytes, query: Mapping[str, str]) -> None:
        """Reach nobody.

        Raises:
            BrokerUnreachable: always.
        """
        raise BrokerUnreachable(f"{address} gets no {len(batch)} bytes for {query}")


@dataclass
class Options:
    """What the runtime reads of a broker's options."""

    limits: BrokerLimits = field(default_factory=BrokerLimits)


class Broker:
    """A directory that stays and a process that does not.

    Attributes:
        stalled_until: the scheduler's clock stands still until then.
        is_ready: the engine has started and takes requests.
    """

    def __init__(self, simulation: Simulation, broker_id: int) -> None:
        plan, random = simulation.plan, simulation.random
        self.broker_id = broker_id
        self.disk = Disk(broker_id, simulation.watch, random, plan.disk_delay)
        self.stalled_until = 0.0
        self.is_ready = False
        self.is_stopping = False
        self.lives = 0
        self._simulation = simulation
        self._loop = simulation.loop
        self._tick_seconds = (
            plan.engine.tick_ms / 1000 * (1 + plan.clock_drift * (2 * random.random() - 1))
        )
        self._wall_ms = WALL_START_MS + random.randint(-plan.wall_skew_ms, plan.wall_skew_ms)
        self.process: Process | None = None
        self.engine: Engine
        self.runtime: BrokerRuntime

    @property
    def alive(self) -> bool:
        """True while there is a process, even a paused one."""
        return self.process is not None and self.process.alive

    @property
    def is_running(self) -> bool:
        """True while the process takes part and its clock goes."""
        return (
            self.process is not None
            and self.process.runs
            and self.is_ready
            and self._loop.time() >= self.stalled_until
        )

    @property
    def replicas(self) -> dict[int, Replica]:
        """The replicas of the process; none when there is no process that is ready."""
        return self.engine.replicas if self.alive and self.is_ready else {}

    # --- life -------------------------------------------------------------------------------

    def start(self) -> None:
        """Start a process on the directory."""
        assert not self.alive
        self.lives += 1
        self.is_ready = self.is_stopping = False
        self.process = process = Process(self._loop)
        identity = self.disk.open()
        memory = MemoryBudget()
        for share in (memory.pending, memory.unwritten):
            share.limit_bytes = self._simulation.plan.memory_share_bytes
        self.engine = Engine(
            storage=self.disk,
            transport=SimulatedTransport(self._simulation.network, self.broker_id, process),
            factory=self._make_state,
            config=self._simulation.plan.engine,
            randomizer=self._simulation.random.randrange,
            workers=DiskWorkers(self.disk),
            wall_ms=self.wall_ms,
            memory=memory,
        )
        self.runtime = BrokerRuntime(
            self.engine, NoManagers(), Options(), peers=NoPeers(), identity=identity
        )
        self.engine.on_leadership.append(partial(self._simulation.watch.leadership, self))
        self.engine.on_applied.append(partial(self._simulation.watch.advanced, self))
        process.create_task(self._start(process))
        self._intervals = 1
        self._later(self._tick_seconds, self._tick, process)
        self._later(self._simulation.plan.upkeep_interval, self._upkeep, process)

    async def _start(self, process: Process) -> None:
        try:
            await self.engine.start()
            self.engine.failure.add_done_callback(partial(self._failed, process))
            await self.engine.save_peers(
                PeerAddress(one, f"http://broker-{one}:80", f"broker-{one}:{1000 + one}")
                for one in self._simulation.brokers
            )
        except Exception as error:  # noqa: BLE001 - the edge of the simulated process
            self._report("engine", error)
        self.is_ready = True
        dead_letters_start(self.runtime)
        if self._simulation.plan.rollbacks:
            self._meet_managers(process)

    def kill(self) -> None:
        """End the process at once; what is not synced is lost."""
        if self.alive:
            assert self.process is not None
            self.process.kill()
            self.is_ready = False
            self.disk.crash()
            self._simulation.network.leave(self.broker_id, notice=0.8)

    def stop(self) -> None:
        """End the process in order, as SIGTERM does."""
        if self.alive and self.is_ready and not self.is_stopping:
            assert self.process is not None
            self.is_stopping = True
            self.process.create_task(self._stop(self.process))

    async def _stop(self, process: Process) -> None:
        try:
            await self.engine.hand_over_all(timeout_ms=STOP_HAND_OVER_MS)
            self.runtime.end_long_polls()
            self.is_ready = False
            await self.runtime.stop()
            await self.engine.stop()
        except Exception as error:  # noqa: BLE001 - the edge of the simulated process
            self._report("engine", error)
            self.kill()
        process.kill()

    def _failed(self, process: Process, failure: asyncio.Future[None]) -> None:
        """End the process after its engine gave up, as its supervisor would."""
        if failure.cancelled() or process is not self.process:
            return
        error = failure.exception()
        is_meant = isinstance(error, OSError) or str(error).startswith("no tick for")
        if error is not None and not is_meant:
            self._simulation.failed("engine", error)
        self._simulation.note("gives up", self.broker_id, error)
        self._later(0.0, self._simulation.faults.kill, self, RESTART_SECONDS)

    def _meet_managers(self, process: Process) -> None:
        """Tell managers what is kept here, again and again."""
        if process is not self.process or not process.alive:
            return
        pause = REPORT_SECONDS * self._simulation.random.random()
        self._later(pause, self._meet_managers, process)
        if self.is_ready and not self.is_stopping and not self.has_failed:
            process.soon(self._simulation.managers.exchange, self)

    def _report(self, where: str, error: Exception) -> None:
        """End the run, unless this is what made the engine give up: that is told once."""
        if not self.has_failed:
            self._simulation.failed(where, error)

    @property
    def has_failed(self) -> bool:
        """True once the engine gave up; the process ends at once."""
        failure = self.engine.failure
        return failure.done() and not failure.cancelled()

    # --- clocks -----------------------------------------------------------------------------

    def wall_ms(self) -> int:
        """Return the broker's time of day, milliseconds since 1970."""
        return self._wall_ms + int(self._loop.time() * 1000)

    def burst(self, ticks: int) -> None:
        """Let several ticks pass, a moment apart."""
        if self.alive and self.is_ready:
            assert self.process is not None
            self.process.soon(self.engine.post_tick)
            if ticks > 1:
                self._later(BURST_SECONDS, self.burst, ticks - 1)

    def _tick(self, process: Process) -> None:
        """Let an interval pass; the scheduler calls after as many as it was told."""
        if process is not self.process or not process.alive:
            return
        self._later(self._tick_seconds, self._tick, process)
        if process.runs and self.is_ready and self._loop.time() >= self.stalled_until:
            self._intervals -= 1
            if not self._intervals:
                process.soon(self._post_due_ticks)
            self._simulation.watch.ticked(self)

    def _post_due_ticks(self) -> None:
        self._intervals = self.engine.post_due_ticks()

    def _upkeep(self, process: Process) -> None:
        if process is not self.process or not process.alive:
            return
        interval = self._simulation.plan.upkeep_interval
        self._later(interval * (0.5 + self._simulation.random.random()), self._upkeep, process)
        if self.is_ready:
            process.soon(self.engine.request_checkpoints)
            process.create_task(self._let_go())

    async def _let_go(self) -> None:
        """Let old messages go where this broker leads."""
        for replica in list(self.engine.replicas.values()):
            if replica.serves:
                try:
                    await messages_truncate(
                        runtime=self.runtime, replica=replica, now_ms=self.wall_ms()
                    )
                except QueueError as error:
                    self._simulation.note("keeps", self.broker_id, type(error).__name__)
                except Exception as error:  # noqa: BLE001 - the edge of the simulated process
                    self._report("retention", error)

    def _later(self, seconds: float, callback: Callable[..., Any], *args: Any) -> None:
        self._simulation.network.later(seconds, callback, *args)

    # --- requests ---------------------------------------------------------------------------

    def serve(self, serve: Serve, answer: Callable[[Any], None]) -> None:
        """Carry out a request that arrives now, and answer with its result or `QueueError`."""
        if not self.alive or not self.is_ready:
            answer(NoLeader("connection refused"))
            return
        assert self.process is not None
        self.process.create_task(self._serve(serve, answer))

    async def _serve(self, serve: Serve, answer: Callable[[Any], None]) -> None:
        try:
            result = await serve(self)
        except QueueError as error:
            result = error
        except Exception as error:  # noqa: BLE001 - the edge of the simulated process
            self._report("service", error)
            return
        answer(result)

    # --- the state machine ------------------------------------------------------------------

    def _make_state(self, spec: GroupSpec, snapshot: bytes) -> WatchedState:
        state = WatchedState(spec, snapshot, limits=StateLimits())
        state.on_applied = self._applied
        state.on_result = self._simulation.watch.executed
        return state

    def _applied(self, state: WatchedState, entry: Entry) -> bool:
        return self._simulation.watch.applied(self, state, entry)
