"""How clients of one group ask brokers: again and again, until an answer comes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from myqueue.contract.errors import (
    CommitTimeout,
    DiskFull,
    NoLeader,
    NotLeader,
    Overloaded,
    PartitionNotFound,
)
from tests.raft_app.core.simulation.checker import Checker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.simulation.broker import Broker
    from tests.simulation.history import History
    from tests.simulation.simulation import Simulation
    from tests.simulation.watch import GroupWatch

PATIENCE_SECONDS = 2.0
"""How long a client waits for an answer."""
TIMEOUT_MS = 800
STRAY = 0.1
"""Part of the requests that go to any broker, also one that only believes to lead."""
WAIT_MS_MAX = 300
NAP_CYCLE_SECONDS = 6.0
"""From one time without clients to the next."""
NAP_BEGIN_SECONDS = 2.0
"""Of it, with clients."""
PASSING = (NotLeader, NoLeader, CommitTimeout, Overloaded, PartitionNotFound, DiskFull)
"""Refusals after which a client simply tries again."""


class Answers(Checker):
    """Clients get the answers that they may expect."""


class Asking:
    """What all clients of one group share.

    Attributes:
        writing: new messages are produced.
        active: consumers and readers go on.
    """

    def __init__(self, simulation: Simulation, group_id: int) -> None:
        self.simulation = simulation
        self.group_id = group_id
        self.random = simulation.random
        self.watch: GroupWatch = simulation.watch.groups[group_id]
        self.history: History = self.watch.history
        self.answers = Answers()
        self.writing = True
        self.active = True
        self._leader = 1

    async def sleep(self, seconds: float) -> None:
        """Wait for about as long."""
        await asyncio.sleep(seconds * 2 * self.random.random())

    async def pause(self) -> None:
        """Wait a moment."""
        await self.sleep(self.simulation.plan.client_pause)

    async def until_known(self, what: str, serve: Callable[[Broker], Awaitable[Any]]) -> Any:
        """Ask until an answer comes; return it, or a `QueueError` that does not pass."""
        while True:
            if self.random.random() < STRAY:
                self._leader = self.random.choice(list(self.simulation.brokers))
            answer = await self.ask(self._leader, serve)
            self.simulation.note(what, self.group_id, type(answer).__name__)
            match answer:
                case NotLeader(details={"leader": {"broker_id": int(broker_id)}}):
                    self._leader = broker_id
                case None | NotLeader() | NoLeader() | PartitionNotFound():
                    self._leader = self.random.choice(list(self.simulation.brokers))
                case _ if not isinstance(answer, PASSING):
                    return answer
            await asyncio.sleep(0.02 + 0.1 * self.random.random())

    async def ask(self, broker_id: int, serve: Callable[[Broker], Awaitable[Any]]) -> Any:
        """Ask a broker once; return its answer or `QueueError`, None when none came."""
        await self._nap()
        simulation = self.simulation
        broker, later, delay = (
            simulation.brokers[broker_id],
            simulation.network.later,
            simulation.network.delay,
        )
        loss = simulation.network.links.loss
        reply: asyncio.Future[tuple[Any]] = simulation.loop.create_future()

        def answer(result: Any) -> None:
            if self.random.random() >= loss:
                later(delay(), resolve, result)

        def resolve(result: Any) -> None:
            if not reply.done():
                reply.set_result((result,))

        if self.random.random() >= loss:
            later(delay(), broker.serve, serve, answer)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return (await reply)[0]
        except TimeoutError:
            return None

    async def _nap(self) -> None:
        """Wait while it is one of the times without clients, before everything is healed."""
        simulation = self.simulation
        into = simulation.loop.time() % NAP_CYCLE_SECONDS
        if simulation.plan.naps and not simulation.network.heals and into > NAP_BEGIN_SECONDS:
            await asyncio.sleep(NAP_CYCLE_SECONDS - into)

    def check(self, holds: bool, message: str, *values: object) -> None:
        """Fail the run unless something holds."""
        with self.simulation.watch.guard():
            self.answers.require(holds, message, *values)
