from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker_app.selectors import standing
from broker_app.selectors.standing import standing_get, traffic_told
from broker_app.traffic import OTHER, Traffic
from http_base.request_metrics import RequestTimes
from tests.broker_app.replica import batch_of

if TYPE_CHECKING:
    from broker_app.runtime import BrokerRuntime
    from tests.broker_app.engine_twin import EngineTwin, ReplicaTwin


async def test_a_broker_tells_what_it_holds_and_what_its_disk_and_clock_do(
    runtime: BrokerRuntime, engine: EngineTwin, replica: ReplicaTwin
) -> None:
    await engine.propose(7, batch_of("a", "b"), timeout_ms=1_000)
    runtime.traffic["logs"].messages_produced += 2
    engine.commits.add(0.25)
    engine.disk.full = True
    told = standing_get(runtime=runtime)
    assert (told.replicas, told.leaders) == (1, 1)
    assert told.stored_bytes > 0
    assert told.uptime_s > 0
    assert told.version
    assert told.traffic["logs"].messages_produced == 2
    assert len(told.sync_counts) == len(told.sync_bounds_s) + 1
    assert told.sync_counts[-1] == 1
    assert told.sync_counts[0] == 0
    assert (told.disk_free_bytes, told.disk_reserve_bytes) == (1 << 40, 1 << 30)
    assert told.disk_full
    assert told.connections >= 0
    assert told.problems == ["the disk has less than its reserve of free space"]
    replica.faulty = "a torn row"
    assert (standing_get(runtime=runtime).stored_bytes, told.long_polls) == (0, 0)


def test_it_tells_how_long_produce_calls_took(
    runtime: BrokerRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = RequestTimes()
    monkeypatch.setattr(standing, "REQUEST_TIMES", times)
    assert standing_get(runtime=runtime).produce_counts == []
    times[standing.PRODUCED].add(0.003)
    told = standing_get(runtime=runtime)
    assert told.produce_counts[-1] == 1
    assert len(told.produce_counts) == len(told.produce_bounds_s) + 1


def test_topics_beyond_the_limit_are_told_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "TOPICS_TOLD_MAX", 2)
    traffic = Traffic()
    for topic, count in (("a", 1), ("b", 500), ("c", 2), ("d", 70)):
        traffic[topic].produced_bytes += count
        traffic[topic].messages_produced += 1
    told = traffic_told(traffic)
    assert {topic: counters.produced_bytes for topic, counters in told.items()} == {
        "b": 500,
        "d": 70,
        OTHER: 3,
    }
    assert told[OTHER].messages_produced == 2
