from __future__ import annotations

from functools import partial

import msgspec
import pytest
from msgspec.structs import replace

from http_base.cluster import BrokerOrders
from manager_app import periodic
from manager_app.models import Broker, Partition, Replica
from myqueue.contract.errors import Forbidden, InvalidRequest
from myqueue.contract.inputs import MAX_JSON_BODY_BYTES
from tests.manager_app.broker_twin import BrokerTwin

ADDRESS = "http://10.0.0.9:8001"


@pytest.mark.parametrize("field", ["broker_address", "broker_addr", "address"])
async def test_an_announced_broker_is_listed_and_a_second_time_present(empty_site, field):
    added = await empty_site.post("/brokers", {field: ADDRESS, "partitions": {}}, status=201)
    assert added["broker_id"] == 1
    assert (await empty_site.get("/brokers"))["brokers"] == [ADDRESS]
    answer = await empty_site.post("/brokers", {field: f"{ADDRESS}/"}, status=208)
    assert answer["code"] == "BROKER_ALREADY_PRESENT"
    (detail,) = (await empty_site.get("/brokers?detail=1"))["brokers"]
    assert (detail["state"], detail["last_heartbeat"]) == ("new", None)


async def test_an_address_without_a_scheme_is_understood(empty_site):
    added = await empty_site.post("/brokers", {"address": "10.0.0.9:8001"}, status=201)
    assert added["address"] == ADDRESS


@pytest.mark.parametrize(
    "address",
    ["", "nonsense", "http://", "http://host", "ftp://h:1", "http://h:99999", "http://h:1/x",
     "http://h:1?x", "http://u@h:1", "http://h\0:1", "http://ä:1", "h:1" * 200],
)  # fmt: skip
async def test_what_is_no_address_is_refused(empty_site, address):
    answer = await empty_site.post("/brokers", {"broker_address": address}, status=400)
    assert answer["field"] == "broker_address"


async def test_a_broker_that_reports_takes_its_announced_row_over(empty_site):
    await empty_site.twins.add(1)
    (twin,) = empty_site.twins.brokers
    await empty_site.post("/brokers", {"address": twin.address}, status=201)
    await twin.report()
    assert twin.broker_id == 1
    (detail,) = (await empty_site.get("/brokers?detail=1"))["brokers"]
    assert detail["state"] == "alive"
    assert detail["last_heartbeat"] is not None
    answer = await empty_site.post("/brokers", {"address": twin.address}, status=208)
    assert answer["broker_id"] == 1


async def test_the_same_data_directory_keeps_its_id_at_a_new_address(site):
    twin = site.twins.brokers[0]
    await twin.stop()
    twin._port = 0
    await twin.start()
    orders = await twin.report()
    assert orders.broker_id == 1
    assert orders.brokers[0].address == twin.address
    assert (await site.get("/brokers"))["brokers"][0] == twin.address


async def test_a_wiped_data_directory_is_a_new_broker_and_the_old_one_stays_known(site):
    await site.create_topic(partitions=1)
    old = site.twins.brokers[0]
    new = BrokerTwin(site.twins)
    new._port = old._port
    orders = await new.report()
    assert orders.broker_id == 4
    assert orders.assignment == []
    assert [place.broker_id for place in orders.brokers] == [2, 3, 4]
    assert len((await site.get("/brokers"))["brokers"]) == 3
    states = {
        broker["broker_id"]: (broker["state"], broker["replicas"])
        for broker in (await site.get("/brokers?detail=1"))["brokers"]
    }
    assert states[1] == ("replaced", 1)
    assert states[4] == ("alive", 0)


async def test_every_broker_hears_of_all_others(site):
    orders = await site.twins.brokers[0].report()
    assert [place.address for place in orders.brokers] == [
        twin.address for twin in site.twins.brokers
    ]
    assert all(place.raft_address for place in orders.brokers)
    assert orders.epoch == site.runtime.lease.epoch == 2
    assert len(orders.cluster_id) == 32


async def test_a_broker_of_another_cluster_is_refused_with_a_clear_error(site):
    with pytest.raises(Forbidden, match="belongs to cluster"):
        await site.twins.brokers[0].report(cluster_id="f" * 32)
    orders = await site.twins.brokers[0].report()
    await site.twins.brokers[0].report(cluster_id=orders.cluster_id)


