"""The figures of a broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from broker_app import metrics
from broker_app import runtime as runtimes
from broker_app.decoded import DecodedBatch

if TYPE_CHECKING:
    from broker_app.runtime import BrokerRuntime
    from tests.broker_app.engine_twin import EngineTwin


def figures() -> dict[tuple[str, str], float]:
    """Return {(name, role): value} of a registry of its own."""
    registry = CollectorRegistry()
    metrics.register(registry)
    metrics.register(registry)
    return {
        (sample.name.removeprefix("queue_broker_"), sample.labels.get("role", "")): sample.value
        for family in registry.collect()
        for sample in family.samples
    }


def test_without_a_broker_there_are_no_gauges() -> None:
    runtimes.install(None)
    assert figures() == {}


def test_replicas_are_counted_by_role_and_faulty_ones_apart(
    runtime: BrokerRuntime, engine: EngineTwin
) -> None:
    led, followed, faulty = (engine.add("logs", n, group_id=n + 1) for n in range(3))
    engine.add("logs", 4, group_id=5)
    followed.is_leader = False
    faulty.faulty = "a bad row"
    replicas = {role: value for (name, role), value in figures().items() if name == "replicas"}
    assert replicas == {"leader": 2, "follower": 1, "faulty": 1}
    assert led.role == "leader"


def test_gauges_show_what_is_held_at_the_moment(runtime: BrokerRuntime, engine: EngineTwin) -> None:
    assert figures() == {
        (name, ""): 0
        for name in ("long_polls", "parked_bytes", "decoded_bytes", "intervals_without_tick")
    }
    runtime.long_polls.waiting = 3
    runtime.parking.parked_bytes = 70
    runtime.decoded.keep(7, DecodedBatch(0, [], 11))
    engine.watchdog.intervals_without_tick = 2
    assert figures() == {
        ("long_polls", ""): 3,
        ("parked_bytes", ""): 70,
        ("decoded_bytes", ""): 11,
        ("intervals_without_tick", ""): 2,
    }


def test_gauges_are_those_of_the_broker_that_runs_now(
    runtime: BrokerRuntime, engine: EngineTwin
) -> None:
    registry = CollectorRegistry()
    metrics.register(registry)
    assert registry.get_sample_value("queue_broker_long_polls") == 0
    runtimes.install(None)
    assert registry.get_sample_value("queue_broker_long_polls") is None
