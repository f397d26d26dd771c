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


async def test_signs_of_life_name_in_turn_what_replicas_have_kept_since(monkeypatch) -> None:
    monkeypatch.setattr(runtime, "SIGN_REPLICAS_MAX", 2)
    engine, link = EngineTwin(), LinkTwin()
    for group_id in (1, 2, 3):
        engine.add(partition=group_id, group_id=group_id)
    installed = runtime_over(engine, link)

    async def named() -> list[int]:
        installed.post_sign()
        await asyncio.sleep(0)
        return link.moved

    assert [await named() for _ in range(3)] == [[1, 2], [3], []]
    for group_id in (3, 1, 2):
        engine.replicas[group_id].applied.index += 1
        engine.replicas[group_id].note_change()
    assert [await named() for _ in range(3)] == [[3, 1], [2], []]
    engine.replicas[2].applied.index += 1
    engine.replicas[2].note_change()
    installed.post_heartbeat()
    assert await named() == []
