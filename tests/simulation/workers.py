"""Queue workers of one group: they settle what they get, give it back, or forget about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from broker_app.partition.commands import SettleMessages, Start
from broker_app.selectors.offsets import group_offsets_get
from broker_app.services.work import ReceiveCall, messages_receive, messages_settle
from myqueue.contract.errors import GroupNotFound, QueueError
from myqueue.contract.rules.work import SettleKind
from tests.simulation.asking import TIMEOUT_MS, WAIT_MS_MAX

if TYPE_CHECKING:
    from myqueue.contract.rules.work import Receipt
    from tests.simulation.broker import Broker
    from tests.simulation.clients import Clients

NAME = "workers"
DELIVERY_LIMIT = 3


class Worker:
    """Receives, and does something with each message."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    async def run(self) -> None:
        """Work until told to stop, and then until every message is settled or dead."""
        clients = self._clients
        while clients.active or not await self._is_done():
            await clients.pause()
            receipts = await self._receive()
            for receipt in receipts:
                if clients.active:
                    await self._work_on(receipt)
            if receipts and not clients.active:
                await self._settle(SettleKind.ACK, receipts)

    async def _receive(self) -> list[Receipt]:
        clients, history = self._clients, self._clients.history
        call = ReceiveCall(
            group=NAME,
            max_messages=clients.random.choice((1, 3, 20)),
            visibility_ms=clients.random.choice((100, 1_000, 3_000)),
            delivery_limit=DELIVERY_LIMIT,
            dead_letter_topic="",
            start=Start.EARLIEST,
            wait_ms=clients.random.choice((0, WAIT_MS_MAX)),
            timeout_ms=TIMEOUT_MS,
        )

        async def serve(broker: Broker) -> Any:
            replica = broker.engine.replica(clients.group_id)
            return await messages_receive(runtime=broker.runtime, replica=replica, call=call)

        answer = await clients.until_known("receives", serve)
        clients.check(not isinstance(answer, QueueError), "receive: %r", answer)
        receipts = [delivery.receipt for delivery in answer.deliveries]
        with clients.simulation.watch.guard():
            clients.watch.works.given(NAME, receipts)
            for delivery in answer.deliveries:
                history.returned([str(delivery.record.value)], delivery.receipt.offset)
        return receipts

    async def _work_on(self, receipt: Receipt) -> None:
        clients = self._clients
        chance = clients.random.random()
        if chance < 0.2:
            return  # It dies at work, and says nothing.
        if chance < 0.35:
            await self._settle(SettleKind.NACK, [receipt], clients.random.choice((0, 0, 500)))
            return
        if chance < 0.5:
            await self._settle(SettleKind.EXTEND, [receipt], 1_000)
        await clients.pause()
        await self._settle(SettleKind.ACK, [receipt])

    async def _settle(self, kind: SettleKind, receipts: list[Receipt], delay_ms: int = 0) -> None:
        clients = self._clients
        command = SettleMessages(NAME, kind, receipts, delay_ms)

        async def serve(broker: Broker) -> Any:
            return await messages_settle(
                runtime=broker.runtime,
                replica=broker.engine.replica(clients.group_id),
                command=command,
                timeout_ms=TIMEOUT_MS,
            )

        answer = await clients.until_known(kind, serve)
        clients.check(not isinstance(answer, QueueError), "%s: %r", command, answer)

    async def _is_done(self) -> bool:
        clients = self._clients

        async def serve(broker: Broker) -> Any:
            replica = broker.engine.replica(clients.group_id)
            return await group_offsets_get(
                runtime=broker.runtime, replica=replica, name=NAME, timeout_ms=TIMEOUT_MS
            )

        answer = await clients.until_known("looks", serve)
        if isinstance(answer, GroupNotFound):
            return not clients.history.messages
        clients.check(not isinstance(answer, QueueError), "offsets: %r", answer)
        is_done = answer.lag == answer.dead
        if is_done:
            with clients.simulation.watch.guard():
                clients.watch.works.ended(NAME, answer.log_start_offset, answer.high_watermark)
        return bool(is_done)
