"""Who registers again and again does not fill the tables of a partition for everybody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from broker_app.client_origins import ClientOrigins
from broker_app.partition.limits import BrokerLimits
from tests.broker_app.apis.conftest import Api, token_of
from tests.broker_app.replica import batch_of

if TYPE_CHECKING:
    from broker_app.runtime import BrokerRuntime
    from tests.broker_app.engine_twin import EngineTwin, ReplicaTwin

WHERE: dict[str, Any] = {"topic": "logs", "partition": 0}


@pytest.fixture
async def narrow(api: Api, runtime: BrokerRuntime, engine: EngineTwin) -> Api:
    """With messages, and room for three cursors and producers of each address."""
    await engine.propose(7, batch_of(*"abcdefgh"), timeout_ms=1_000)
    limits = BrokerLimits(cursors_per_address_max=3, producers_per_address_max=3)
    runtime.client_origins = ClientOrigins(limits)
    return api


async def test_one_address_does_not_fill_the_table_of_cursors(
    narrow: Api, replica: ReplicaTwin, failure: Any
) -> None:
    async def pop(number: int, origin: str = "") -> Any:
        bearer = "cluster" if origin else token_of("consumer", number)
        body = {**WHERE, "consumer_id": number}
        return await narrow.send(
            "POST", "/consumer/consume", body=body, bearer=bearer, origin=origin
        )

    for number in (1, 2, 3):
        assert (await pop(number)).status == 200
    refused = await pop(4)
    assert failure(refused) == (503, "OVERLOADED")
    assert (refused.json["limit"], refused.json["address"]) == (3, "127.0.0.1")
    assert "clients at 127.0.0.1 made 3 cursors" in refused.json["message"]
    reset = {**WHERE, "consumer_id": 4, "offset": 0}
    answer = await narrow.post("/cursors/reset", token_of("consumer", 4), **reset)
    assert failure(answer) == (503, "OVERLOADED")
    assert (await pop(1)).status == 200, "what exists goes on"
    assert failure(await pop(5, "127.0.0.1")) == (503, "OVERLOADED"), "behind a manager, too"
    assert (await pop(5, "10.0.0.9")).status == 200, "another one behind the same manager"
    assert replica.state_machine.table_sizes().cursors == 4


async def test_one_address_does_not_fill_the_table_of_producers(narrow: Api, failure: Any) -> None:
    async def produce(number: int, sequence: int | None = 0, bearer: str | None = None) -> Any:
        body = {**WHERE, "producer_id": number, "message": "x"}
        if sequence is not None:
            body |= {"producer_epoch": 0, "base_sequence": sequence}
        bearer = bearer or token_of("producer", number)
        return await narrow.post("/producer/produce", bearer, **body)

    for number in (1, 2, 3):
        assert (await produce(number)).status == 200
    refused = await produce(4)
    assert failure(refused) == (503, "OVERLOADED")
    assert "clients at 127.0.0.1 made 3 producers" in refused.json["message"]
    assert (await produce(1, 1)).status == 200, "what exists goes on"
    assert (await produce(4, None)).status == 200, "nothing is remembered of it"
    assert (await produce(4, 0, "cluster")).status == 200, "the cluster may"
