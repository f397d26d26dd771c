"""The clients of one group: they repeat whatever they got no answer to, until they get one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker_app.partition.commands import SetRetention
from broker_app.services.retention import retention_set
from tests.simulation.asking import Asking
from tests.simulation.consumers import Consumer, Reader
from tests.simulation.members import Members
from tests.simulation.producers import Producer, RequestProducer
from tests.simulation.workers import Worker

if TYPE_CHECKING:
    import asyncio

    from tests.simulation.broker import Broker


class Clients(Asking):
    """All clients of one group."""

    def start(self) -> None:
        """Begin to produce and consume."""
        plan, first = self.simulation.plan, 100 * self.group_id
        work = [
            *(Producer(self, first + n).run() for n in range(plan.producer_count)),
            RequestProducer(self, first + 20).run(),
            *(Consumer(self, first + 40 + n).run() for n in range(plan.consumer_count)),
            Reader(self).run(),
            *(Members(self).run() for _ in range(plan.members)),
            *(Worker(self).run() for _ in range(plan.worker_count)),
            self._set_retention(),
        ]
        self._tasks: list[asyncio.Task[None]] = [self.simulation.spawn(one) for one in work]

    @property
    def are_done(self) -> bool:
        """Everybody has got all answers."""
        return all(task.done() for task in self._tasks)

    async def _set_retention(self) -> None:
        wanted = self.simulation.plan.retention
        if wanted == SetRetention():
            return

        async def serve(broker: Broker) -> bool:
            replica = broker.engine.replica(self.group_id)
            if not replica.serves:
                raise replica.not_leader()
            return await retention_set(runtime=broker.runtime, replica=replica, wanted=wanted)

        await self.until_known("retention", serve)
