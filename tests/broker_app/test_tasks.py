from __future__ import annotations

import asyncio

from broker_app import runtime, tasks
from tests.broker_app.engine_twin import EngineTwin, LinkTwin, runtime_over


def test_without_a_broker_nothing_is_done() -> None:
    runtime.install(None)
    tasks.broker_heartbeat()
    tasks.broker_sign()
    tasks.retention()


async def test_a_sign_of_life_is_no_heartbeat() -> None:
    link = LinkTwin()
    runtime.install(runtime_over(EngineTwin(), link))
    tasks.broker_sign()
    await asyncio.sleep(0)
    runtime.install(None)
    assert (link.signs, link.heartbeats) == (1, 0)
