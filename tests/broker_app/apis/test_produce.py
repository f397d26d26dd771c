"""POST /producer/produce."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from myqueue.contract.inputs import BATCH, MSGPACK
from tests.broker_app.apis.conftest import Api, token_of
from tests.broker_app.replica import batch_of

if TYPE_CHECKING:
    from tests.broker_app.engine_twin import EngineTwin, ReplicaTwin

PATH = "/producer/produce"
CALL: dict[str, Any] = {"topic": "logs", "partition": 0, "producer_id": 1, "message": "a"}


async def test_message_is_appended_and_its_place_answered(api: Api) -> None:
    answer = await api.post(PATH, **CALL)
    assert (answer.status, answer.json) == (
        200,
        {"status": "success", "partition": 0, "base_offset": 0, "count": 1, "term": 1},
    )
    answer = await api.post(
        PATH, name="logs", part=0, producer_id=1, messages=["b", {"message": "c", "key": "k"}]
    )
    assert (answer.json["base_offset"], answer.json["count"]) == (1, 2)


async def test_batch_is_stored_byte_for_byte(api: Api, replica: ReplicaTwin) -> None:
    batch = batch_of("a", "b", sequence=0).batch
    query = {"topic": "logs", "partition": 0, "producer_id": 1}
    for _ in range(2):
        answer = await api.send("POST", PATH, query=query, raw=batch, content_type=BATCH)
        assert (answer.json["base_offset"], answer.json["count"]) == (0, 2)
    assert [stored.data for stored in replica.batches] == [batch]


async def test_messages_come_as_msgpack_too(api: Api, replica: ReplicaTwin) -> None:
    body = msgspec.msgpack.encode({**CALL, "message": b"\xff\x00"})
    answer = await api.send("POST", PATH, raw=body, content_type=MSGPACK, accept=MSGPACK)
    assert msgspec.msgpack.decode(answer.body)["base_offset"] == 0
    assert replica.state_machine.next_offset == 1


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"partition": None}, (400, "INVALID_REQUEST")),
        ({"partition_key": "k"}, (400, "INVALID_REQUEST")),
        ({"partition": -1}, (404, "PARTITION_NOT_FOUND")),
        ({"partition": 1}, (404, "PARTITION_NOT_FOUND")),
        ({"topic": "other"}, (404, "PARTITION_NOT_FOUND")),
        ({"producer_id": 0}, (400, "INVALID_REQUEST")),
        ({"producer_id": "one"}, (400, "INVALID_REQUEST")),
        ({"producer_id": "1.0"}, (400, "INVALID_REQUEST")),
        ({"timeout_ms": 0}, (400, "INVALID_REQUEST")),
        ({"timeout_ms": 10**9}, (400, "INVALID_REQUEST")),
        ({"message": 1}, (400, "INVALID_REQUEST")),
        ({"messages": ["b"]}, (400, "INVALID_REQUEST")),
        ({"unknown": 1}, (400, "INVALID_REQUEST")),
        ({"topic_name": "else"}, (400, "INVALID_REQUEST")),
        ({"request_id": "x" * 65}, (400, "INVALID_REQUEST")),
        ({"producer_epoch": 1}, (400, "INVALID_REQUEST")),
        ({"producer_epoch": 0, "base_sequence": 7}, (409, "UNKNOWN_PRODUCER")),
    ],
)
async def test_wrong_fields_are_refused_and_write_nothing(
    api: Api, engine: EngineTwin, failure: Any, changes: dict[str, Any], expected: Any
) -> None:
    assert failure(await api.post(PATH, **{**CALL, **changes})) == expected
    assert not engine.proposals
    assert (await api.post(PATH, **CALL)).status == 200


async def test_damaged_batches_are_corrupt(api: Api, failure: Any) -> None:
    query = {"topic": "logs", "partition": 0, "producer_id": 1}
    batch = batch_of("a").batch
    for raw in (batch[:-1], b"x" * 80, batch[:60] + b"\x92" + batch[61:]):
        answer = await api.send("POST", PATH, query=query, raw=raw, content_type=BATCH)
        assert failure(answer) == (400, "CORRUPT_BATCH")


async def test_producers_need_their_own_token(api: Api, failure: Any) -> None:
    for bearer in (
        None,
        "nonsense",
        token_of("producer", 2),
        token_of("consumer", 1),
        token_of("producer", 1, topic="other"),
    ):
        assert failure(await api.post(PATH, bearer, **CALL)) == (401, "UNAUTHORIZED")
    assert (await api.post(PATH, token_of("producer", 1), **CALL)).status == 200
    token = token_of("producer", 1)
    assert (await api.post(PATH, None, **CALL, token=token)).status == 200


async def test_follower_names_the_leader(
    api: Api, engine: EngineTwin, replica: ReplicaTwin, failure: Any
) -> None:
    engine.lose(replica, leader=3)
    answer = await api.post(PATH, **CALL)
    assert failure(answer) == (421, "NOT_LEADER")
    assert answer.json["leader"]["broker_id"] == 3


async def test_no_quorum_in_time_leaves_the_outcome_unknown(
    api: Api, engine: EngineTwin, failure: Any
) -> None:
    engine.holding = True
    answer = await api.post(PATH, **CALL, timeout_ms=20)
    assert failure(answer) == (503, "COMMIT_TIMEOUT")
    assert answer.json["outcome"] == "unknown"
