"""POST /consumer/consume: several partitions of a broker in one call."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from broker_app.partition.commands import PopMessages
from broker_app.services.consume import POPPED_AT_ONCE_MAX
from tests.broker_app.apis.conftest import token_of
from tests.broker_app.apis.several import FIRST, OTHER, SECOND, append, begun, told
from tests.broker_app.engine_twin import turns

if TYPE_CHECKING:
    from broker_app.runtime import BrokerRuntime
    from tests.broker_app.apis.conftest import Api
    from tests.broker_app.engine_twin import EngineTwin, ReplicaTwin

PATH = "/consumer/consume"


@pytest.fixture(autouse=True)
def replicas(engine: EngineTwin, replica: ReplicaTwin) -> None:
    engine.add("logs", 1, SECOND)
    engine.add("other", 0, OTHER)


def from_(topic: str, partition: int, request_id: str = "r", **fields: Any) -> dict[str, Any]:
    place = {"topic": topic, "partition": partition, "consumer_id": 5}
    return {**place, "request_id": f"{request_id}-{topic}-{partition}", **fields}


def all_of(request_id: str) -> list[dict[str, Any]]:
    return [from_(*place, request_id) for place in (("logs", 0), ("logs", 1), ("other", 0))]


async def test_each_partition_that_has_something_is_popped_from_once(
    api: Api, engine: EngineTwin
) -> None:
    await append(engine, FIRST, "a", "b")
    await append(engine, OTHER, "c")
    call = {"partitions": all_of("r"), "max_messages": 10, "wait_ms": 30_000}
    answer = await api.post(PATH, **call)
    assert told(answer) == [("logs", 0, "ab"), ("other", 0, "c")]
    assert [part["missed"] + part["corrupt"] for part in answer.json["partitions"]] == [0, 0]
    assert (await api.post(PATH, **call)).json == answer.json, "a repetition gets the same"
    nothing = await api.post(PATH, partitions=all_of("s"), max_messages=10)
    assert told(nothing) == []
    assert sum(isinstance(one, PopMessages) for one in engine.proposals) == 2


async def test_one_call_waits_for_the_first_message_of_any(
    api: Api, engine: EngineTwin, runtime: BrokerRuntime
) -> None:
    waiting = await begun(api, PATH, runtime.long_polls, partitions=all_of("r"), max_messages=10)
    assert runtime.long_polls.waiting == 1, "one waiter for all of them"
    await append(engine, SECOND, "x")
    assert told(await waiting) == [("logs", 1, "x")]
    assert runtime.long_polls.waiting == 0
    assert not runtime.long_polls.places, "nothing is left of the others"
    assert not runtime.pop_tries


async def test_the_pop_follows_its_message_into_the_log(
    api: Api, engine: EngineTwin, runtime: BrokerRuntime
) -> None:
    waiting = await begun(api, PATH, runtime.long_polls, partitions=all_of("r"), max_messages=10)
    engine.holding = True
    appending = asyncio.get_running_loop().create_task(append(engine, SECOND, "x"))
    await turns(5)
    assert [type(one).__name__ for one in engine.proposals] == ["AppendBatch", "PopMessages"]
    engine.release()
    assert told(await waiting) == [("logs", 1, "x")]
    await appending


async def test_it_ends_empty_after_its_time_and_has_taken_nothing(
    api: Api, engine: EngineTwin
) -> None:
    assert told(await api.post(PATH, partitions=all_of("r"), wait_ms=5)) == []
    await append(engine, FIRST, "a")
    assert told(await api.post(PATH, partitions=all_of("s"))) == [("logs", 0, "a")]


async def test_a_repetition_ends_the_wait_of_the_earlier_try(
    api: Api, engine: EngineTwin, runtime: BrokerRuntime
) -> None:
    """Nobody waits for the earlier one any more: what it took would be lost."""
    first = await begun(api, PATH, runtime.long_polls, partitions=all_of("r"), max_messages=10)
    assert told(await api.post(PATH, partitions=all_of("r"), max_messages=10)) == []
    await append(engine, FIRST, "a")
    await append(engine, OTHER, "b")
    left = await api.post(PATH, partitions=all_of("s"), max_messages=10)
    assert told(left) == [("logs", 0, "a"), ("other", 0, "b")]
    runtime.long_polls.end()
    assert told(await first) == []


async def test_all_together_have_no_more_messages_than_asked_for(
    api: Api, engine: EngineTwin
) -> None:
    for group_id in (FIRST, SECOND, OTHER):
        await append(engine, group_id, "a", "b")
    call = {"partitions": all_of("r"), "max_messages": 3}
    assert told(await api.post(PATH, **call)) == [("logs", 0, "ab"), ("logs", 1, "a")]
    rest = await api.post(PATH, partitions=all_of("s"), max_messages=100)
    assert told(rest) == [("logs", 1, "b"), ("other", 0, "ab")]


async def test_one_answer_has_messages_of_so_many_partitions(api: Api, engine: EngineTwin) -> None:
    count = POPPED_AT_ONCE_MAX + 3
    for number in range(count):
        engine.add("many", number, 100 + number)
        await append(engine, 100 + number, "x")
    wanted = [from_("many", number) for number in range(count)]
    call = {"partitions": wanted, "max_messages": 10_000, "wait_ms": 30_000}
    assert len(told(await api.post(PATH, **call))) == POPPED_AT_ONCE_MAX
    rest = [from_("many", number, "s") for number in range(count)]
    assert len(told(await api.post(PATH, **{**call, "partitions": rest}))) == 3


async def test_without_messages_it_says_where_there_are_some(
    api: Api, engine: EngineTwin, runtime: BrokerRuntime
) -> None:
    look = {
        "partitions": [{**one, "request_id": None} for one in all_of("r")],
        "max_messages": 0,
    }
    assert told(await api.post(PATH, **look)) == []
    waiting = await begun(api, PATH, runtime.long_polls, **look)
    await append(engine, SECOND, "x")
    for answer in (await waiting, await api.post(PATH, **look)):
        assert answer.json["partitions"] == [{"topic": "logs", "partition": 1}]
    assert not any(isinstance(one, PopMessages) for one in engine.proposals)


async def test_what_cannot_be_popped_from_has_an_error_and_keeps_nobody_waiting(
    api: Api, engine: EngineTwin, runtime: BrokerRuntime
) -> None:
    await append(engine, FIRST, "a")
    engine.lose(engine.replicas[SECOND])
    wanted = [from_("logs", 3), from_("logs", 1), from_("logs", 0)]
    answer = await api.post(PATH, partitions=wanted, max_messages=2, wait_ms=30_000)
    assert told(answer)[0] == ("logs", 3, "PARTITION_NOT_FOUND")
    assert ("logs", 1, "NOT_LEADER") in told(answer)
    waiting = await begun(
        api, PATH, runtime.long_polls, partitions=[from_("other", 0), from_("logs", 0, "s")]
    )
    engine.lose(engine.replicas[OTHER])
    assert told(await waiting) == [("other", 0, "NOT_LEADER")]
    look = await api.post(PATH, partitions=[from_("other", 0)], max_messages=0, wait_ms=30_000)
    assert told(look) == [("other", 0, "NOT_LEADER")]


async def test_an_unknown_outcome_is_that_of_its_partition_alone(
    api: Api, engine: EngineTwin
) -> None:
    await append(engine, FIRST, "a")
    await append(engine, SECOND, "b")
    engine.holding = True
    call = {"partitions": all_of("r"), "max_messages": 2, "wait_ms": 30_000, "timeout_ms": 30}
    answer = await api.post(PATH, **call)
    assert told(answer) == [("logs", 0, "COMMIT_TIMEOUT"), ("logs", 1, "COMMIT_TIMEOUT")]
    assert {part["error"]["outcome"] for part in answer.json["partitions"]} == {"unknown"}
    engine.release()
    again = await api.post(PATH, **call)
    assert told(again) == [("logs", 0, "a"), ("logs", 1, "b")], "the repetition finds it out"


async def test_each_consumer_needs_its_own_token(api: Api, engine: EngineTwin) -> None:
    await append(engine, FIRST, "a")
    await append(engine, OTHER, "b")
    logs, other = token_of("consumer", 5), token_of("consumer", 6, topic="other")
    wanted = [from_("logs", 0), from_("other", 0, consumer_id=6)]
    refused = [("other", 0, "UNAUTHORIZED"), ("logs", 0, "a")]
    assert told(await api.post(PATH, logs, partitions=wanted)) == refused
    both = {"logs": logs, "other": other}
    answer = await api.post(PATH, None, partitions=wanted, tokens=both, max_messages=2)
    assert told(answer) == [("logs", 0, "a"), ("other", 0, "b")]
    others = [from_("logs", 0, consumer_id=6)]
    assert told(await api.post(PATH, logs, partitions=others)) == [("logs", 0, "UNAUTHORIZED")]
    nobody = [from_("logs", 0, consumer_id=0)]
    assert told(await api.post(PATH, partitions=nobody)) == [("logs", 0, "INVALID_REQUEST")]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"partitions": []}, "partitions"),
        ({"partitions": "logs"}, "partitions"),
        ({"partitions": [{"topic": "logs", "partition": 0}]}, "consumer_id"),
        ({"partitions": [{**from_("logs", 0), "request_id": None}]}, "request_id"),
        ({"partitions": [from_("logs", 0)] * 257}, "partitions"),
        ({"max_messages": -1}, "max_messages"),
        ({"max_messages": 10_001}, "max_messages"),
        ({"topic": "logs"}, "topic"),
    ],
)
async def test_a_wrong_list_is_refused(
    api: Api, failure: Any, changes: dict[str, Any], field: str
) -> None:
    answer = await api.post(PATH, **{"partitions": all_of("r"), **changes})
    assert failure(answer) == (400, "INVALID_REQUEST")
    assert field in answer.json["message"]
