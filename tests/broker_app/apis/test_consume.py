"""GET and POST /consumer/consume, GET /size."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from myqueue.contract.inputs import MSGPACK
from tests.broker_app.apis.conftest import Api, token_of
from tests.broker_app.engine_twin import turns
from tests.broker_app.replica import batch_of

if TYPE_CHECKING:
    from broker_app.runtime import BrokerRuntime
    from tests.broker_app.engine_twin import EngineTwin, ReplicaTwin

PATH = "/consumer/consume"
CALL: dict[str, Any] = {"topic": "logs", "partition": 0, "consumer_id": 5}
NASTY = ["", "\x00", "'\"\\", "\N{PILE OF POO}\u2028", "<script>"]


async def produce(engine: EngineTwin, *values: str) -> None:
    await engine.propose(7, batch_of(*values), timeout_ms=1_000)


async def test_single_message_has_all_its_fields(api: Api, engine: EngineTwin) -> None:
    await produce(engine, "a")
    answer = await api.get(PATH, **CALL)
    assert answer.json == {
        "status": "success",
        "topic": "logs",
        "partition": 0,
        "offset": 0,
        "timestamp": 1,
        "message": "a",
        "key": None,
        "headers": None,
        "missed": 0,
        "corrupt": 0,
    }


async def test_single_message_of_an_empty_partition_is_queue_empty(api: Api, failure: Any) -> None:
    answer = await api.post(PATH, **CALL)
    assert failure(answer) == (404, "QUEUE_EMPTY")
    assert answer.json["message"].startswith("QEmpty: ")


async def test_list_may_be_empty(api: Api, engine: EngineTwin) -> None:
    assert (await api.post(PATH, **CALL, max_messages=5)).json["messages"] == []
    await produce(engine, *NASTY)
    answer = await api.post(PATH, **CALL, max_messages=100)
    assert [message["message"] for message in answer.json["messages"]] == NASTY
    assert [message["offset"] for message in answer.json["messages"]] == [0, 1, 2, 3, 4]


async def test_bytes_come_back_as_sent_in_msgpack_and_as_base64_in_json(api: Api) -> None:
    message = {"message": b"\xff\x00", "key": b"k", "headers": {"h": b"\xfe"}}
    body = {"topic": "logs", "partition": 0, "producer_id": 1, "messages": [message]}
    raw = msgspec.msgpack.encode(body)
    await api.send("POST", "/producer/produce", raw=raw, content_type=MSGPACK)
    answer = await api.send("POST", PATH, body={**CALL, "request_id": "r"}, accept=MSGPACK)
    assert msgspec.msgpack.decode(answer.body).items() >= message.items()
    again = await api.send("POST", PATH, body={**CALL, "request_id": "r"}, accept="*/*")
    assert (again.json["message"], again.json["message_base64"]) == (None, "/wA=")
    assert again.json["key"] == "k"


async def test_long_poll_answers_when_a_message_comes(
    api: Api, engine: EngineTwin, runtime: BrokerRuntime
) -> None:
    task = asyncio.get_running_loop().create_task(api.post(PATH, **CALL, wait_ms=20_000))
    while not runtime.long_polls.waiting:
        await turns(1)
    await produce(engine, "a")
    assert (await task).json["message"] == "a"


@pytest.mark.parametrize(
    "changes",
    [
        {"partition": None},
        {"partition_key": 3},
        {"consumer_id": 0},
        {"max_messages": 0},
        {"max_messages": 10_001},
        {"max_bytes": 0},
        {"wait_ms": 30_001},
        {"wait_ms": -1},
        {"request_id": ""},
        {"consumer_id": None},
        {"consumer_id": 1 << 70},
    ],
)
async def test_wrong_fields_are_refused(api: Api, failure: Any, changes: dict[str, Any]) -> None:
    assert failure(await api.post(PATH, **{**CALL, **changes})) == (400, "INVALID_REQUEST")


async def test_consumers_need_their_own_token(api: Api, failure: Any) -> None:
    for bearer in (None, token_of("consumer", 6), token_of("producer", 5)):
        assert failure(await api.get(PATH, bearer, **CALL)) == (401, "UNAUTHORIZED")
        assert failure(await api.get("/size", bearer, **CALL)) == (401, "UNAUTHORIZED")
    bearer = token_of("consumer", 5)
    assert (await api.get("/size", bearer, **CALL)).json["size"] == 0


async def test_overdue_tokens_are_taken_while_no_manager_answers(
    api: Api, runtime: BrokerRuntime, failure: Any
) -> None:
    days = 24 * 3600 * 1000
    bearer = token_of("consumer", 5, age_ms=33 * days)
    assert (await api.get("/size", bearer, **CALL)).status == 200
    runtime.link.last_contact = asyncio.get_running_loop().time()
    assert failure(await api.get("/size", bearer, **CALL)) == (401, "UNAUTHORIZED")
    runtime.link.last_contact = None
    oldest = token_of("consumer", 5, age_ms=38 * days)
    assert failure(await api.get("/size", oldest, **CALL)) == (401, "UNAUTHORIZED")


async def test_revoked_consumers_are_refused(
    api: Api, runtime: BrokerRuntime, failure: Any
) -> None:
    runtime.revoke([9], [5])
    bearer = token_of("consumer", 5)
    assert failure(await api.get(PATH, bearer, **CALL)) == (401, "UNAUTHORIZED")


async def test_size_counts_what_is_left(
    api: Api, engine: EngineTwin, replica: ReplicaTwin, failure: Any
) -> None:
    await produce(engine, "a", "b", "c")
    await api.post(PATH, **CALL)
    answer = await api.get("/size", **CALL)
    assert answer.json == {"status": "success", "topic": "logs", "partition": 0, "size": 2}
    assert (await api.get("/size", **{**CALL, "consumer_id": 6})).json["size"] == 3
    await api.post(PATH, **CALL, request_id="one")
    answer = await api.get("/size", **CALL, request_id="one")
    assert (answer.json["size"], answer.json["remembers"]) == (1, True)
    answer = await api.get("/size", **CALL, request_id="two")
    assert (answer.json["size"], answer.json["remembers"]) == (1, False)
    assert failure(await api.get("/size", **CALL, request_id="")) == (400, "INVALID_REQUEST")
    engine.lose(replica)
    assert failure(await api.get("/size", **CALL)) == (421, "NOT_LEADER")


async def test_size_waits_for_a_message(
    api: Api, engine: EngineTwin, runtime: BrokerRuntime
) -> None:
    assert (await api.get("/size", **CALL, wait_ms=5)).json["size"] == 0
    task = asyncio.get_running_loop().create_task(api.get("/size", **CALL, wait_ms=20_000))
    while not runtime.long_polls.waiting:
        await turns(1)
    await produce(engine, "a")
    assert (await task).json["size"] == 1
