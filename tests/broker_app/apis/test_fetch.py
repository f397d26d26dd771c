"""GET /fetch and GET /offsets/by-time."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from broker_app.apis import fetch
from broker_app.decoding import AT_ONCE_MAX
from http_base.messages import message_answers
from myqueue.contract.inputs import BATCH
from myqueue.contract.records import decode_records, unframe_batches
from tests.broker_app.apis.conftest import Api, token_of
from tests.broker_app.engine_twin import turns
from tests.broker_app.replica import batch_of

if TYPE_CHECKING:
    from broker_app.runtime import BrokerRuntime
    from tests.broker_app.engine_twin import EngineTwin, ReplicaTwin

PATH = "/fetch"
CALL: dict[str, Any] = {"topic": "logs", "partition": 0}


@pytest.fixture
async def filled(api: Api, engine: EngineTwin) -> Api:
    """Three batches: a b, c, d e f, appended at 1,000, 2,000 and 3,000."""
    for engine.now_ms, values in ((1_000, "ab"), (2_000, "c"), (3_000, "def")):
        await engine.propose(7, batch_of(*values), timeout_ms=1_000)
    return api


async def test_json_begins_exactly_at_the_offset(filled: Api) -> None:
    answer = await filled.get(PATH, **CALL, offset=1)
    fields = answer.json
    assert [message["message"] for message in fields["messages"]] == list("bcdef")
    assert [message["offset"] for message in fields["messages"]] == [1, 2, 3, 4, 5]
    assert (fields["next_offset"], fields["high_watermark"], fields["log_start_offset"]) == (
        6,
        6,
        0,
    )


async def test_json_ends_before_a_batch_that_cannot_be_decoded(
    filled: Api, replica: ReplicaTwin, failure: Any
) -> None:
    batch = replica.batches[1]
    replica.batches[1] = replace(batch, data=batch.data[:-1] + b"\xc1")
    answer = await filled.get(PATH, **CALL, offset=1)
    assert [message["message"] for message in answer.json["messages"]] == ["b"]
    assert answer.json["next_offset"] == 2
    answer = await filled.get(PATH, **CALL, offset=2)
    assert failure(answer) == (400, "CORRUPT_BATCH")
    assert (answer.json["offset"], answer.json["next_offset"]) == (2, 3)
    assert (await filled.get(PATH, **CALL, offset=3)).json["next_offset"] == 6


async def test_batches_come_as_stored(filled: Api, replica: ReplicaTwin) -> None:
    answer = await filled.send("GET", PATH, query={**CALL, "offset": 1}, accept=BATCH)
    assert answer.headers["content-type"] == BATCH
    frames = list(unframe_batches(answer.body))
    assert [(base, bytes(data)) for base, data in frames] == [
        (batch.base_offset, batch.data) for batch in replica.batches
    ]
    assert answer.headers["x-high-watermark"] == "6"
    assert answer.headers["x-log-start-offset"] == "0"
    assert answer.headers["x-next-offset"] == "6"
    assert decode_records(frames[0][1])[0].value == "a"


async def test_max_bytes_returns_one_batch_at_least(filled: Api) -> None:
    answer = await filled.get(PATH, **CALL, offset=0, max_bytes=1)
    assert answer.json["next_offset"] == 2


async def test_high_watermark_itself_waits_and_is_an_empty_success(
    filled: Api, engine: EngineTwin, runtime: BrokerRuntime
) -> None:
    answer = await filled.get(PATH, **CALL, offset=6, wait_ms=5)
    assert (answer.json["messages"], answer.json["next_offset"]) == ([], 6)
    empty = await filled.send("GET", PATH, query={**CALL, "offset": 6}, accept=BATCH)
    assert (empty.status, empty.body) == (200, b"")
    task = asyncio.get_running_loop().create_task(
        filled.get(PATH, **CALL, offset=6, wait_ms=20_000)
    )
    while not runtime.long_polls.waiting:
        await turns(1)
    await engine.propose(7, batch_of("g"), timeout_ms=100)
    assert (await task).json["messages"][0]["message"] == "g"


async def test_leader_refuses_offsets_that_do_not_exist(
    filled: Api, engine: EngineTwin, failure: Any
) -> None:
    for offset in (7, -1):
        answer = await filled.get(PATH, **CALL, offset=offset, wait_ms=20_000)
        assert failure(answer) == (416, "OFFSET_OUT_OF_RANGE")
        assert (answer.json["log_start_offset"], answer.json["high_watermark"]) == (0, 6)
    assert engine.barriers == 1


async def test_follower_serves_what_it_has_and_waits_for_the_rest(
    filled: Api, engine: EngineTwin, replica: ReplicaTwin
) -> None:
    engine.lose(replica)
    assert (await filled.get(PATH, **CALL, offset=5)).json["next_offset"] == 6
    answer = await filled.get(PATH, **CALL, offset=9, wait_ms=5)
    assert (answer.status, answer.json["messages"], answer.json["next_offset"]) == (200, [], 9)
    assert engine.barriers == 0


async def test_replica_without_a_leader_or_with_a_fault_serves_nothing(
    filled: Api, replica: ReplicaTwin, failure: Any
) -> None:
    replica.hears_leader = False
    assert failure(await filled.get(PATH, **CALL, offset=0)) == (503, "NO_LEADER")
    replica.hears_leader, replica.faulty = True, "a bad row"
    assert failure(await filled.get(PATH, **CALL, offset=0)) == (503, "NO_LEADER")


async def test_any_client_of_the_topic_may_fetch(filled: Api, failure: Any) -> None:
    for kind in ("producer", "consumer"):
        answer = await filled.get(PATH, token_of(kind, 77), **CALL, offset=0)
        assert answer.status == 200
    for bearer in (None, token_of("consumer", 77, topic="other")):
        answer = await filled.get(PATH, bearer, **CALL, offset=0)
        assert failure(answer) == (401, "UNAUTHORIZED")


async def test_offsets_are_found_by_append_time(
    filled: Api, engine: EngineTwin, replica: ReplicaTwin, failure: Any
) -> None:
    found = [
        (await filled.get("/offsets/by-time", **CALL, timestamp=timestamp)).json["offset"]
        for timestamp in (0, 1_000, 1_001, 2_000, 2_500, 3_000, 3_001)
    ]
    assert found == [0, 0, 2, 2, 3, 3, 6]
    engine.lose(replica)
    answer = await filled.get("/offsets/by-time", **CALL, timestamp=0)
    assert failure(answer) == (421, "NOT_LEADER")


async def test_wrong_fields_are_refused(filled: Api, failure: Any) -> None:
    for changes in (
        {"offset": "x"},
        {},
        {"offset": 0, "max_bytes": 0},
        {"offset": 0, "wait_ms": -1},
    ):
        answer = await filled.get(PATH, **{**CALL, **changes})
        assert failure(answer) == (400, "INVALID_REQUEST")


async def test_answers_of_many_messages_are_made_beside_the_loop(
    api: Api, engine: EngineTwin, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []

    def noting(*args: Any, **named: Any) -> Any:
        threads.append(threading.current_thread().name)
        return message_answers(*args, **named)

    monkeypatch.setattr(fetch, "message_answers", noting)
    await engine.propose(7, batch_of(*["x"] * AT_ONCE_MAX), timeout_ms=1_000)
    await engine.propose(7, batch_of("y"), timeout_ms=1_000)
    for offset in (0, 1):
        messages = (await api.get(PATH, **CALL, offset=offset)).json["messages"]
        assert [one["offset"] for one in messages] == list(range(offset, AT_ONCE_MAX + 1))
    assert [name.startswith("decoding") for name in threads] == [True, False]
