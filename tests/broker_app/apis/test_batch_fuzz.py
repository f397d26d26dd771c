"""Batches of every kind, thrown at the door and stored past it: readers never stop.

`FUZZ_BATCHES` says how many, `FUZZ_SEED` repeats a run.
"""

from __future__ import annotations

import logging
import os
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from django.core.handlers.asgi import ASGIHandler

from broker_app.partition.commands import AppendBatch
from broker_app.urls import HOT_PATHS
from http_base.hotpaths import HotPaths
from http_base.memory_budget import MemoryBudget
from myqueue.contract.errors import CorruptBatch
from myqueue.contract.http1 import Answer as ClientAnswer
from myqueue.contract.inputs import BATCH, JSON, MSGPACK
from myqueue.contract.records import Record, decode_records, encode_batch, read_header
from myqueue.testing.partition import MemoryPartition
from myqueue.transport.fetching import read_fetched
from tests.batches import MIB, fuzzed
from tests.broker_app.apis.conftest import Api
from tests.peak_memory import PeakMemory

if TYPE_CHECKING:
    from broker_app.runtime import BrokerRuntime
    from tests.broker_app.engine_twin import EngineTwin

BATCHES = int(os.environ.get("FUZZ_BATCHES", "2000"))
SEED = int(os.environ.get("FUZZ_SEED", "0")) or Random().randrange(1 << 32)
ROUND = 50
"""Batches of one partition."""
ROUND_GROWTH_MAX = 50 * MIB
GROWTH_MAX = 50 * MIB


class Round:
    """One partition: what is in it, and what every reader has to find there."""

    def __init__(self, engine: EngineTwin, number: int) -> None:
        self.place = {"topic": "fuzz", "partition": number}
        self.engine, self.group_id = engine, 100 + number
        self.twin = MemoryPartition("")
        self.expected: list[tuple[int, Record]] = []
        self.corrupt = self.end = self.accepted = self.refused = 0
        engine.add("fuzz", number, group_id=self.group_id)

    async def take(self, api: Api, batch: bytes) -> None:
        """Send a batch; one that is refused is stored all the same, if it has a right header."""
        answer = await api.send(
            "POST",
            "/producer/produce",
            query={**self.place, "producer_id": 1},
            raw=batch,
            content_type=BATCH,
        )
        if answer.status == 200:
            self.accepted += 1
            assert answer.json["base_offset"] == self.end
            self.twin.append(batch)
            self._expect(batch)
            return
        assert (answer.status, answer.json["code"]) == (400, "CORRUPT_BATCH"), answer
        self.refused += 1
        try:
            self.twin.append(batch)
        except CorruptBatch:
            pass
        else:
            raise AssertionError("a queue in memory takes what a broker refuses")
        try:
            header = read_header(batch)
        except CorruptBatch:
            return
        await self.engine.propose(self.group_id, AppendBatch(batch, header), timeout_ms=1_000)
        self.twin.plant(batch)
        self._expect(batch)

    def _expect(self, batch: bytes) -> None:
        count = read_header(batch).record_count
        try:
            self.expected += enumerate(decode_records(batch), self.end)
        except CorruptBatch:
            self.corrupt += count
        self.end += count

    async def read(self, api: Api) -> None:
        """Read it in every way."""
        for read in (self._pop, self._fetch, self._fetch_batches, self._receive):
            found, corrupt = await read(api)
            assert corrupt == self.corrupt, read
            assert found == [_shown(offset, record) for offset, record in self.expected], read
        for accept in (JSON, MSGPACK):
            query = {**self.place, "offset": 0}
            assert (await api.send("GET", "/fetch", query=query, accept=accept)).status == 200
        assert self.twin.found(range(self.end)) == self.expected

    async def _post(self, api: Api, path: str, **fields: Any) -> dict[str, Any]:
        answer = await api.send("POST", path, body={**self.place, **fields}, accept=MSGPACK)
        assert answer.status == 200, answer
        body: dict[str, Any] = msgspec.msgpack.decode(answer.body)
        return body

    async def _pop(self, api: Api) -> tuple[list[Any], int]:
        found, corrupt = [], 0
        while True:
            body = await self._post(api, "/consumer/consume", consumer_id=5, max_messages=300)
            corrupt += body["corrupt"]
            if not body["messages"]:
                return found, corrupt
            found += [_pick(message) for message in body["messages"]]

    async def _receive(self, api: Api) -> tuple[list[Any], int]:
        found, corrupt = [], 0
        while True:
            body = await self._post(api, "/messages/receive", group="g", max_messages=500)
            corrupt += body["corrupt"]
            assert body["missed"] == 0
            if not body["messages"]:
                return found, corrupt
            found += [_pick(message) for message in body["messages"]]

    async def _fetch(self, api: Api) -> tuple[list[Any], int]:
        found, corrupt, offset = [], 0, 0
        while offset < self.end:
            query = {**self.place, "offset": offset}
            answer = await api.send("GET", "/fetch", query=query, accept=MSGPACK)
            assert answer.status == 200, answer
            body = msgspec.msgpack.decode(answer.body)
            assert body["next_offset"] > offset
            found += [_pick(message) for message in body["messages"]]
            corrupt, offset = corrupt + body["corrupt"], body["next_offset"]
        return found, corrupt

    async def _fetch_batches(self, api: Api) -> tuple[list[Any], int]:
        found: list[Any] = []
        corrupt = offset = 0
        while offset < self.end:
            query = {**self.place, "offset": offset}
            answer = await api.send("GET", "/fetch", query=query, accept=BATCH)
            seen = ClientAnswer(answer.status, answer.headers, answer.body)
            fetched = read_fetched(seen, topic="fuzz", partition=0, offset=offset)
            assert fetched.next_offset > offset
            found += [
                (one.offset, one.timestamp, one.key, one.value, one.headers)
                for one in fetched.messages
            ]
            corrupt, offset = corrupt + fetched.corrupt, fetched.next_offset
        return found, corrupt


def _shown(offset: int, record: Record) -> tuple[Any, ...]:
    return (offset, record.timestamp, record.key, record.value, record.headers)


def _pick(message: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(message[name] for name in ("offset", "timestamp", "key", "message", "headers"))


@pytest.mark.timeout(120 + BATCHES // 20)
async def test_no_batch_stops_a_reader_and_what_is_taken_is_read_by_all(
    runtime: BrokerRuntime,
    engine: EngineTwin,
    settings: Any,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL, "broker_app.log_reading")
    settings.ROOT_URLCONF = "queuesite.urls_broker"
    api, random = (
        Api(HotPaths(ASGIHandler(), HOT_PATHS, bodies=MemoryBudget().bodies)),
        Random(SEED),
    )
    accepted = refused = 0
    memory: PeakMemory | None = None
    for number in range(max(1, BATCHES // ROUND)):
        here = Round(engine, number)
        one = PeakMemory()
        for _ in range(ROUND):
            await here.take(api, fuzzed(random))
        await here.take(api, encode_batch([Record("the last")]))
        await here.read(api)
        assert one.grown() < ROUND_GROWTH_MAX, (SEED, number)
        engine.remove(here.group_id)
        engine.proposals.clear()
        accepted, refused = accepted + here.accepted, refused + here.refused
        if number == 20:
            memory = PeakMemory()
    assert memory is None or memory.grown() < GROWTH_MAX, SEED
    with capsys.disabled():
        print(f"\n    {accepted} batches taken, {refused} refused, seed {SEED}")  # noqa: T201
    assert min(accepted, refused) > BATCHES // 10, SEED
