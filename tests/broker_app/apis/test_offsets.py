"""POST /offsets/commit, GET /offsets and the internal POST /groups/forget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from broker_app.partition.commands import Truncate
from tests.broker_app.apis.conftest import Api, token_of
from tests.broker_app.replica import batch_of

if TYPE_CHECKING:
    from tests.broker_app.engine_twin import EngineTwin, ReplicaTwin

CALL: dict[str, Any] = {"topic": "logs", "partition": 0, "group": "billing"}


@pytest.fixture
async def filled(api: Api, engine: EngineTwin) -> Api:
    for values in ("ab", "cd"):
        await engine.propose(7, batch_of(*values), timeout_ms=1_000)
    return api


async def test_member_learns_where_to_start_and_commits(filled: Api) -> None:
    bearer = token_of("consumer", 5)
    answer = await filled.post("/offsets/commit", bearer, **CALL, generation=1)
    success = {"status": "success", **CALL, "generation": 1, "offset": 0, "missed": 0}
    assert answer.json == success
    answer = await filled.post("/offsets/commit", bearer, **CALL, generation=1, offset=3)
    assert answer.json == {**success, "offset": 3}
    answer = await filled.post("/offsets/commit", bearer, **CALL, generation=2, start="latest")
    assert answer.json == {**success, "generation": 2, "offset": 3}
    answer = await filled.get("/offsets", bearer, **CALL)
    assert answer.json == {
        "status": "success",
        **CALL,
        "generation": 2,
        "offset": 3,
        "high_watermark": 4,
        "log_start_offset": 0,
        "lag": 1,
        "unsettled": 0,
        "dead": 0,
        "visible": 0,
        "in_flight": 0,
        "delayed": 0,
    }


async def test_commit_of_an_earlier_generation_is_told_the_known_one(
    filled: Api, failure: Any
) -> None:
    await filled.post("/offsets/commit", **CALL, generation=7)
    answer = await filled.post("/offsets/commit", **CALL, generation=6, offset=1)
    assert failure(answer) == (409, "ILLEGAL_GENERATION")
    assert answer.json["generation"] == 7


async def test_what_retention_took_is_in_the_answer(filled: Api, engine: EngineTwin) -> None:
    await filled.post("/offsets/commit", **CALL, generation=1, offset=1)
    await engine.propose(7, Truncate(2), timeout_ms=1_000)
    answer = await filled.post("/offsets/commit", **CALL, generation=2)
    assert (answer.json["offset"], answer.json["missed"]) == (2, 1)


async def test_commit_is_refused_where_it_makes_no_sense(
    filled: Api, replica: ReplicaTwin, failure: Any
) -> None:
    async def commit(**fields: Any) -> tuple[int, str]:
        call = {**CALL, "generation": 1, **fields}
        result: tuple[int, str] = failure(await filled.post("/offsets/commit", **call))
        return result

    assert await commit(offset=5) == (416, "OFFSET_OUT_OF_RANGE")
    assert await commit(offset=-1) == (416, "OFFSET_OUT_OF_RANGE")
    for wrong in (
        {"generation": -1},
        {"generation": 1 << 63},
        {"generation": "1x"},
        {"offset": 1 << 63},
        {"group": "no such name"},
        {"group": 5},
        {"start": "middle"},
        {"timeout_ms": 0},
        {"timeout_ms": 1 << 40},
        {"surprise": 1},
    ):
        assert await commit(**wrong) == (400, "INVALID_REQUEST"), wrong
    assert await commit(partition=9) == (404, "PARTITION_NOT_FOUND")
    assert replica.state_machine.table_sizes().consumer_groups == 0


async def test_largest_generation_is_taken(filled: Api) -> None:
    highest = (1 << 63) - 1
    answer = await filled.post("/offsets/commit", **CALL, generation=highest)
    assert answer.json["generation"] == highest


async def test_offsets_of_an_unknown_group_are_not_found(filled: Api, failure: Any) -> None:
    assert failure(await filled.get("/offsets", **CALL)) == (404, "GROUP_NOT_FOUND")
    answer = await filled.get("/offsets", **{**CALL, "group": ".."})
    assert failure(answer) == (400, "INVALID_REQUEST")
    assert failure(await filled.get("/offsets", **CALL, timeout_ms=0)) == (400, "INVALID_REQUEST")


async def test_replica_that_does_not_lead_names_the_leader(
    filled: Api, engine: EngineTwin, replica: ReplicaTwin, failure: Any
) -> None:
    engine.lose(replica)
    answer = await filled.post("/offsets/commit", **CALL, generation=1)
    assert failure(answer) == (421, "NOT_LEADER")
    assert answer.json["leader"] == {"broker_id": 2}
    assert failure(await filled.get("/offsets", **CALL)) == (421, "NOT_LEADER")
    assert failure(await filled.post("/groups/forget", **CALL)) == (421, "NOT_LEADER")


async def test_commit_is_for_consumers_of_the_topic_and_offsets_for_all_its_clients(
    filled: Api, failure: Any
) -> None:
    await filled.post("/offsets/commit", **CALL, generation=1)
    refused = (401, "UNAUTHORIZED")
    for bearer in (None, token_of("producer", 5), token_of("consumer", 5, "other")):
        answer = await filled.post("/offsets/commit", bearer, **CALL, generation=2)
        assert failure(answer) == refused
    for bearer in (None, token_of("consumer", 5, "other")):
        assert failure(await filled.get("/offsets", bearer, **CALL)) == refused
    token = token_of("consumer", 5)
    answer = await filled.post("/offsets/commit", None, **CALL, generation=2, token=token)
    assert answer.json["generation"] == 2
    for bearer in (token_of("producer", 6), token_of("consumer", 6)):
        assert (await filled.get("/offsets", bearer, **CALL)).json["generation"] == 2


async def test_group_is_forgotten_for_the_cluster_alone(
    filled: Api, replica: ReplicaTwin, failure: Any
) -> None:
    await filled.post("/offsets/commit", **CALL, generation=4, offset=3)
    answer = await filled.post("/groups/forget", token_of("consumer", 5), **CALL)
    assert failure(answer) == (401, "UNAUTHORIZED")
    answer = await filled.post("/groups/forget", **CALL)
    assert answer.json == {"status": "success", **CALL, "forgotten": True}
    answer = await filled.post("/groups/forget", **CALL)
    assert answer.json["forgotten"] is False
    assert replica.state_machine.table_sizes().consumer_groups == 0
    answer = await filled.post("/groups/forget", **{**CALL, "group": "?"})
    assert failure(answer) == (400, "INVALID_REQUEST")
