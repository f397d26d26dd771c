"""Batches that nobody can decode: refused at the door, stepped over where they are stored."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from broker_app.partition.commands import AppendBatch
from myqueue.contract.http1 import Answer as ClientAnswer
from myqueue.contract.inputs import BATCH, MSGPACK
from myqueue.contract.records import (
    CODEC_ZSTD,
    MAX_HEADER_BYTES,
    MAX_KEY_BYTES,
    MAX_MESSAGE_BYTES,
    Record,
    encode_batch,
    read_header,
)
from myqueue.transport.fetching import read_fetched
from tests.batches import MIB, bomb, undecodable
from tests.broker_app.replica import batch_of
from tests.peak_memory import PeakMemory

if TYPE_CHECKING:
    from tests.broker_app.apis.conftest import Api
    from tests.broker_app.engine_twin import EngineTwin

PLACE = {"topic": "logs", "partition": 0}
MEMORY_MAX = 50 * MIB


async def store(engine: EngineTwin, batch: bytes) -> int:
    """Append a batch past the check at the door; return how many messages it says it has."""
    header = read_header(batch)
    await engine.propose(7, AppendBatch(batch, header), timeout_ms=1_000)
    return header.record_count


def values(answer: Any) -> list[Any]:
    assert answer.status == 200, answer
    return [message["message"] for message in answer.json["messages"]]


@pytest.mark.parametrize("kind", undecodable())
async def test_it_is_refused_at_the_door(
    api: Api, engine: EngineTwin, failure: Any, kind: str
) -> None:
    query = {**PLACE, "producer_id": 1}
    send = functools.partial(api.send, "POST", "/producer/produce", query=query, content_type=BATCH)
    memory = PeakMemory()
    answer = await send(raw=undecodable()[kind])
    assert failure(answer) == (400, "CORRUPT_BATCH")
    assert memory.grown() < MEMORY_MAX
    assert not engine.proposals
    assert (await send(raw=batch_of("good").batch)).status == 200


async def test_the_refusal_says_which_message_and_what_of_it(api: Api, failure: Any) -> None:
    query = {**PLACE, "producer_id": 1}
    raw = undecodable()["a header of nil"]
    answer = await api.send("POST", "/producer/produce", query=query, raw=raw, content_type=BATCH)
    assert failure(answer) == (400, "CORRUPT_BATCH")
    assert (answer.json["record"], answer.json["field"]) == (0, "headers")


BEYOND = {
    "message": Record("x" * (MAX_MESSAGE_BYTES + 1), timestamp=1),
    "key": Record("v", b"x" * (MAX_KEY_BYTES + 1)),
    "headers": Record("v", None, {"h": "\u00e9" * (MAX_HEADER_BYTES // 2 + 1)}),
    "timestamp": Record("v", timestamp=-1),
}


@pytest.mark.parametrize("field", BEYOND)
async def test_a_message_beyond_its_limits_is_refused_and_was_read_when_it_was_stored(
    api: Api, engine: EngineTwin, failure: Any, field: str
) -> None:
    raw = encode_batch([Record("a"), BEYOND[field]])
    query = {**PLACE, "producer_id": 1}
    answer = await api.send("POST", "/producer/produce", query=query, raw=raw, content_type=BATCH)
    assert failure(answer) == (400, "CORRUPT_BATCH")
    assert (answer.json["record"], answer.json["field"]) == (1, field)
    assert not engine.proposals
    await store(engine, raw)
    fetched = await api.get("/fetch", **PLACE, offset=0)
    assert values(fetched) == ["a", BEYOND[field].value]
    assert (fetched.json["corrupt"], fetched.json["next_offset"]) == (0, 2)


@pytest.mark.parametrize("kind", undecodable())
async def test_every_reader_steps_over_it_when_it_is_stored(
    api: Api, engine: EngineTwin, kind: str
) -> None:
    await store(engine, batch_of("a").batch)
    count = await store(engine, undecodable()[kind])
    await store(engine, batch_of("b").batch)
    memory = PeakMemory()
    call = {**PLACE, "consumer_id": 5, "max_messages": 100, "request_id": "r1"}
    for _ in range(2):
        popped = await api.post("/consumer/consume", **call)
        assert (values(popped), popped.json["corrupt"]) == (["a", "b"], count)
        assert [one["offset"] for one in popped.json["messages"]] == [0, 1 + count]
    fetched = await api.get("/fetch", **PLACE, offset=0)
    assert (values(fetched), fetched.json["corrupt"]) == (["a", "b"], count)
    assert fetched.json["next_offset"] == 2 + count
    got, corrupt = [], 0
    for _ in range(2):
        received = await api.post("/messages/receive", **PLACE, group="g", max_messages=100)
        got += values(received)
        corrupt += received.json["corrupt"]
        assert received.json["missed"] == 0, "retention has nothing to do with it"
    assert (got, corrupt) == (["a", "b"], count)
    answer = await api.send("GET", "/fetch", query={**PLACE, "offset": 0}, accept=BATCH)
    library = read_fetched(
        ClientAnswer(answer.status, answer.headers, answer.body),
        topic="logs",
        partition=0,
        offset=0,
    )
    assert [message.value for message in library.messages] == ["a", "b"]
    assert (library.corrupt, library.next_offset) == (count, 2 + count)
    assert memory.grown() < MEMORY_MAX


async def test_single_pop_behind_it_tells_and_an_empty_one_too(
    api: Api, engine: EngineTwin, failure: Any
) -> None:
    call = {**PLACE, "consumer_id": 5}
    await store(engine, undecodable()["no value"])
    answer = await api.post("/consumer/consume", **call)
    assert failure(answer) == (404, "QUEUE_EMPTY")
    assert answer.json["corrupt"] == 1
    assert "corrupt" not in (await api.post("/consumer/consume", **call)).json
    await store(engine, undecodable()["no value"])
    await store(engine, batch_of("a").batch)
    answer = await api.post("/consumer/consume", **call)
    assert (answer.json["message"], answer.json["corrupt"]) == ("a", 1)


async def test_many_bombs_in_one_answer_take_no_more_than_one(api: Api, engine: EngineTwin) -> None:
    for _ in range(100):
        await store(engine, bomb(64 * MIB))
    await store(engine, batch_of("a").batch)
    memory = PeakMemory()
    call = {**PLACE, "consumer_id": 5, "max_messages": 10}
    popped = await api.post("/consumer/consume", **call)
    assert (values(popped), popped.json["corrupt"]) == (["a"], 100)
    assert values(await api.get("/fetch", **PLACE, offset=0)) == ["a"]
    assert memory.grown() < MEMORY_MAX


async def test_what_was_well_compressed_is_not_all_inflated_for_one_answer(
    api: Api, engine: EngineTwin
) -> None:
    value = "x" * MIB
    for _ in range(60):
        await store(engine, encode_batch([Record(value)], codec=CODEC_ZSTD))
    memory = PeakMemory()
    query = {**PLACE, "offset": 0}
    answer = await api.send("GET", "/fetch", query=query, accept=MSGPACK)
    body = msgspec.msgpack.decode(answer.body)
    assert 8 <= len(body["messages"]) <= 9
    assert body["next_offset"] == len(body["messages"])
    assert memory.grown() < MEMORY_MAX
