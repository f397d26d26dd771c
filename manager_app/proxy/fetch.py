"""Reads several partitions for clients that reach a manager alone: one call to each broker."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec.structs import asdict

from http_base.cluster_http import CallFailed, NotSent
from http_base.tasks import cancel, spawn
from manager_app.brokers.client import BrokerCall
from myqueue.contract import retry_after
from myqueue.contract.answers import FetchedPart, SeveralFetched
from myqueue.contract.errors import NoLeader, QueueError
from myqueue.contract.inputs import DEFAULT_TIMEOUT_MS, FetchSeveral

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence
    from typing import Any

    from manager_app.brokers.client import BrokerClient
    from manager_app.metadata import MetadataCopy
    from myqueue.contract.inputs import FetchFrom


class FetchCalls:
    """Asks brokers; its coroutines belong to the manager's loop."""

    def __init__(self, metadata: MetadataCopy, broker_client: BrokerClient) -> None:
        """Make a caller.

        Args:
            metadata: the addresses of brokers.
            broker_client: an open client of the same loop.
        """
        self._metadata = metadata
        self._broker_client = broker_client

    async def read(
        self, wanted: Mapping[int, list[FetchFrom]], call: FetchSeveral, wait_ms: int
    ) -> list[FetchedPart]:
        """Return what brokers have of partitions, or wait until one of them has something.

        Args:
            wanted: broker id -> what is read there.
            call: the call from outside.
            wait_ms: how long to wait.
        """

        def ask(wait_ms: int) -> list[Coroutine[Any, Any, list[FetchedPart]]]:
            share = max(1, call.max_bytes // max(1, len(wanted)))
            return [
                self._ask(
                    broker_id,
                    FetchSeveral(
                        partitions=places, max_bytes=share, wait_ms=wait_ms, stored=call.stored
                    ),
                )
                for broker_id, places in wanted.items()
            ]

        if len(wanted) != 1 or not wait_ms:
            found = await asyncio.gather(*ask(0))
            parts = [part for parts in found for part in parts]
            if parts or not wait_ms:
                return parts
        tasks = [spawn("waiting at a broker", one) for one in ask(wait_ms)]
        try:
            return await _first_found(tasks)
        finally:
            await cancel(tasks)

    async def _ask(self, broker_id: int, asked: FetchSeveral) -> list[FetchedPart]:
        """Return what a broker answers; where it does not, that as the error of each partition."""
        call = BrokerCall("POST", "/fetch", body=_fields(asked), wait_ms=asked.wait_ms)
        timeout_s = (asked.wait_ms + DEFAULT_TIMEOUT_MS) / 1000
        address = self._metadata.address_of(broker_id)
        try:
            if address is None:
                raise NotSent(f"broker {broker_id} is unknown")
            answer = await self._broker_client.call(
                address, call, SeveralFetched, timeout_s=timeout_s
            )
        except CallFailed as error:
            failure = NoLeader(
                f"the leader does not answer: {error}", retry_after_ms=retry_after.COMMIT_MS
            )
            return [refused(one, failure) for one in asked.partitions]
        except QueueError as error:
            return [refused(one, error) for one in asked.partitions]
        return answer.partitions


def _fields(asked: FetchSeveral) -> dict[str, Any]:
    fields = asdict(asked)
    places = [asdict(one) for one in asked.partitions]
    return {**fields, "partitions": places, "tokens": {}}


def refused(one: FetchFrom, error: QueueError) -> FetchedPart:
    """Return the part of an answer for a partition that cannot be read."""
    return FetchedPart(topic=one.topic, partition=one.partition, error=error.to_body())


async def _first_found(tasks: Sequence[asyncio.Task[list[FetchedPart]]]) -> list[FetchedPart]:
    """Return what those found that were the first to find anything; nothing when none does."""
    waiting = set(tasks)
    found: list[FetchedPart] = []
    while waiting and not found:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        found = [part for task in done for part in task.result()]
    return found
