"""POST /fetch: several partitions of a broker in one call."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from broker_app.partition.commands import AppendBatch
from myqueue.contract.inputs import MSGPACK
from myqueue.contract.records import (
    CODEC_ZSTD,
    Record,
    encode_batch,
    read_header,
    unframe_batches,
)
from tests.batches import MIB
from tests.broker_app.apis.conftest import token_of
from tests.broker_app.apis.several import FIRST, OTHER, SECOND, append, told
from tests.broker_app.engine_twin import turns

if TYPE_CHECKING:
    from broker_app.runtime import BrokerRuntime
    from tests.broker_app.apis.conftest import Api
    from tests.broker_app.engine_twin import EngineTwin, ReplicaTwin

PATH = "/fetch"


@pytest.fixture(autouse=True)
def replicas(engine: EngineTwin, replica: ReplicaTwin) -> None:
    engine.add("logs", 1, SECOND)
    engine.add("other", 0, OTHER)


def from_(topic: str, partition: int, offset: int = 0) -> dict[str, Any]:
    return {"topic": topic, "partition": partition, "offset": offset}


ALL = [from_("logs", 0), from_("logs", 1), from_("other", 0)]


async def test_each_partition_that_has_something_is_answered(api: Api, engine: EngineTwin) -> None:
    await append(engine, FIRST, "a", "b")
    await append(engine, OTHER, "c")
    answer = await api.post(PATH, partitions=[from_("logs", 0, 1), *ALL[1:]], wait_ms=30_000)
    assert told(answer) == [("logs", 0, "b"), ("other", 0, "c")]
    assert answer.json["partitions"][0]["next_offset"] == 2
    nothing = await api.post(PATH, partitions=[from_("logs", 0, 2), from_("logs", 1)])
    assert told(nothing) == []


async def test_one_call_waits_for_the_first_message_of_any(
    api: Api, engine: EngineTwin, runtime: BrokerRuntime
) -> None:
    waiting = asyncio.get_running_loop().create_task(api.post(PATH, partitions=ALL, wait_ms=30_000))
    while not runtime.long_polls.waiting:
        await turns(1)
    assert runtime.long_polls.waiting == 1, "one waiter for all of them"
    await append(engine, SECOND, "x")
    assert told(await waiting) == [("logs", 1, "x")]
    assert runtime.long_polls.waiting == 0
    assert not runtime.long_polls.places, "nothing is left of the others"


async def test_it_ends_empty_after_its_time(api: Api) -> None:
    assert told(await api.post(PATH, partitions=ALL, wait_ms=5)) == []


async def test_what_cannot_be_read_has_an_error_and_keeps_nobody_waiting(
    api: Api, engine: EngineTwin
) -> None:
    await append(engine, FIRST, "a")
    wanted = [from_("logs", 3), from_("logs", 0, 5), from_("logs", 0), from_("logs", 1)]
    answer = await api.post(PATH, partitions=wanted, wait_ms=30_000)
    assert told(answer) == [
        ("logs", 3, "PARTITION_NOT_FOUND"),
        ("logs", 0, "OFFSET_OUT_OF_RANGE"),
        ("logs", 0, "a"),
    ]
    assert answer.json["partitions"][1]["error"]["high_watermark"] == 1


async def test_a_lost_leader_ends_the_waiting(
    api: Api, engine: EngineTwin, runtime: BrokerRuntime
) -> None:
    waiting = asyncio.get_running_loop().create_task(api.post(PATH, partitions=ALL, wait_ms=30_000))
    while not runtime.long_polls.waiting:
        await turns(1)
    engine.replicas[SECOND].hears_leader = False
    engine.lose(engine.replicas[SECOND])
    assert told(await waiting) == [("logs", 1, "NO_LEADER")]


async def test_all_together_stay_below_max_bytes_but_for_one_batch(
    api: Api, engine: EngineTwin
) -> None:
    for group_id in (FIRST, SECOND, OTHER):
        await append(engine, group_id, "x" * 1_000)
    for max_bytes, parts in ((1, 1), (1_500, 2), (10_000, 3)):
        answer = await api.post(PATH, partitions=ALL, max_bytes=max_bytes)
        assert len(answer.json["partitions"]) == parts


async def test_stored_batches_come_as_they_are_in_messagepack_alone(
    api: Api, engine: EngineTwin, failure: Any
) -> None:
    await append(engine, FIRST, "a", "b")
    body = {"partitions": ALL, "stored": True}
    answer = await api.send("POST", PATH, body=body, accept=MSGPACK)
    [part] = msgspec.msgpack.decode(answer.body)["partitions"]
    [(base_offset, batch)] = unframe_batches(part["batches"])
    assert (base_offset, bytes(batch)) == (0, engine.replicas[FIRST].batches[0].data)
    assert (part["next_offset"], part["high_watermark"], part["log_start_offset"]) == (2, 2, 0)
    assert "messages" not in part
    if not api.is_direct:
        assert failure(await api.post(PATH, **body)) == (400, "INVALID_REQUEST")


async def test_each_topic_needs_a_token_of_its_own(api: Api, engine: EngineTwin) -> None:
    await append(engine, FIRST, "a")
    await append(engine, OTHER, "b")
    logs, other = token_of("consumer", 5), token_of("consumer", 6, topic="other")
    wanted = [from_("logs", 0), from_("other", 0)]
    refused = [("other", 0, "UNAUTHORIZED"), ("logs", 0, "a")]
    assert told(await api.post(PATH, logs, partitions=wanted)) == refused
    assert told(await api.post(PATH, None, partitions=wanted, token=logs)) == refused
    both = {"logs": logs, "other": other}
    answer = await api.post(PATH, None, partitions=wanted, tokens=both)
    assert told(answer) == [("logs", 0, "a"), ("other", 0, "b")]
    swapped = {"logs": other, "other": logs}
    answer = await api.post(PATH, None, partitions=wanted, tokens=swapped)
    assert {code for *_, code in told(answer)} == {"UNAUTHORIZED"}


@pytest.mark.parametrize(
    "partitions",
    [[], [{"topic": "logs"}], [{**ALL[0], "wait_ms": 1}], [from_("logs", 0)] * 257, "logs"],
    ids=["none", "no offset", "unknown field", "too many", "no list"],
)
async def test_a_wrong_list_is_refused(api: Api, failure: Any, partitions: Any) -> None:
    answer = await api.post(PATH, partitions=partitions)
    assert failure(answer) == (400, "INVALID_REQUEST")
    assert "partitions" in answer.json["message"]


async def test_what_was_well_compressed_is_not_all_inflated_for_one_answer(
    api: Api, engine: EngineTwin
) -> None:
    batch = encode_batch([Record("x" * MIB)] * 7, codec=CODEC_ZSTD)
    places = [from_("packed", partition) for partition in range(6)]
    for number, _ in enumerate(places):
        engine.add("packed", number, 100 + number)
        request = AppendBatch(batch, read_header(batch))
        await engine.propose(100 + number, request, timeout_ms=1_000)
    found = 0
    while left := [one for one in places if not one["offset"]]:
        answer = await api.send("POST", PATH, body={"partitions": left}, accept=MSGPACK)
        parts = msgspec.msgpack.decode(answer.body)["partitions"]
        assert 1 <= len(parts) <= 2
        for part in parts:
            found += len(part["messages"])
            places[part["partition"]]["offset"] = part["next_offset"]
    assert found == 7 * len(places)
