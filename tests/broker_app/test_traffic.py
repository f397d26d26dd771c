"""Counters by topic, as every call of a client moves them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.handlers.asgi import ASGIHandler

from broker_app.partition.commands import SetRetention
from broker_app.services.retention import messages_truncate
from broker_app.traffic import Traffic
from broker_app.urls import HOT_PATHS
from http_base.cluster import TopicTraffic
from http_base.hotpaths import HotPaths
from http_base.memory_budget import MemoryBudget
from myqueue.contract.inputs import BATCH
from myqueue.contract.records import RECORD_OVERHEAD_BYTES
from tests.broker_app.apis.conftest import Api
from tests.broker_app.replica import batch_of

if TYPE_CHECKING:
    from broker_app.runtime import BrokerRuntime
    from tests.broker_app.engine_twin import EngineTwin, ReplicaTwin

LOGS = {"topic": "logs", "partition": 0}


def shown(traffic: Traffic, name: str) -> dict[str, float]:
    """Return {topic: value} of one metric."""
    return {
        sample.labels["topic"]: sample.value
        for family in traffic.collect()
        for sample in family.samples
        if sample.name == f"queue_broker_{name}_total"
    }


async def test_every_call_counts_for_its_topic(
    runtime: BrokerRuntime, engine: EngineTwin, replica: ReplicaTwin, settings: Any
) -> None:
    settings.ROOT_URLCONF = "queuesite.urls_broker"
    api = Api(HotPaths(ASGIHandler(), HOT_PATHS, bodies=MemoryBudget().bodies))
    batch = batch_of("a", "bc").batch
    query = LOGS | {"producer_id": 1}
    await api.send("POST", "/producer/produce", query=query, raw=batch, content_type=BATCH)
    await api.post("/producer/produce", **LOGS, producer_id=1, message="def")
    second = len(replica.batches[1].data)
    await api.post("/consumer/consume", **LOGS, consumer_id=1, max_messages=2)
    await api.get("/fetch", **LOGS, offset=2)
    group = LOGS | {"group": "mailers"}
    received = await api.post("/messages/receive", **group, max_messages=2)
    receipts = [message["receipt"] for message in received.json["messages"]]
    for _ in range(2):  # the second time changes nothing
        await api.post("/messages/ack", **group, receipts=receipts[:1])
    await api.post("/messages/nack", **group, receipts=receipts[1:])
    await api.post("/messages/receive", **group)
    await api.post("/offsets/commit", **LOGS, group="billing", generation=1, offset=1)
    await engine.propose(7, SetRetention(retention_ms=1), timeout_ms=1_000)
    await messages_truncate(runtime=runtime, replica=replica, now_ms=engine.now_ms + 1_000)
    assert runtime.traffic["logs"] == TopicTraffic(
        messages_produced=3,
        batches_produced=2,
        produced_bytes=len(batch) + second,
        messages_popped=2,
        popped_bytes=2 * RECORD_OVERHEAD_BYTES + 3,
        messages_fetched=1,
        batches_fetched=1,
        fetched_bytes=second,
        messages_received=3,
        messages_redelivered=1,
        received_bytes=3 * RECORD_OVERHEAD_BYTES + 5,
        messages_acknowledged=1,
        offsets_committed=1,
        messages_retired=3,
    )


def test_topics_beyond_the_limit_are_shown_as_one() -> None:
    traffic = Traffic(shown_max=2)
    for number, topic in enumerate(("a", "other", "b", "c", "d"), start=1):
        traffic[topic].messages_produced += number
    assert shown(traffic, "messages_produced") == {"a": 1, "b": 3, "other": 2 + 4 + 5}
    assert traffic["d"].messages_produced == 5, "reports tell of every topic"


def test_no_counter_falls_when_topics_are_forgotten() -> None:
    traffic = Traffic(shown_max=2)
    for topic in "abcd":
        traffic[topic].messages_produced += 1
    traffic.forget_others({"b", "d"})
    assert traffic.label_of("d") == "other", "what it did is counted there already"
    assert shown(traffic, "messages_produced") == {"b": 1, "other": 2}
    traffic["e"].messages_produced += 1  # takes the label of a, not its figures
    traffic["f"].messages_produced += 1
    assert shown(traffic, "messages_produced") == {"b": 1, "e": 1, "other": 3}


def test_a_topic_without_replicas_here_is_forgotten(
    runtime: BrokerRuntime, engine: EngineTwin, replica: ReplicaTwin
) -> None:
    engine.add("more", 0, group_id=9)
    for topic in ("logs", "more"):
        runtime.partition(topic, 0)
        runtime.traffic[topic].messages_popped += 1
    engine.remove(9)
    runtime.partition("logs", 0)
    assert list(runtime.traffic) == ["logs"]
