"""Orders for brokers, many at once and each within a time limit: replicas, leaderships, cursors.

Orders for replicas never raise: a broker that was not reached gets its orders with the answer to
its next heartbeat.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

import msgspec
from msgspec.structs import asdict

from http_base.cluster import (
    ClientForgetHere,
    CursorOpen,
    LeaderTransfer,
    PartitionDelete,
    ReportedReplicas,
)
from http_base.tasks import cancel, gather_bounded, spawn
from manager_app.brokers.client import BrokerCall
from manager_app.proxy.partition_calls import PartitionCall
from myqueue.contract.answers import Done
from myqueue.contract.errors import QueueError
from myqueue.contract.inputs import MAX_PAGE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from http_base.cluster import DeletedPartition, ReplicaOrder, ReplicaReport
    from manager_app.brokers.client import BrokerContact
    from manager_app.metadata import MetadataCopy, TopicMetadata
    from manager_app.placement.rules import Transfer
    from manager_app.proxy.partition_calls import PartitionCalls
    from manager_app.selectors import ClientKey
    from myqueue.contract.inputs import Start

logger = logging.getLogger(__name__)
_A = TypeVar("_A", bound=msgspec.Struct)

CALLS_PER_BROKER = 16
"""Orders on their way to one broker at once; it stores all that arrive together in one go."""
ORDERS_LIMIT_S = 120.0
"""After which a thread that had orders sent gives up on the loop; each has a shorter limit of its
own."""
ORDER_TIMEOUT_S = 6.0
"""For one order, such as to make a replica; a broker gives itself less."""
OTHERS_FIRST_S = 1.0
"""How long the order for a first replica waits for those of the other replicas. It campaigns at
once, and voters that are not made yet cost it an election timeout: 1 s by default."""
REPORT_TIMEOUT_S = 0.2
"""For a broker's report on its replicas while a caller waits for the answer: a stopped process
accepts connections and answers nothing, and the report stored last will do for it."""
PARTITIONS_AT_ONCE = 64
"""Partitions whose leaders one registration calls at once."""
CURSOR_TIMEOUT_MS = 5_000
"""To open or drop a client's cursor or producer state in one partition, elections included."""
CLIENTS_AT_ONCE = 16
"""Clients that one round has their partitions forget at the same time."""
FORGET_ROUND_S = 2.0
"""For such a round; `check_clients` waits for it."""


