from __future__ import annotations

import pytest


async def test_without_anything_to_move_the_plan_is_empty(site):
    answer = await site.get("/rebalance")
    assert (answer["state"], answer["bytes_per_second"]) == ("on", 32 << 20)
    assert (answer["moves_left"], answer["bytes_left"], answer["seconds_left"]) == (0, 0, 0.0)


async def test_what_was_said_is_kept_until_something_else_is_said(site):
    await site.post("/rebalance", {"bytes_per_second": 5_000, "paused": True})
    await site.restart_manager()
    answer = await site.get("/rebalance")
    assert (answer["state"], answer["bytes_per_second"]) == ("paused", 5_000)
    answer = await site.ask("DELETE", "/rebalance")
    assert (answer["state"], answer["bytes_per_second"]) == ("off", 5_000)


async def test_a_read_only_manager_shows_it_and_changes_nothing(site):
    await site.restart_manager(read_only=True)
    assert (await site.get("/rebalance"))["state"] == "on"
    for method in ("POST", "DELETE"):
        answer = await site.ask(method, "/rebalance", status=409)
        assert answer["code"] == "READ_ONLY_MANAGER"


@pytest.mark.parametrize("value", [0, -1, "fast", 1.5])
async def test_a_speed_that_is_none_is_refused(site, value):
    answer = await site.post("/rebalance", {"bytes_per_second": value}, status=400)
    assert answer["field"] == "bytes_per_second"
