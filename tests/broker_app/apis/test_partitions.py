"""/partitions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from http_base.cluster import MembersAnswer, ReplicaPlace
from tests.broker_app.apis.conftest import Api, token_of

if TYPE_CHECKING:
    from tests.broker_app.engine_twin import EngineTwin, LinkTwin, PeersTwin
    from tests.http_base.asgi_client import Answer

ORDER: dict[str, Any] = {
    "group_id": 8,
    "replica_id": 81,
    "topic": "logs",
    "partition": 1,
    "bootstrap": True,
    "replicas": [{"replica_id": 81, "broker_id": 1}, {"replica_id": 82, "broker_id": 2}],
    "epoch": 3,
    "version": 1,
}


async def test_replicas_are_listed(api: Api, engine: EngineTwin) -> None:
    engine.add("other", 4, group_id=9)
    partitions = (await api.get("/partitions", None)).json["partitions"]
    assert [(one["topic"], one["partition"], one["role"]) for one in partitions] == [
        ("logs", 0, "leader"),
        ("other", 4, "leader"),
    ]
    assert partitions[0]["followers"] == []
    [one] = (await api.get("/partitions", topic="other")).json["partitions"]
    assert (one["group_id"], one["high_watermark"], one["cursors"]) == (9, 0, 0)


async def test_replica_is_made_once_and_the_first_campaigns(api: Api, engine: EngineTwin) -> None:
    for _ in range(2):
        answer = await api.post("/partitions", **ORDER)
        assert (answer.status, answer.json["partition"]["group_id"]) == (201, 8)
    assert engine.campaigned == [8]
    assert engine.replicas[8].membership.voter_ids == {81, 82}
    second = {**ORDER, "group_id": 10, "partition": 2, "replicas": ORDER["replicas"][::-1]}
    await api.post("/partitions", **second)
    assert engine.campaigned == [8]
    assert (
        await api.post("/producer/produce", topic="logs", partition=2, producer_id=1, message="a")
    ).status == 200


async def test_manager_is_asked_about_brokers_that_are_not_known(
    api: Api, engine: EngineTwin, link: LinkTwin
) -> None:
    await api.post("/partitions", **ORDER)
    assert link.heartbeats == 0
    engine.peers.clear()
    await api.post("/partitions", **{**ORDER, "group_id": 10, "partition": 2})
    assert link.heartbeats == 1


async def test_orders_that_cannot_be_are_refused(
    api: Api, engine: EngineTwin, failure: Any
) -> None:
    async def order(**changes: Any) -> tuple[int, str]:
        result: tuple[int, str] = failure(await api.post("/partitions", **{**ORDER, **changes}))
        return result

    stranger = [{"replica_id": 82, "broker_id": 2}]
    assert await order(replicas=stranger) == (400, "INVALID_REQUEST")
    assert await order(replica_id=82) == (400, "INVALID_REQUEST")
    assert await order(replicas=[{"replica_id": 81, "broker_id": 0}]) == (400, "INVALID_REQUEST")
    assert await order(replicas=ORDER["replicas"] * 2) == (400, "INVALID_REQUEST")
    assert await order(group_id=0) == (400, "INVALID_REQUEST")
    assert await order(partition=-1) == (400, "INVALID_REQUEST")
    assert await order(group_id=7) == (409, "STALE_PLACEMENT")
    assert await order(epoch=2) == (409, "STALE_PLACEMENT")
    assert list(engine.replicas) == [7]


async def test_replica_that_joins_learns_its_members_from_the_leader(
    api: Api, engine: EngineTwin
) -> None:
    answer = await api.post("/partitions", **{**ORDER, "bootstrap": False})
    assert answer.status == 201
    assert answer.json["partition"]["replicas"] == []
    assert [spec.replica_id for spec in engine.joined] == [81]
    assert engine.campaigned == []


async def test_new_replica_takes_the_place_of_one_that_its_group_has_removed(
    api: Api, engine: EngineTwin, peers: PeersTwin, failure: Any
) -> None:
    places = [{"replica_id": 75, "broker_id": 1}, {"replica_id": 72, "broker_id": 2}]
    joins = {
        "group_id": 7,
        "replica_id": 75,
        "topic": "logs",
        "partition": 0,
        "bootstrap": False,
        "replicas": places,
        "epoch": 3,
        "version": 4,
    }
    assert failure(await api.post("/partitions", **joins)) == (409, "STALE_PLACEMENT")
    assert peers.asked == [2]
    still = [ReplicaPlace(70, 1), ReplicaPlace(72, 2)]
    peers.answers[2] = MembersAnswer(group_id=7, version=3, replicas=still)
    assert failure(await api.post("/partitions", **joins)) == (409, "STALE_PLACEMENT")
    peers.answers[2] = MembersAnswer(group_id=7, version=4, replicas=[ReplicaPlace(72, 2)])
    assert (await api.post("/partitions", **joins)).status == 201
    assert engine.replicas[7].spec.replica_id == 75


async def test_what_a_partition_keeps_comes_with_the_order(api: Api, engine: EngineTwin) -> None:
    for limits in ({}, {"retention_ms": 1_000}, {"retention_ms": 1_000, "retention_bytes": 2_000}):
        await api.post("/partitions", **ORDER, **limits)
        [partition] = [
            one for one in (await api.get("/partitions")).json["partitions"] if one["group_id"] == 8
        ]
        assert partition["retention_ms"] == limits.get("retention_ms", 0)
        assert partition["retention_bytes"] == limits.get("retention_bytes", 0)
    assert len(engine.proposals) == 2


async def test_partition_is_led_to_other_replicas(
    api: Api, engine: EngineTwin, link: LinkTwin, failure: Any
) -> None:
    target = {"replicas": [{"replica_id": 79, "broker_id": 9}], "epoch": 3, "version": 5}
    answer = await api.post("/partitions/7/replicas", **target)
    assert answer.status == 202
    assert answer.json["change"]["target"] == target["replicas"]
    assert link.heartbeats == 1, "broker 9 is not known yet"
    [partition] = (await api.get("/partitions")).json["partitions"]
    assert partition["change"] == answer.json["change"]
    stale = {**target, "epoch": 2}
    assert failure(await api.post("/partitions/7/replicas", **stale)) == (409, "STALE_PLACEMENT")
    wrong = {**target, "replicas": [{"replica_id": 0, "broker_id": 9}]}
    assert failure(await api.post("/partitions/7/replicas", **wrong)) == (400, "INVALID_REQUEST")
    engine.lose(engine.replicas[7])
    assert failure(await api.post("/partitions/7/replicas", **target)) == (421, "NOT_LEADER")


async def test_members_are_confirmed_by_a_quorum(
    api: Api, engine: EngineTwin, failure: Any
) -> None:
    answer = await api.get("/partitions/7/replicas")
    assert answer.json["replicas"] == [{"replica_id": 70, "broker_id": 1}]
    assert engine.barriers == 1
    engine.lose(engine.replicas[7])
    assert failure(await api.get("/partitions/7/replicas")) == (421, "NOT_LEADER")


async def test_removed_replica_is_dropped_once_that_is_certain(
    api: Api, engine: EngineTwin, failure: Any
) -> None:
    async def drop(replica_id: int) -> Answer:
        return await api.send("DELETE", "/partitions/7", query={"replica_id": replica_id})

    assert (await drop(71)).json["deleted"] is False
    assert failure(await drop(70)) == (409, "STALE_PLACEMENT")
    engine.replicas[7].applied.is_removed = True
    assert (await drop(70)).json["deleted"] is True
    assert not engine.replicas


async def test_replica_is_dropped(api: Api, engine: EngineTwin, failure: Any) -> None:
    named = {"topic": "logs", "partition": 0, "epoch": 3}
    answer = await api.send("DELETE", "/partitions/7", query=named)
    assert answer.json == {"status": "success", "group_id": 7, "deleted": True}
    assert not engine.replicas
    assert (await api.send("DELETE", "/partitions/7", query=named)).json["deleted"] is False
    call = {"topic": "logs", "partition": 0, "producer_id": 1, "message": "a"}
    assert failure(await api.post("/producer/produce", **call)) == (404, "PARTITION_NOT_FOUND")


async def test_replica_of_another_partition_stays(
    api: Api, engine: EngineTwin, failure: Any
) -> None:
    for named in ({"topic": "other", "partition": 0}, {"topic": "logs", "partition": 1}):
        answer = await api.send("DELETE", "/partitions/7", query=named)
        assert failure(answer) == (409, "STALE_PLACEMENT")
    for missing in ({"topic": "logs"}, {"partition": 0}, {}):
        answer = await api.send("DELETE", "/partitions/7", query=missing)
        assert failure(answer) == (400, "INVALID_REQUEST")
        assert answer.json["field"] not in missing
    assert list(engine.replicas) == [7]


async def test_leadership_is_handed_over(api: Api, engine: EngineTwin, failure: Any) -> None:
    answer = await api.post("/partitions/7/leader", broker_id=2)
    assert (answer.status, engine.transfers) == (200, [(7, 2)])
    assert (await api.post("/partitions/7/leader", broker_id=1)).status == 200
    assert len(engine.transfers) == 1
    answer = await api.post("/partitions/99/leader", broker_id=1)
    assert failure(answer) == (404, "PARTITION_NOT_FOUND")


async def test_orders_of_a_manager_that_was_superseded_are_refused(
    api: Api, engine: EngineTwin, failure: Any
) -> None:
    assert (await api.post("/partitions", **ORDER)).status == 201
    before = dict(engine.replicas)
    target = {"replicas": [{"replica_id": 70, "broker_id": 1}], "version": 9}
    names = {"topic": "logs", "partition": 0}
    for answer in (
        await api.post("/partitions", **{**ORDER, "group_id": 10, "epoch": 2}),
        await api.post("/partitions/7/leader", broker_id=2, epoch=2),
        await api.post("/partitions/7/replicas", **target, epoch=2),
        await api.send("DELETE", "/partitions/7", query={**names, "epoch": 2}),
    ):
        assert failure(answer) == (409, "STALE_PLACEMENT")
    assert engine.replicas == before
    assert not engine.transfers
    deleted = await api.send("DELETE", "/partitions/7", query={**names, "epoch": 4})
    assert deleted.json["deleted"] is True
    assert failure(await api.post("/partitions", **ORDER)) == (409, "STALE_PLACEMENT")


async def test_orders_need_the_cluster_token(api: Api, failure: Any) -> None:
    bearer = token_of("producer", 1)
    for answer in (
        await api.post("/partitions", bearer, **ORDER),
        await api.post("/partitions/7/leader", bearer, broker_id=2),
        await api.post("/partitions/7/replicas", bearer, replicas=[], epoch=1, version=1),
        await api.get("/partitions/7/replicas", bearer),
        await api.send("DELETE", "/partitions/7", bearer=bearer),
        await api.send("DELETE", "/partitions/7", bearer=None),
    ):
        assert failure(answer) == (401, "UNAUTHORIZED")


async def test_replicas_can_be_looked_at_in_a_browser(api: Api) -> None:
    answer = await api.send("GET", "/partitions", bearer=None, accept="text/html")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert b"high_watermark" in answer.body
