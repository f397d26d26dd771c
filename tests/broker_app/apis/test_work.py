"""POST /messages/receive, /messages/ack, /messages/nack and /messages/extend."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from broker_app.client_origins import ClientOrigins
from broker_app.partition.limits import BrokerLimits
from tests.broker_app.apis.conftest import Api, token_of
from tests.broker_app.engine_twin import turns
from tests.broker_app.replica import batch_of

if TYPE_CHECKING:
    from broker_app.runtime import BrokerRuntime
    from tests.broker_app.engine_twin import EngineTwin, ReplicaTwin

RECEIVE = "/messages/receive"
CALL: dict[str, Any] = {"topic": "logs", "partition": 0, "group": "workers"}
KINDS = ("ack", "nack", "extend")


@pytest.fixture
async def filled(api: Api, engine: EngineTwin) -> Api:
    """With the messages a, b and c."""
    await engine.propose(7, batch_of("a", "b", "c"), timeout_ms=1_000)
    return api


async def receipts(api: Api, **changes: Any) -> list[str]:
    answer = await api.post(RECEIVE, **{**CALL, **changes})
    return [message["receipt"] for message in answer.json["messages"]]


async def test_a_delivery_has_all_the_fields_of_a_message_and_a_receipt(filled: Api) -> None:
    answer = await filled.post(RECEIVE, token_of("consumer", 5), **CALL)
    assert answer.json == {
        "status": "success",
        "topic": "logs",
        "partition": 0,
        "group": "workers",
        "messages": [
            {
                "topic": "logs",
                "partition": 0,
                "offset": 0,
                "timestamp": 1,
                "message": "a",
                "key": None,
                "headers": None,
                "receipt": "2.0.1",
                "delivery_count": 1,
            }
        ],
        "missed": 0,
        "corrupt": 0,
    }


async def test_groups_of_workers_are_named_to_the_cluster_where_they_are_led(
    filled: Api, engine: EngineTwin, replica: ReplicaTwin, failure: Any
) -> None:
    await filled.post("/offsets/commit", topic="logs", partition=0, group="readers", generation=1)
    await filled.post(RECEIVE, **CALL)
    readers, workers = (await filled.get("/groups")).json["standings"]
    assert (readers["group"], readers["is_workers"], readers["lag"]) == ("readers", False, 3)
    assert (workers["group"], workers["topic"], workers["is_workers"]) == ("workers", "logs", True)
    assert (workers["visible"], workers["in_flight"], workers["lag"]) == (2, 1, 3)
    assert failure(await filled.get("/groups", token_of("consumer", 5)))[0] == 401
    engine.lose(replica)
    assert (await filled.get("/groups")).json["standings"] == []


async def test_no_message_is_a_success(api: Api) -> None:
    assert (await api.post(RECEIVE, **CALL)).json["messages"] == []


async def test_receipts_are_settled_and_each_says_what_became_of_it(
    filled: Api, engine: EngineTwin
) -> None:
    first, second = await receipts(filled, max_messages=2)
    answer = await filled.post("/messages/ack", **CALL, receipts=[first, "2.9.1"])
    assert answer.json["results"] == [
        {"receipt": first, "done": True},
        {"receipt": "2.9.1", "done": False, "reason": "unknown"},
    ]
    answer = await filled.post("/messages/nack", **CALL, receipts=[first, second], delay_ms=5)
    assert answer.json["results"] == [
        {"receipt": first, "done": False, "reason": "settled"},
        {"receipt": second, "done": True},
    ]
    answer = await filled.post("/messages/extend", **CALL, receipts=[second], visibility_ms=7)
    assert answer.json["results"] == [{"receipt": second, "done": True}]
    engine.clock += 7
    assert await receipts(filled, delivery_limit=2) == ["2.1.2"]
    answer = await filled.post("/messages/ack", **CALL, receipts=[second])
    assert answer.json["results"][0]["reason"] == "superseded"
    answer = await filled.post("/messages/nack", **CALL, receipts=["2.1.2"])
    assert answer.json["results"] == [{"receipt": "2.1.2", "done": True, "reason": "dead"}]


async def test_the_state_of_a_group_of_workers_is_told(filled: Api, failure: Any) -> None:
    assert failure(await filled.get("/offsets", **CALL)) == (404, "GROUP_NOT_FOUND")
    first, second, third = await receipts(filled, max_messages=3, delivery_limit=1)
    await filled.post("/messages/nack", **CALL, receipts=[third])
    await filled.post("/messages/ack", **CALL, receipts=[second])
    told = (await filled.get("/offsets", **CALL)).json
    assert (told["offset"], told["lag"], told["unsettled"], told["dead"]) == (0, 2, 1, 1)
    await filled.post("/messages/ack", **CALL, receipts=[first])
    told = (await filled.get("/offsets", **CALL)).json
    assert (told["offset"], told["lag"], told["unsettled"], told["dead"]) == (2, 1, 0, 1)
    assert (told["visible"], told["in_flight"], told["delayed"]) == (0, 0, 0)
    assert "age_ms" not in told
    told = (await filled.get("/offsets", **CALL, age=True)).json
    assert told["age_ms"] > 1_000_000, "of a message that was stored in 1970"


async def test_members_and_workers_keep_out_of_each_others_groups(
    filled: Api, failure: Any
) -> None:
    [receipt] = await receipts(filled)
    commit = {**CALL, "generation": 1}
    assert failure(await filled.post("/offsets/commit", **commit)) == (400, "INVALID_REQUEST")
    await filled.post("/messages/ack", **CALL, receipts=[receipt])
    assert (await filled.post("/offsets/commit", **commit)).json["offset"] == 1
    answer = await filled.post(RECEIVE, **CALL)
    assert failure(answer) == (400, "INVALID_REQUEST")
    assert answer.json["field"] == "group"


async def test_a_forgotten_group_begins_anew_and_its_receipts_are_void(filled: Api) -> None:
    [receipt] = await receipts(filled)
    assert (await filled.post("/groups/forget", **CALL)).json["forgotten"] is True
    assert await receipts(filled) == ["4.0.1"]
    answer = await filled.post("/messages/ack", **CALL, receipts=[receipt])
    assert answer.json["results"][0]["reason"] == "unknown"


async def test_long_poll_answers_when_a_message_comes(
    api: Api, engine: EngineTwin, runtime: BrokerRuntime
) -> None:
    task = asyncio.get_running_loop().create_task(api.post(RECEIVE, **CALL, wait_ms=20_000))
    while not runtime.work_waits.waiting:
        await turns(1)
    await engine.propose(7, batch_of("a"), timeout_ms=1_000)
    assert (await task).json["messages"][0]["message"] == "a"


@pytest.mark.parametrize(
    "changes",
    [
        {"group": ""},
        {"group": "a b"},
        {"max_messages": -1},
        {"max_messages": 1_001},
        {"visibility_ms": 0},
        {"visibility_ms": 43_200_001},
        {"delivery_limit": 0},
        {"delivery_limit": 1_001},
        {"dead_letter_topic": "logs"},
        {"dead_letter_topic": ""},
        {"dead_letter_topic": "a/b"},
        {"topic": "x" * 245},
        {"start": "middle"},
        {"wait_ms": 30_001},
        {"timeout_ms": 0},
        {"consumer_id": 5},
    ],
)
async def test_wrong_fields_of_a_receive_are_refused(
    api: Api, failure: Any, changes: dict[str, Any]
) -> None:
    assert failure(await api.post(RECEIVE, **{**CALL, **changes})) == (400, "INVALID_REQUEST")


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("ack", {"receipts": []}),
        ("ack", {"receipts": ["1.1.1"] * 1_001}),
        ("ack", {"receipts": ["nonsense"]}),
        ("ack", {"delay_ms": 1}),
        ("ack", {"visibility_ms": 1}),
        ("nack", {"visibility_ms": 1}),
        ("nack", {"delay_ms": -1}),
        ("extend", {"delay_ms": 1}),
        ("extend", {"visibility_ms": 43_200_001}),
        ("extend", {"group": "."}),
    ],
)
async def test_wrong_fields_of_a_settlement_are_refused(
    api: Api, failure: Any, kind: str, changes: dict[str, Any]
) -> None:
    body = {**CALL, "receipts": ["1.1.1"], **changes}
    assert failure(await api.post(f"/messages/{kind}", **body)) == (400, "INVALID_REQUEST")


async def test_workers_need_the_token_of_a_consumer_of_the_topic(api: Api, failure: Any) -> None:
    for bearer in (None, token_of("producer", 5), token_of("consumer", 5, topic="other")):
        assert failure(await api.post(RECEIVE, bearer, **CALL)) == (401, "UNAUTHORIZED")
        for kind in KINDS:
            answer = await api.post(f"/messages/{kind}", bearer, **CALL, receipts=["1.1.1"])
            assert failure(answer) == (401, "UNAUTHORIZED")


async def test_only_the_leader_serves_workers(
    filled: Api, engine: EngineTwin, replica: ReplicaTwin, failure: Any
) -> None:
    [receipt] = await receipts(filled)
    engine.lose(replica)
    assert failure(await filled.post(RECEIVE, **CALL)) == (421, "NOT_LEADER")
    for kind in KINDS:
        answer = await filled.post(f"/messages/{kind}", **CALL, receipts=[receipt])
        assert failure(answer) == (421, "NOT_LEADER")


async def test_one_address_does_not_fill_the_table_of_groups_by_registering_again(
    filled: Api, runtime: BrokerRuntime, replica: ReplicaTwin, failure: Any
) -> None:
    runtime.client_origins = ClientOrigins(BrokerLimits(groups_per_address_max=5))
    for number in range(5):
        sybil = token_of("consumer", 100 + number)
        assert (await filled.post(RECEIVE, sybil, **{**CALL, "group": f"x{number}"})).status == 200
    another = token_of("consumer", 200)
    answer = await filled.post(RECEIVE, another, **{**CALL, "group": "y"})
    assert failure(answer) == (429, "TOO_MANY_GROUPS")
    assert (answer.json["limit"], answer.json["address"]) == (5, "127.0.0.1")
    commit = {**CALL, "group": "z", "generation": 1}
    assert failure(await filled.post("/offsets/commit", another, **commit))[0] == 429
    assert (await filled.post(RECEIVE, another, **{**CALL, "group": "x0"})).status == 200
    assert (await filled.post("/offsets/commit", **commit)).status == 200, "the cluster may"


async def test_one_token_does_not_fill_the_table_of_groups(
    filled: Api, replica: ReplicaTwin, failure: Any
) -> None:
    mallory, alice = token_of("consumer", 66), token_of("consumer", 5)
    call = {**CALL, "visibility_ms": 60_000}
    for number in range(60):
        answer = await filled.post(RECEIVE, mallory, **{**call, "group": f"x{number}"})
    assert failure(answer) == (429, "TOO_MANY_GROUPS")
    assert (answer.json["limit"], answer.json["consumer_id"]) == (50, 66)
    through_a_manager = {**call, "group": "y", "token": mallory}
    assert failure(await filled.post(RECEIVE, **through_a_manager)) == (429, "TOO_MANY_GROUPS")
    assert len((await filled.post(RECEIVE, alice, **call)).json["messages"]) == 1
    commit = {**CALL, "group": "z", "generation": 1}
    assert failure(await filled.post("/offsets/commit", mallory, **commit))[0] == 429
    assert (await filled.post("/offsets/commit", alice, **commit)).status == 200
    assert replica.state_machine.table_sizes().consumer_groups == 52


async def test_groups_in_which_nothing_was_delivered_go_with_their_consumer(
    filled: Api, replica: ReplicaTwin
) -> None:
    mallory = token_of("consumer", 66)
    for number in range(20):
        commit = {**CALL, "group": f"c{number}", "generation": 1}
        assert (await filled.post("/offsets/commit", mallory, **commit)).status == 200
    first = await filled.post(RECEIVE, mallory, **{**CALL, "group": "w", "visibility_ms": 1_000})
    assert replica.state_machine.table_sizes().consumer_groups == 21
    await filled.post("/clients/forget", topic="logs", partition=0, consumer_id=66)
    assert replica.state_machine.table_sizes().consumer_groups == 1
    receipts = [message["receipt"] for message in first.json["messages"]]
    alice = token_of("consumer", 5)
    call = {"topic": "logs", "partition": 0, "group": "w", "receipts": receipts}
    given_back = await filled.post("/messages/nack", alice, **call)
    assert given_back.json["results"][0]["done"], given_back.json
    again = await filled.post(RECEIVE, alice, **{**CALL, "group": "w"})
    assert [message["delivery_count"] for message in again.json["messages"]] == [2]


async def test_the_cluster_speaks_for_a_client_by_its_token_alone(
    filled: Api, failure: Any
) -> None:
    for token in (token_of("producer", 5), token_of("consumer", 5, topic="other"), "nonsense"):
        assert failure(await filled.post(RECEIVE, **CALL, token=token)) == (401, "UNAUTHORIZED")
