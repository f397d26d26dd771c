"""POST /messages/receive: which of several partitions have something for a group's workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from broker_app.partition.commands import ReceiveMessages
from broker_app.services import work as work_service
from tests.broker_app.apis.conftest import token_of
from tests.broker_app.apis.several import FIRST, OTHER, SECOND, append, begun
from tests.broker_app.engine_twin import turns

if TYPE_CHECKING:
    from broker_app.runtime import BrokerRuntime
    from tests.broker_app.apis.conftest import Api
    from tests.broker_app.engine_twin import EngineTwin, ReplicaTwin

PATH = "/messages/receive"
ALL = [
    {"topic": "logs", "partition": 0},
    {"topic": "logs", "partition": 1},
    {"topic": "other", "partition": 0},
]
LOOK: dict[str, Any] = {"partitions": ALL, "group": "workers"}


@pytest.fixture(autouse=True)
def replicas(engine: EngineTwin, replica: ReplicaTwin) -> None:
    engine.add("logs", 1, SECOND)
    engine.add("other", 0, OTHER)


def told(answer: Any) -> list[tuple[str, int, str]]:
    """Return (topic, partition, code of the error if there is one) of each part of an answer."""
    assert answer.status == 200, answer
    return [
        (part["topic"], part["partition"], part.get("error", {}).get("code", ""))
        for part in answer.json["partitions"]
    ]


async def test_those_that_have_something_are_named_and_nothing_is_delivered(
    api: Api, engine: EngineTwin
) -> None:
    assert told(await api.post(PATH, **LOOK)) == []
    assert engine.barriers == len(ALL), "a quorum said so"
    await append(engine, FIRST, "a")
    await append(engine, OTHER, "b")
    answer = await api.post(PATH, wait_ms=30_000, **LOOK)
    assert told(answer) == [("logs", 0, ""), ("other", 0, "")]
    assert not any(isinstance(one, ReceiveMessages) for one in engine.proposals)


async def test_one_call_waits_for_the_first_message_of_any(
    api: Api, engine: EngineTwin, runtime: BrokerRuntime
) -> None:
    waiting = await begun(api, PATH, runtime.work_waits, **LOOK)
    assert runtime.work_waits.waiting == 1, "one waiter for all of them"
    await append(engine, SECOND, "x")
    assert told(await waiting) == [("logs", 1, "")]
    assert runtime.work_waits.waiting == 0


async def test_it_ends_empty_after_its_time(api: Api) -> None:
    assert told(await api.post(PATH, wait_ms=5, **LOOK)) == []


async def test_a_message_that_comes_back_is_told_of(
    api: Api, engine: EngineTwin, runtime: BrokerRuntime
) -> None:
    await append(engine, SECOND, "x")
    await api.post(PATH, **ALL[1], group="workers", visibility_ms=30)
    waiting = await begun(api, PATH, runtime.work_waits, **LOOK)
    engine.clock += 30
    assert told(await waiting) == [("logs", 1, "")]


async def test_one_message_wakes_one_of_those_that_look(
    api: Api, engine: EngineTwin, runtime: BrokerRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work_service, "LOOK_GRACE_S", 3_600)
    waiting = [await begun(api, PATH, runtime.work_waits, **LOOK) for _ in range(3)]
    await append(engine, SECOND, "x")
    assert told(await waiting[0]) == [("logs", 1, "")]
    assert [task.done() for task in waiting] == [True, False, False]
    # Another partition has its own turn.
    await append(engine, FIRST, "y")
    assert ("logs", 0, "") in told(await waiting[1])
    await turns(20)
    assert not waiting[2].done()
    # Whoever takes what it was told of lets the next one look; nothing is left for it.
    await api.post(PATH, **ALL[1], group="workers")
    await turns(20)
    assert not waiting[2].done()
    runtime.work_waits.end()
    assert told(await waiting[2]) == []


async def test_what_cannot_be_asked_has_an_error_and_keeps_nobody_waiting(
    api: Api, engine: EngineTwin, runtime: BrokerRuntime
) -> None:
    waiting = await begun(api, PATH, runtime.work_waits, **LOOK)
    engine.lose(engine.replicas[OTHER])
    assert told(await waiting) == [("other", 0, "NOT_LEADER")]
    missing = {"topic": "logs", "partition": 3}
    answer = await api.post(PATH, partitions=[missing], group="workers", wait_ms=30_000)
    assert told(answer) == [("logs", 3, "PARTITION_NOT_FOUND")]


async def test_each_topic_needs_a_token_of_its_own(api: Api, engine: EngineTwin) -> None:
    await append(engine, FIRST, "a")
    await append(engine, OTHER, "b")
    logs, other = token_of("consumer", 5), token_of("consumer", 6, topic="other")
    assert ("other", 0, "UNAUTHORIZED") in told(await api.post(PATH, logs, **LOOK))
    both = {"logs": logs, "other": other}
    answer = await api.post(PATH, None, tokens=both, **LOOK)
    assert told(answer) == [("logs", 0, ""), ("other", 0, "")]
    producer = token_of("producer", 5)
    answer = await api.post(PATH, None, partitions=ALL[:1], group="workers", token=producer)
    assert told(answer) == [("logs", 0, "UNAUTHORIZED")]


@pytest.mark.parametrize(
    "changes",
    [{"partitions": []}, {"partitions": [{"topic": "logs"}]}, {"group": ".."}, {"max_messages": 1}],
    ids=["none", "no partition", "no name", "messages"],
)
async def test_a_wrong_list_is_refused(api: Api, failure: Any, changes: dict[str, Any]) -> None:
    assert failure(await api.post(PATH, **{**LOOK, **changes})) == (400, "INVALID_REQUEST")