class OrderSender:
    """Sends orders to brokers; its coroutines belong to the manager's loop."""

    def __init__(
        self, metadata: MetadataCopy, brokers: BrokerContact, calls: PartitionCalls
    ) -> None:
        """Make a sender without calling anybody.

        Args:
            metadata: topics, leaders and the states of brokers.
            brokers: calls brokers by their ids.
            calls: calls the leaders of partitions.
        """
        self._metadata = metadata
        self.brokers = brokers
        self._calls = calls

    async def place_replicas(self, orders: Mapping[int, Sequence[ReplicaOrder]]) -> int:
        """Order replicas of brokers; return how many orders were not taken.

        The first replica of a partition campaigns at once, so it is ordered after the others:
        voters that are not made yet would cost it an election timeout.

        Args:
            orders: by broker id.
        """
        others = spawn("ordering replicas", self._send_all(_order_calls(orders, first=False)))
        try:
            await asyncio.wait((others,), timeout=OTHERS_FIRST_S)
            not_taken = await self._send_all(_order_calls(orders, first=True))
            return not_taken + await others
        finally:
            await cancel([others])

    async def drop_groups(
        self, drops: Mapping[int, Sequence[DeletedPartition]], *, epoch: int
    ) -> int:
        """Let brokers drop the replicas of deleted topics; return how many drops were not taken.

        Args:
            drops: by broker id.
            epoch: of the primary's lease; a broker that heard of a later one refuses.
        """
        calls = {
            broker_id: [
                BrokerCall(
                    "DELETE",
                    f"/partitions/{one.group_id}",
                    query=asdict(
                        PartitionDelete(epoch=epoch, topic=one.topic, partition=one.partition)
                    ),
                )
                for one in of_one
            ]
            for broker_id, of_one in drops.items()
        }
        return await self._send_all(calls)

    async def hand_over(self, transfer: Transfer, *, epoch: int) -> bool:
        """Ask a leader to hand its leadership to another broker; return whether it agreed."""
        call = BrokerCall(
            "POST",
            f"/partitions/{transfer.group_id}/leader",
            body=LeaderTransfer(broker_id=transfer.target, epoch=epoch),
            asks_silent=False,
        )
        return await self._send(transfer.source, call)

    async def wait_for_leaders(self, topic: str, timeout_s: float) -> list[int]:
        """Wait until all partitions of a topic have a leader.

        Returns:
            The indexes of those without one after `timeout_s` seconds.
        """

        def without_leader() -> list[int]:
            view = self._metadata.current.topics.get(topic)
            return [
                partition.index
                for partition in (view.partitions if view else ())
                if not self._metadata.leader_of(partition.group_id).broker_id
            ]

        await self._metadata.wait_until(lambda: not without_leader(), timeout_s)
        return without_leader()

    async def open_cursors(self, topic: TopicMetadata, consumer_id: int, start: Start) -> None:
        """Open a consumer's cursor in every partition: at the log start, or at the high watermark.

        Raises:
            QueueError: the answer of a partition where it failed.
        """
        calls = (
            PartitionCall(
                partition,
                "POST",
                "/cursors/open",
                asdict(
                    CursorOpen(
                        topic=topic.name,
                        partition=partition.index,
                        consumer_id=consumer_id,
                        start=start,
                    )
                ),
                timeout_ms=CURSOR_TIMEOUT_MS,
                repeatable=True,
            )
            for partition in topic.partitions
        )
        await gather_bounded((self._calls.call(call, Done) for call in calls), PARTITIONS_AT_ONCE)

    async def forget_clients(
        self, clients: Sequence[tuple[TopicMetadata, ClientKey]]
    ) -> list[ClientKey]:
        """Let partitions forget clients; return those that every partition of their topic forgot.

        It takes `FORGET_ROUND_S` at most and waits for no election: the next round tries again.
        """
        deadline = asyncio.get_running_loop().time() + FORGET_ROUND_S
        forgotten: list[ClientKey] = []

        async def forget(topic: TopicMetadata, key: ClientKey) -> None:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    if not await self.forget_client(topic, key, patient=False):
                        forgotten.append(key)

        await gather_bounded((forget(topic, key) for topic, key in clients), CLIENTS_AT_ONCE)
        return forgotten

    async def forget_client(
        self, topic: TopicMetadata, key: ClientKey, *, patient: bool = True
    ) -> list[int]:
        """Let every partition forget a client; return the indexes where that failed.

        Args:
            topic: its topic.
            key: the client.
            patient: wait for a partition without a leader to elect one.
        """
        failed: list[int] = []

        async def forget(call: PartitionCall) -> None:
            try:
                await self._calls.call(call, Done)
            except QueueError as error:
                logger.info("%s still knows %s: %s", call.partition, key, error)
                failed.append(call.partition.index)

        calls = (
            PartitionCall(
                partition,
                "POST",
                "/clients/forget",
                asdict(
                    ClientForgetHere(
                        topic=topic.name,
                        partition=partition.index,
                        producer_id=key.client_id if key.kind == "producer" else 0,
                        consumer_id=key.client_id if key.kind == "consumer" else 0,
                    )
                ),
                timeout_ms=CURSOR_TIMEOUT_MS,
                repeatable=True,
                patient=patient,
            )
            for partition in topic.partitions
        )
        await gather_bounded((forget(call) for call in calls), PARTITIONS_AT_ONCE)
        return sorted(failed)

    async def ask_replicas(
        self, topic: TopicMetadata, *, timeout_s: float | None = None
    ) -> dict[tuple[int, int], ReplicaReport]:
        """Ask the brokers of a topic for their reports on its replicas.

        Args:
            topic: which.
            timeout_s: for one answer of a broker, in seconds; `REPORT_TIMEOUT_S` where None.

        Returns:
            The reports (`GET /partitions` on a broker) by (group id, broker id), without those of
            brokers that did not answer in time, or are silent and were not asked.
        """
        timeout_s = REPORT_TIMEOUT_S if timeout_s is None else timeout_s
        broker_ids = sorted({broker for part in topic.partitions for broker in part.replicas})
        answers = await asyncio.gather(
            *(self._ask_replicas(broker_id, topic.name, timeout_s) for broker_id in broker_ids)
        )
        return {
            (report.group_id, broker_id): report
            for broker_id, reports in zip(broker_ids, answers, strict=True)
            for report in reports
        }

    async def _ask_replicas(
        self, broker_id: int, topic: str, timeout_s: float
    ) -> list[ReplicaReport]:
        """Return what a broker says of a topic's replicas, page by page until it says no more."""
        reports: list[ReplicaReport] = []
        after: str | None = ""
        while after is not None:
            query = {"topic": topic, "limit": str(MAX_PAGE), "after": after}
            call = BrokerCall("GET", "/partitions", query=query, asks_silent=False)
            answer = await self.brokers.ask(broker_id, call, ReportedReplicas, timeout_s=timeout_s)
            reports += answer.partitions if answer else []
            after = answer.next if answer else None
        return reports

    async def _send_all(self, calls: Mapping[int, Sequence[BrokerCall]]) -> int:
        """Send all calls, those of different brokers at once; return how many failed."""
        failed = await asyncio.gather(
            *(self._send_to_one(broker_id, of_one) for broker_id, of_one in calls.items())
        )
        return sum(failed)

    async def _send_to_one(self, broker_id: int, calls: Sequence[BrokerCall]) -> int:
        """Send calls to one broker; return how many failed.

        After the first call that it does not answer the others count as failed: each would wait for
        `ORDER_TIMEOUT_S`.
        """
        silent: set[int] = set()
        sending = (self._send(broker_id, call, silent) for call in calls)
        return (await gather_bounded(sending, CALLS_PER_BROKER)).count(False)

    async def _send(self, broker_id: int, call: BrokerCall, silent: set[int] | None = None) -> bool:
        """Send one call, unless the broker is among the silent; return whether it was taken."""
        answer = await self.brokers.ask(
            broker_id,
            call,
            Done,
            timeout_s=ORDER_TIMEOUT_S,
            silent=silent,
            log_level=logging.WARNING,
        )
        return answer is not None


def _order_calls(
    orders: Mapping[int, Sequence[ReplicaOrder]], *, first: bool
) -> dict[int, list[BrokerCall]]:
    """Return the calls for the first replicas of their partitions, or for the others."""
    return {
        broker_id: [
            BrokerCall("POST", "/partitions", body=order)
            for order in of_one
            if (order.replicas[0].broker_id == broker_id) == first
        ]
        for broker_id, of_one in orders.items()
    }
