from __future__ import annotations

import pytest

from manager_app import periodic
from manager_app.models import Broker, Producer

CONSUMER, PRODUCER, BROKER = 0, 1, 2


async def test_producer_and_consumer_of_one_number_never_disturb_each_other(any_site):
    site = any_site
    await site.create_topic()
    producer, consumer, other = (
        await site.producer(),
        await site.consumer(),
        await site.consumer(),
    )
    assert producer == consumer == 1
    for _ in range(12):  # three minutes
        site.clock.seconds += 15
        await site.get(f"/health?type={CONSUMER}&key={consumer}")
        await site.in_database(periodic.check_clients, site.runtime)
    found = (await site.get("/consumers"))["consumers"]
    assert [(row["consumer_id"], row["state"]) for row in found] == [
        (consumer, "alive"),
        (other, "expired"),
    ]
    assert (await site.get("/producers"))["producers"][0]["state"] == "expired"
    await site.get(f"/health?type={PRODUCER}&key={producer}")
    assert (await site.get("/producers"))["producers"][0]["state"] == "alive"
    assert (await site.get("/consumers"))["consumers"][1]["state"] == "expired"


async def test_both_live_for_three_minutes_when_both_send_heartbeats(site):
    await site.create_topic()
    producer, consumer = await site.producer(), await site.consumer()
    for _ in range(12):
        site.clock.seconds += 15
        await site.get(f"/health?type={CONSUMER}&key={consumer}")
        await site.get(f"/health?type={PRODUCER}&key={producer}")
        await site.in_database(periodic.check_clients, site.runtime)
    await site.produce(producer, "x")
    await site.post("/consumer/consume", {"topic": "logs", "consumer_id": consumer})


@pytest.mark.parametrize("kind", [CONSUMER, PRODUCER, BROKER])
@pytest.mark.parametrize("key", ["99", "0", "-1", "abc", "9" * 17, "9" * 30, "%00", "%F0%9F%99%82"])
async def test_an_unknown_key_is_not_found(site, kind, key):
    answer = await site.get(f"/health?type={kind}&key={key}", status=404)
    assert answer["code"] == "CLIENT_NOT_FOUND"


@pytest.mark.parametrize("query", ["type=3&key=1", "type=-1&key=1", "type=x&key=1"])
async def test_an_unknown_type_is_refused(site, query):
    assert (await site.get(f"/health?{query}", status=400))["code"] == "INVALID_REQUEST"


@pytest.mark.parametrize(("query", "missing"), [("key=1", "type"), ("type=0", "key")])
async def test_type_and_key_come_together(site, query, missing):
    answer = await site.get(f"/health?{query}", status=400)
    assert (answer["code"], answer["field"]) == ("INVALID_REQUEST", missing)


async def test_without_parameters_it_is_a_health_check(any_site):
    answer = await any_site.get("/health")
    assert answer["read_only"] is False
    assert answer["primary"] == "http://manager.test:8000"
    assert answer["metadata_version"] >= 1
    await any_site.stop_manager()
    assert (await any_site.get("/health", status=503))["code"] == "NOT_READY"


async def test_a_heartbeat_with_the_token_renews_it(any_site):
    await any_site.create_topic()
    registered = await any_site.post("/consumer/register", {"topic": "logs"})
    await any_site.consumer()
    fields = {"topic": "logs", "consumer_id": 1, "max_messages": 1}
    token = registered["token"]
    for _ in range(3):
        any_site.clock.seconds += 25 * 86_400
        bearer = {"authorization": f"Bearer {token}"}
        token = (await any_site.ask("GET", "/health?type=0&key=1", **bearer))["token"]
    await any_site.post("/consumer/consume", {**fields, "token": token})
    await any_site.ask("GET", "/health?type=0&key=2", status=401, **bearer)
    await any_site.post("/consumer/consume", {**fields, "token": registered["token"]}, status=401)


async def test_a_heartbeat_may_come_as_a_body(site):
    await site.create_topic()
    consumer = await site.consumer()
    await site.ask("GET", "/health", {"type": 0, "key": consumer})


async def test_a_heartbeat_of_a_broker_takes_its_id_or_its_address(site):
    site.clock.seconds += 61
    twin = site.twins.brokers[0]
    await site.get(f"/health?type={BROKER}&key=2")
    await site.get(f"/health?type={BROKER}&key={twin.address}")
    await site.in_database(periodic.check_brokers, site.runtime)
    states = await site.in_database(
        lambda: list(Broker.objects.order_by("pk").values_list("state", flat=True))
    )
    assert states == ["alive", "alive", "dead"]
    await site.get(f"/health?type={BROKER}&key=3")
    assert (await site.in_database(lambda: Broker.objects.get(pk=3))).state == "alive"


async def test_a_client_that_this_manager_never_saw_is_looked_up_before_it_is_refused(site):
    await site.create_topic()
    producer, consumer = await site.producer(), await site.consumer()
    await site.restart_manager()
    await site.get(f"/health?type={CONSUMER}&key={consumer}")
    await site.produce(producer, "x")


async def test_heartbeats_are_recorded(site):
    await site.create_topic()
    producer = await site.producer()
    site.clock.seconds += 30
    await site.get(f"/health?type={PRODUCER}&key={producer}")
    (row,) = (await site.get("/producers"))["producers"]
    await site.in_database(periodic.check_clients, site.runtime)
    stored = (await site.in_database(Producer.objects.get)).last_heartbeat
    assert stored == site.clock.now()
    assert row["last_heartbeat"] == int(stored.timestamp() * 1000)


async def test_the_manager_says_that_it_lives_and_is_ready(any_site):
    await any_site.get("/healthz")
    ready = await any_site.get("/readyz")
    assert ready["metadata_version"] >= 1
    assert ready["primary"] == "http://manager.test:8000"
    metrics = await any_site.send("GET", "/metrics")
    assert metrics.status == 200
    assert b"queue_manager_passed_calls" in metrics.body


async def test_a_manager_that_has_not_started_is_not_ready(site):
    await site.stop_manager()
    answer = await site.get("/readyz", status=503)
    assert (answer["code"], answer["reasons"]) == ("NOT_READY", ["the manager has not started"])


async def test_old_metadata_is_a_reason_not_to_be_ready(site):
    await site.stop_polling()
    site.clock.seconds += 16
    answer = await site.get("/readyz", status=503)
    assert "ms old" in answer["reasons"][0]


async def test_heartbeat_may_come_by_post(site):
    await site.create_topic("logs", 1)
    consumer = await site.consumer()
    answer = await site.post("/health", {"type": CONSUMER, "key": consumer})
    assert (answer["type"], answer["key"]) == (CONSUMER, consumer)
    assert (await site.post("/health", {"type": CONSUMER}, status=400))["field"] == "key"
    assert (await site.post("/health", {}, status=400))["field"] == "type"