async def test_a_report_needs_the_token_of_the_cluster(site):
    for headers in ({}, {"authorization": "Bearer nonsense"}, {"authorization": "Basic x"}):
        answer = await site.send("POST", "/brokers/heartbeat", body=b"{}", headers=headers)
        assert (answer.status, answer.json["code"]) == (401, "UNAUTHORIZED")


async def test_a_report_of_very_many_replicas_is_taken(any_site):
    site = any_site
    await site.create_topic(partitions=1)
    twin = site.twins.brokers[0]
    one = twin.replica_report(site.twins.group("logs", 0))
    replicas = [
        replace(one, group_id=1 + number, replica_id=one.replica_id + number)
        for number in range(4_096)
    ]
    assert len(msgspec.json.encode(replicas)) > MAX_JSON_BODY_BYTES
    orders = await twin.report(replicas=replicas)
    assert orders.broker_id == twin.broker_id


async def test_only_the_cluster_may_send_a_long_report(site):
    body = b" " * (MAX_JSON_BODY_BYTES + 1)
    token = f"Bearer {site.cluster_token}"
    too_large, not_good = (413, "MESSAGE_TOO_LARGE"), (401, "UNAUTHORIZED")
    for authorization, told in (
        ("", too_large),
        ("Bearer nonsense", not_good),
        (token[7:], too_large),
    ):
        headers = {"authorization": authorization} if authorization else {}
        answer = await site.send("POST", "/brokers/heartbeat", body=body, headers=headers)
        assert (answer.status, answer.json["code"]) == told
    for path in ("/brokers", "/producer/produce"):
        answer = await site.send("POST", path, body=body, headers={"authorization": token})
        assert answer.status == 413


async def test_fields_of_a_report_that_only_a_later_broker_knows_are_ignored(site):
    twin = site.twins.brokers[0]
    site.twins.send_report = partial(send_with_novelty, site)
    assert (await twin.report()).broker_id == twin.broker_id


async def send_with_novelty(site, report):
    token = {"authorization": f"Bearer {site.cluster_token}"}
    fields = {**msgspec.to_builtins(report), "novelty": 1}
    answer = await site.ask("POST", "/brokers/heartbeat", fields, **token)
    return msgspec.convert(answer, BrokerOrders)


@pytest.mark.parametrize(
    "changes",
    [
        {"incarnation": "nonsense"},
        {"address": "nonsense"},
        {"address": "http://h:1/"},
        {"raft_address": "nonsense"},
        {"raft_address": "h\0:1"},
        {"disk_free_bytes": -1},
        {"disk_free_bytes": 2**70},
    ],
)
async def test_a_malformed_report_is_refused(site, changes):
    with pytest.raises(InvalidRequest):
        await site.twins.brokers[0].report(**changes)


async def test_a_leader_of_an_older_term_is_ignored(site):
    await site.create_topic(partitions=1)
    group = site.twins.group("logs", 0)
    group.leader, group.term = 2, 7
    await site.twins.by_id(2).report(full=False, groups=[group])
    group.leader, group.term = 3, 6
    await site.twins.by_id(3).report(full=False, groups=[group])
    assert site.runtime.metadata.leader_of(group.order.group_id).broker_id == 2
    partition = await site.in_database(Partition.objects.get)
    assert (partition.leader_id, partition.term) == (2, 7)


async def test_a_leader_that_steps_down_leaves_the_partition_without_one(site):
    await site.create_topic(partitions=1)
    group = site.twins.group("logs", 0)
    leader = site.twins.by_id(group.leader)
    group.leader, group.term = 0, 2
    await leader.report(full=False, groups=[group])
    assert site.runtime.metadata.leader_of(group.order.group_id).broker_id == 0
    assert (await site.in_database(Partition.objects.get)).leader_id is None


async def test_followers_that_know_no_leader_take_nothing_back(site):
    await site.create_topic(partitions=1)
    group = site.twins.group("logs", 0)
    group.leader, group.term = 0, 2
    await site.twins.by_id(2).report(full=False, groups=[group])
    assert site.runtime.metadata.leader_of(group.order.group_id).broker_id == 1


