"""The part of a broker in memory that knows consumer groups and moves cursors, or says nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiohttp import web

from myqueue.contract.errors import CursorMoved, GroupNotFound
from myqueue.contract.group_inputs import Offsets
from myqueue.contract.inputs import CursorReset, read_input
from tests.manager_app.membership_twin import FIELDS

if TYPE_CHECKING:
    from tests.manager_app.broker_twin import BrokerTwin

FIELDS_OF_A_PLACE = {"topic", "partition", "group", "timeout_ms"}
ASKED = {*FIELDS_OF_A_PLACE, "age"}


class OffsetsPart:
    """What one broker does with cursors and groups of its partitions."""

    def __init__(self, broker: BrokerTwin) -> None:
        self.broker = broker
        self.silent: set[str] = set()
        """Paths on which it takes calls and never answers, like a process that is stopped."""

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/cursors/reset", self._cursor_reset),
            web.get("/offsets", self._offsets),
            web.get("/groups", self._standings),
            web.post("/groups/forget", self._group_forget),
        ]

    async def hang(self, path: str) -> None:
        """Take a call and say nothing, on the paths where it is so, for as long as it is."""
        while path in self.silent:
            await asyncio.sleep(0.01)

    async def _cursor_reset(self, request: web.Request) -> dict[str, Any]:
        call = read_input(CursorReset, request[FIELDS])
        group = self.broker.led(request[FIELDS])
        assert (call.offset is None) != (call.timestamp is None)
        if call.expected not in (None, group.cursors.get(call.consumer_id, 0)):
            raise CursorMoved
        offset = 0 if call.offset is None else call.offset
        group.cursors[call.consumer_id] = offset
        return {"topic": call.topic, "partition": call.partition, "offset": offset}

    async def _offsets(self, request: web.Request) -> dict[str, Any]:
        assert request[FIELDS].keys() == ASKED
        call = read_input(Offsets, {}, request[FIELDS])
        group = self.broker.led(request[FIELDS])
        known = group.offsets.get(call.group)
        if known is None:
            raise GroupNotFound
        return {
            "topic": call.topic,
            "partition": call.partition,
            "group": call.group,
            "generation": known.generation,
            "offset": known.offset,
            "high_watermark": len(group.records),
            "log_start_offset": 0,
            "lag": len(group.records) - known.offset,
            "unsettled": known.unsettled,
            "dead": known.dead,
            "in_flight": known.unsettled,
            **({"age_ms": known.age_ms} if call.age else {}),
        }

    async def _standings(self, request: web.Request) -> dict[str, Any]:
        """Tell each partition by itself; a broker tells those of a topic together."""
        led = [
            group
            for group in self.broker.cluster.groups.values()
            if group.leader == self.broker.broker_id
        ]
        return {
            "standings": [
                {
                    "group": name,
                    "topic": group.order.topic,
                    "is_workers": not known.generation,
                    "partitions": 1,
                    "lag": len(group.records) - known.offset,
                    "in_flight": known.unsettled,
                    "dead": known.dead,
                    "age_ms": known.age_ms,
                }
                for group in led
                for name, known in group.offsets.items()
            ]
        }

    async def _group_forget(self, request: web.Request) -> dict[str, Any]:
        fields = request[FIELDS]
        assert fields.keys() == FIELDS_OF_A_PLACE
        self.broker.led(fields).offsets.pop(fields["group"], None)
        return {}
