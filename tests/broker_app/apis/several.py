"""What the tests of calls about several partitions share."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from tests.broker_app.engine_twin import turns
from tests.broker_app.replica import batch_of

if TYPE_CHECKING:
    from tests.broker_app.apis.conftest import Api
    from tests.broker_app.engine_twin import EngineTwin

FIRST, SECOND, OTHER = 7, 8, 9
"""Groups: logs/0, logs/1 and other/0."""


class Waits(Protocol):
    """Calls that wait in a broker."""

    waiting: int


async def append(engine: EngineTwin, group_id: int, *values: str) -> None:
    """Store messages in a partition."""
    await engine.propose(group_id, batch_of(*values), timeout_ms=1_000)


def told(answer: Any) -> list[tuple[str, int, Any]]:
    """Return (topic, partition, values or code) of each part of an answer."""
    assert answer.status == 200, answer
    return [
        (
            part["topic"],
            part["partition"],
            part["error"]["code"]
            if "error" in part
            else "".join(message["message"] for message in part["messages"]),
        )
        for part in answer.json["partitions"]
    ]


async def begun(api: Api, path: str, waits: Waits, **body: Any) -> asyncio.Task[Any]:
    """Send a call and return when it waits."""
    waiting = asyncio.get_running_loop().create_task(api.post(path, wait_ms=30_000, **body))
    before = waits.waiting
    while waits.waiting == before:
        assert not waiting.done(), waiting.result()
        await turns(1)
    return waiting
