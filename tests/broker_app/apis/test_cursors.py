"""POST /cursors/reset, /cursors/open and /clients/forget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.broker_app.apis.conftest import Api, token_of
from tests.broker_app.replica import batch_of

if TYPE_CHECKING:
    from tests.broker_app.engine_twin import EngineTwin, ReplicaTwin

CALL: dict[str, Any] = {"topic": "logs", "partition": 0, "consumer_id": 5}


@pytest.fixture
async def filled(api: Api, engine: EngineTwin) -> Api:
    for engine.now_ms, values in ((1_000, "ab"), (2_000, "cd")):
        await engine.propose(7, batch_of(*values), timeout_ms=1_000)
    return api


async def test_cursor_is_reset_to_an_offset_or_a_time(filled: Api, replica: ReplicaTwin) -> None:
    answer = await filled.post("/cursors/reset", token_of("consumer", 5), **CALL, offset=3)
    assert answer.json["offset"] == 3
    answer = await filled.post("/cursors/reset", **CALL, timestamp=1_500, expected=3)
    assert answer.json["offset"] == 2
    assert replica.state_machine.applied_cursor(5) == 2


async def test_reset_is_refused_where_it_makes_no_sense(filled: Api, failure: Any) -> None:
    async def reset(**fields: Any) -> tuple[int, str]:
        result: tuple[int, str] = failure(await filled.post("/cursors/reset", **{**CALL, **fields}))
        return result

    assert await reset() == (400, "INVALID_REQUEST")
    assert await reset(offset=1, timestamp=1) == (400, "INVALID_REQUEST")
    assert await reset(offset=5) == (416, "OFFSET_OUT_OF_RANGE")
    assert await reset(offset=1, expected=1) == (409, "CURSOR_MOVED")
    assert await reset(offset=1, consumer_id=-1) == (400, "INVALID_REQUEST")


async def test_cursor_is_opened_once(filled: Api, replica: ReplicaTwin, failure: Any) -> None:
    answer = await filled.post("/cursors/open", **CALL, start="latest")
    assert (answer.json["offset"], answer.json["opened"]) == (4, True)
    answer = await filled.post("/cursors/open", **CALL, start="earliest")
    assert (answer.json["offset"], answer.json["opened"]) == (4, False)


@pytest.mark.parametrize("start", ["", "Latest", "0", "EARLIEST", "middle"])
async def test_unknown_start_is_refused(filled: Api, failure: Any, start: str) -> None:
    answer = await filled.post("/cursors/open", **CALL, start=start)
    assert failure(answer) == (400, "INVALID_REQUEST")
    assert answer.json["field"] == "start"
    assert answer.json["message"] == f"start must be earliest or latest, not {start!r}"


async def test_client_is_forgotten(filled: Api, replica: ReplicaTwin, failure: Any) -> None:
    await filled.post("/consumer/consume", **CALL, max_messages=2, request_id="r")
    assert replica.state_machine.table_sizes()._asdict() == {
        "consumer_groups": 0,
        "cursors": 1,
        "producers": 0,
        "request_ids": 1,
    }
    answer = await filled.post("/clients/forget", **CALL)
    assert answer.status == 200
    assert replica.state_machine.table_sizes()._asdict() == {
        "consumer_groups": 0,
        "cursors": 0,
        "producers": 0,
        "request_ids": 0,
    }
    answer = await filled.post("/clients/forget", topic="logs", partition=0)
    assert failure(answer) == (400, "INVALID_REQUEST")


async def test_internal_calls_need_the_cluster_token(filled: Api, failure: Any) -> None:
    bearer = token_of("consumer", 5)
    for path in ("/cursors/open", "/clients/forget"):
        assert failure(await filled.post(path, bearer, **CALL)) == (401, "UNAUTHORIZED")
