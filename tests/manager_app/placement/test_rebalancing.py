from __future__ import annotations

from types import SimpleNamespace

import pytest

from manager_app.models import Cluster, RebalanceState
from manager_app.placement import balance_round, rebalancing
from myqueue.contract.errors import ReadOnlyManager


async def test_the_pace_is_set_and_all_of_it_cancelled(site):
    def set_and_read(**fields):
        rebalancing.set_pace(site.runtime, **fields)
        return rebalancing.rebalance_detail()

    paused = await site.in_database(lambda: set_and_read(paused=True, bytes_per_second=None))
    assert (paused.state, paused.running, paused.moves_left) == (RebalanceState.PAUSED, [], 0)
    on = await site.in_database(lambda: set_and_read(paused=False, bytes_per_second=2_000))
    assert (on.state, on.bytes_per_second) == (RebalanceState.ON, 2_000)
    assert await site.in_database(rebalancing.cancel, site.runtime) == 0
    assert (await site.in_database(Cluster.objects.get)).rebalance == RebalanceState.OFF


async def test_a_reader_changes_nothing(site):
    await site.restart_manager(read_only=True)
    with pytest.raises(ReadOnlyManager):
        await site.in_database(rebalancing.cancel, site.runtime)


def test_a_page_has_the_plan_of_some_seconds_ago_unless_something_changed(monkeypatch):
    plans = iter([["first"], ["second"], ["third"]])
    monkeypatch.setattr(balance_round, "plan_balance", lambda: next(plans))
    clock = SimpleNamespace(seconds=100.0)
    metadata = SimpleNamespace(current=SimpleNamespace(version=1))
    manager = SimpleNamespace(
        monotonic_s=lambda: clock.seconds, metadata=metadata, recent_plan=None
    )
    assert [rebalancing.recent_plan(manager) for _ in range(2)] == [["first"]] * 2
    clock.seconds += rebalancing.PLAN_KEPT_S
    assert rebalancing.recent_plan(manager) == ["second"]
    metadata.current.version = 2
    assert [rebalancing.recent_plan(manager) for _ in range(2)] == [["third"]] * 2
