"""Members of a consumer group: later generations take over while earlier ones go on, unaware."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from broker_app.selectors.fetch import batches_fetch
from broker_app.services.groups import offsets_commit
from myqueue.contract.errors import IllegalGeneration, OffsetOutOfRange, QueueError
from myqueue.contract.group_inputs import OffsetsCommit
from tests.simulation.asking import TIMEOUT_MS

if TYPE_CHECKING:
    from tests.simulation.broker import Broker
    from tests.simulation.clients import Clients

NAME = "readers"
GENERATION_SECONDS = 2.0
"""About the time from one generation to the next."""


class Members:
    """All members of one consumer group, and what stands in for its manager."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._generation = 0

    async def run(self) -> None:
        """Let one member after the other join, until told to stop."""
        clients = self._clients
        tasks = []
        while clients.active:
            self._generation += 1
            tasks.append(clients.simulation.spawn(self._member(self._generation)))
            for _ in range(20):
                if clients.active:
                    await clients.sleep(GENERATION_SECONDS / 20)
        for task in tasks:
            await task

    async def _member(self, generation: int) -> None:
        """Fence the others, then read and commit until fenced."""
        clients, fences = self._clients, self._clients.watch.fences
        offset = await self._commit(generation, None)
        while offset is not None and clients.active:
            await clients.pause()
            end = await self._read(offset)
            if end > offset:
                fences.read(NAME, end)
                offset = await self._commit(generation, end)

    async def _commit(self, generation: int, offset: int | None) -> int | None:
        """Commit; return where the group is now, None when a later generation has it."""
        clients, fences = self._clients, self._clients.watch.fences
        commit = OffsetsCommit(
            "logs", clients.group_id, NAME, generation, offset, timeout_ms=TIMEOUT_MS
        )

        async def serve(broker: Broker) -> Any:
            replica = broker.engine.replica(clients.group_id)
            return await offsets_commit(runtime=broker.runtime, replica=replica, commit=commit)

        floor = fences.floor(NAME)
        answer = await clients.until_known("commits", serve)
        if isinstance(answer, IllegalGeneration):
            known = answer.details["generation"]
            clients.check(known > generation, "%s is refused by %s", commit, known)
            return None
        clients.check(not isinstance(answer, QueueError), "%s: %r", commit, answer)
        with clients.simulation.watch.guard():
            fences.answered(NAME, generation, answer.offset, floor=floor)
        return int(answer.offset)

    async def _read(self, offset: int) -> int:
        """Return up to where a replica gives messages from an offset on."""
        clients = self._clients

        async def serve(broker: Broker) -> Any:
            return await batches_fetch(
                runtime=broker.runtime,
                replica=broker.engine.replica(clients.group_id),
                offset=offset,
                max_bytes=500,
                wait_ms=100,
            )

        broker_id = clients.random.choice(list(clients.simulation.brokers))
        answer = await clients.ask(broker_id, serve)
        if isinstance(answer, OffsetOutOfRange):
            # Gone by retention, or this replica does not have it yet.
            return max(offset, int(answer.details["log_start_offset"]))
        if answer is None or isinstance(answer, QueueError) or not answer.batches:
            return offset
        last = answer.batches[-1]
        return int(last.base_offset + last.record_count)
