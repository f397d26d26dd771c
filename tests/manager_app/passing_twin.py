"""The part of a broker in memory whose calls a manager passes on as they came."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from aiohttp import web
from msgspec.structs import asdict

from http_base.cluster import MessagesPurge
from http_base.messages import message_answer
from myqueue.contract.answers import DeliveredMessage, Message
from myqueue.contract.errors import IllegalGeneration, OffsetOutOfRange
from myqueue.contract.group_inputs import (
    OffsetsCommit,
    Receive,
    ReceiveSeveral,
    Settle,
    WorkAt,
)
from myqueue.contract.inputs import (
    BATCH,
    ConsumeFrom,
    ConsumeSeveral,
    Fetch,
    FetchFrom,
    FetchSeveral,
    OffsetByTime,
    read_input,
)
from myqueue.contract.records import MAX_TIMESTAMP, encode_batch, frame_batches
from tests.manager_app.group_twin import CommittedTwin
from tests.manager_app.membership_twin import FIELDS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.manager_app.broker_twin import BrokerTwin


_Place = TypeVar("_Place", ConsumeFrom, WorkAt)


class PassingPart:
    """What one broker does with reads, commits and workers' calls."""

    def __init__(self, broker: BrokerTwin) -> None:
        self.broker = broker
        self.never_answers_waits = False

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/fetch", self._fetch),
            web.post("/fetch", self._fetch_several),
            web.get("/offsets/by-time", self._by_time),
            web.post("/offsets/commit", self._commit),
            web.post("/messages/receive", self._receive),
            web.post("/messages/ack", self._settle),
            web.post("/messages/nack", self._settle),
            web.post("/messages/extend", self._settle),
            web.post("/messages/purge", self._purge),
        ]

    def stored(self, topic: str, partition: int, offset: int) -> bytes:
        """Return what a fetch answers in batches."""
        group = self.broker.cluster.group(topic, partition)
        return frame_batches(
            (position, encode_batch([record]))
            for position, record in enumerate(group.records)
            if position >= offset
        )

    async def _fetch(self, request: web.Request) -> Any:
        call = read_input(Fetch, None, request[FIELDS])
        group = self.broker.led(request[FIELDS])
        if call.wait_ms and call.offset >= len(group.records):
            await self.broker.wait(group, call.wait_ms)
        end = len(group.records)
        if call.offset > end:
            raise OffsetOutOfRange(log_start_offset=0, high_watermark=end)
        if request.headers["Accept"] == BATCH:
            headers = {
                "X-High-Watermark": str(end),
                "X-Log-Start-Offset": "0",
                "X-Next-Offset": str(end),
            }
            body = self.stored(call.topic, call.partition, call.offset)
            return web.Response(body=body, headers=headers, content_type=BATCH)
        return {
            "topic": call.topic,
            "partition": call.partition,
            "messages": self._messages(call, call.offset),
            "corrupt": 0,
            "next_offset": end,
            "high_watermark": end,
            "log_start_offset": 0,
        }

    async def _fetch_several(self, request: web.Request) -> Any:
        call = read_input(FetchSeveral, request[FIELDS])
        parts: list[dict[str, Any]] = []
        end_s = asyncio.get_running_loop().time() + call.wait_ms / 1000
        while not parts:
            for one in call.partitions:
                records = self.broker.cluster.group(one.topic, one.partition).records
                if one.offset < len(records):
                    parts.append(self._part(one, stored=call.stored))
            if asyncio.get_running_loop().time() >= end_s:
                break
            await asyncio.sleep(0.01)
        return {"partitions": parts}

    def _part(self, one: FetchFrom, *, stored: bool) -> dict[str, Any]:
        self.broker.led({"topic": one.topic, "partition": one.partition})
        end = len(self.broker.cluster.group(one.topic, one.partition).records)
        what: dict[str, Any] = {"batches": self.stored(one.topic, one.partition, one.offset)}
        if not stored:
            what = {"messages": self._messages(one, one.offset), "corrupt": 0}
        place = {"topic": one.topic, "partition": one.partition, "next_offset": end}
        return {**place, **what, "high_watermark": end, "log_start_offset": 0}

    def _messages(self, call: Fetch | FetchFrom | Receive, start: int) -> list[Message]:
        records = self.broker.cluster.group(call.topic, call.partition).records
        return [
            message_answer(
                record, topic=call.topic, partition=call.partition, offset=offset, binary=True
            )
            for offset, record in enumerate(records)
            if offset >= start
        ]

    async def _by_time(self, request: web.Request) -> dict[str, Any]:
        call = read_input(OffsetByTime, None, request[FIELDS])
        group = self.broker.led(request[FIELDS])
        end = len(group.records)
        offset = end if call.timestamp == MAX_TIMESTAMP else max(group.begin, call.timestamp % 100)
        return {"topic": call.topic, "partition": call.partition, "offset": offset}

    async def _purge(self, request: web.Request) -> dict[str, Any]:
        call = read_input(MessagesPurge, request[FIELDS])
        group = self.broker.led(request[FIELDS])
        if call.below > len(group.records):
            raise OffsetOutOfRange(log_start_offset=group.begin, high_watermark=len(group.records))
        group.begin = max(group.begin, call.below)
        place = {"topic": call.topic, "partition": call.partition}
        return {**place, "log_start_offset": group.begin}

    async def _commit(self, request: web.Request) -> dict[str, Any]:
        call = read_input(OffsetsCommit, request[FIELDS])
        known = self.broker.led(request[FIELDS]).offsets.setdefault(call.group, CommittedTwin())
        if call.generation < known.generation:
            raise IllegalGeneration(generation=known.generation)
        known.generation = call.generation
        known.offset = known.offset if call.offset is None else call.offset
        place = {"topic": call.topic, "partition": call.partition, "group": call.group}
        return {**place, **msgspec.to_builtins(known), "missed": 0}

    async def consume_several(
        self, fields: dict[str, Any], pop: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
    ) -> dict[str, Any]:
        """Answer pops of a list, each as one of its partition, or say where there is something."""
        call = read_input(ConsumeSeveral, fields)

        def is_due(one: ConsumeFrom) -> bool:
            group = self.broker.led({"topic": one.topic, "partition": one.partition})
            is_known = (one.consumer_id, one.request_id or "") in group.pops
            return is_known or group.cursors.get(one.consumer_id, 0) < len(group.records)

        parts = []
        for one in await self._due(call.partitions, is_due, call.wait_ms):
            part: dict[str, Any] = {"topic": one.topic, "partition": one.partition}
            if call.max_messages:
                of_one = {**asdict(one), "max_messages": call.max_messages}
                part |= await pop(of_one)
            parts.append(part)
        return {"partitions": parts}

    async def _due(
        self, places: list[_Place], is_due: Callable[[_Place], bool], wait_ms: int
    ) -> list[_Place]:
        """Return those that have something, or wait for the first."""
        end_s = asyncio.get_running_loop().time() + wait_ms / 1000
        while True:
            found = [one for one in places if is_due(one)]
            is_over = asyncio.get_running_loop().time() >= end_s
            if is_over or (found and not self.never_answers_waits):
                return found
            await asyncio.sleep(0.01)

    async def _look_at_several(self, fields: dict[str, Any]) -> dict[str, Any]:
        call = read_input(ReceiveSeveral, fields)

        def is_due(one: WorkAt) -> bool:
            return bool(self.broker.led({"topic": one.topic, "partition": one.partition}).records)

        found = await self._due(call.partitions, is_due, call.wait_ms)
        return {"partitions": [asdict(one) for one in found]}

    async def _receive(self, request: web.Request) -> dict[str, Any]:
        if "partitions" in request[FIELDS]:
            return await self._look_at_several(request[FIELDS])
        call = read_input(Receive, request[FIELDS])
        group = self.broker.led(request[FIELDS])
        if call.wait_ms and not group.records:
            await self.broker.wait(group, call.wait_ms)
        messages = [
            DeliveredMessage(**asdict(one), receipt=f"{one.offset}.1", delivery_count=1)
            for one in self._messages(call, 0)
        ]
        place = {"topic": call.topic, "partition": call.partition, "group": call.group}
        return {**place, "messages": messages, "missed": 0, "corrupt": 3}

    async def _settle(self, request: web.Request) -> dict[str, Any]:
        call = read_input(Settle, request[FIELDS])
        self.broker.led(request[FIELDS])
        return {"results": [{"receipt": receipt, "done": True} for receipt in call.receipts]}