async def test_a_stopping_broker_gets_no_new_replicas_until_it_is_back(site):
    twin = site.twins.brokers[0]
    twin.stopping = True
    await twin.report()
    answer = await site.post("/topics", {"topic": "logs"}, status=503)
    assert answer["code"] == "NOT_ENOUGH_BROKERS"
    twin.stopping = False
    await twin.report()
    await site.create_topic("logs")


async def test_a_broker_whose_replicas_nobody_can_take_is_not_removed(site):
    await site.create_topic(partitions=1)
    answer = await site.ask("DELETE", "/brokers/1", status=409)
    assert answer["code"] == "BROKER_NOT_EMPTY"
    assert "no other live broker is without the partitions of 1" in answer["message"]
    (detail, *_) = (await site.get("/brokers?detail=1"))["brokers"]
    assert not detail["draining"]
    await site.ask("DELETE", "/topics/logs")
    assert (await site.ask("DELETE", "/brokers/1", status=202))["broker_id"] == 1
    assert len((await site.get("/brokers"))["brokers"]) == 2


async def test_a_removed_broker_does_not_come_back_by_itself_and_its_id_is_not_reused(site):
    await site.ask("DELETE", "/brokers/3", status=202)
    with pytest.raises(Forbidden, match="removed"):
        await site.twins.brokers[2].report()
    new = BrokerTwin(site.twins)
    new._port = 1
    assert (await new.report()).broker_id == 4
    assert await site.in_database(Broker.objects.count) == 3


@pytest.mark.parametrize("number", ["0", "99", "99999999999", "9" * 40])
async def test_an_unknown_broker_is_not_found(site, number):
    answer = await site.ask("DELETE", f"/brokers/{number}", status=404)
    assert answer["code"] == "BROKER_NOT_FOUND"


async def test_brokers_tell_how_much_they_hold(site):
    await site.create_topic(partitions=3)
    details = (await site.get("/brokers?detail=1"))["brokers"]
    assert [(broker["replicas"], broker["leaders"]) for broker in details] == [(3, 1)] * 3


async def test_brokers_tell_how_their_disks_are(site):
    await site.twins.by_id(2).report(disk_free_bytes=5, disk_slow=True)
    details = (await site.get("/brokers?detail=1"))["brokers"]
    said = [(broker["disk_free_bytes"], broker["disk_slow"]) for broker in details]
    assert said == [(1 << 40, False), (5, True), (1 << 40, False)]


async def test_a_broker_that_is_being_emptied_may_be_kept(site):
    await site.twins.add(1)
    await site.twins.brokers[3].report()
    await site.create_topic(partitions=2)
    answer = await site.ask("DELETE", "/brokers/1", status=202)
    assert answer["replicas"] > 0
    assert (await site.get("/brokers?detail=1"))["brokers"][0]["draining"]
    kept = await site.ask("PATCH", "/brokers/1", {"draining": False})
    assert (kept["broker_id"], kept["draining"]) == (1, False)
    before = await site.in_database(Replica.objects.filter(broker_id=1).count)
    await site.in_database(periodic.reconcile_placement, site.runtime)
    assert await site.in_database(Replica.objects.filter(broker_id=1).count) == before
    assert not (await site.get("/brokers?detail=1"))["brokers"][0]["draining"]
    assert (await site.ask("PATCH", "/brokers/1", {"draining": False}))["broker_id"] == 1


async def test_emptying_is_asked_for_with_delete_alone(site):
    answer = await site.ask("PATCH", "/brokers/1", {"draining": True}, status=400)
    assert answer["field"] == "draining"
    answer = await site.ask("PATCH", "/brokers/77", {"draining": False}, status=404)
    assert answer["code"] == "BROKER_NOT_FOUND"


async def test_what_a_broker_leads_is_handed_over(site):
    await site.create_topic(partitions=3)
    for twin in site.twins.brokers:
        await twin.report()
    led = sum(group.leader == 1 for group in site.twins.groups.values())
    assert led
    told = await site.ask("POST", "/brokers/1/hand-over")
    assert (told["broker_id"], told["agreed"], told["asked"]) == (1, led, led)
    assert not any(group.leader == 1 for group in site.twins.groups.values())
    await site.ask("POST", "/brokers/99/hand-over", status=404)
