from __future__ import annotations

import asyncio

import msgspec
import pytest

from http_base.tokens import ClientToken, sign_client
from myqueue.contract.group_inputs import Offsets, OffsetsCommit, Receive, Settle
from myqueue.contract.inputs import BATCH, Fetch, OffsetByTime
from myqueue.contract.records import Record, encode_batch
from tests.eventually import eventually

WHERE = {"topic": "logs", "partition": 1}
GROUP = {**WHERE, "group": "g"}
GETS = {
    "/fetch": (Fetch, {**WHERE, "offset": 0}),
    "/offsets": (Offsets, GROUP),
    "/offsets/by-time": (OffsetByTime, {**WHERE, "timestamp": 1_703}),
}
POSTS = {
    "/offsets/commit": (OffsetsCommit, {**GROUP, "generation": 3, "offset": 2}),
    "/messages/receive": (Receive, {**GROUP, "max_messages": 4}),
    "/messages/ack": (Settle, {**GROUP, "receipts": ["0.1"]}),
    "/messages/nack": (Settle, {**GROUP, "receipts": ["0.1"], "delay_ms": 7}),
    "/messages/extend": (Settle, {**GROUP, "receipts": ["0.1"], "visibility_ms": 9}),
}


async def registered(site, kind: str = "consumer", topic: str = "logs") -> str:
    await site.create_topic(topic, partitions=2)
    answer = await site.post(f"/{kind}/register", {"topic": topic})
    return str(answer["token"])


async def ask(site, path: str, fields, *, status: int = 200, **more):
    """Make one of the calls, in the way of its method."""
    if path in POSTS:
        return await site.post(path, {**fields, **more}, status=status)
    query = "&".join(f"{name}={value}" for name, value in {**fields, **more}.items())
    return await site.get(f"{path}?{query}", status=status)


def leader_of(site, partition: int = 1):
    return site.twins.by_id(site.twins.group("logs", partition).leader)


@pytest.mark.parametrize("path", [*GETS, *POSTS])
async def test_a_call_reaches_the_leader_as_a_broker_knows_it(any_site, path):
    site = any_site
    token = await registered(site)
    await site.post("/offsets/commit", {**GROUP, "generation": 1, "token": token})
    kind, fields = (GETS | POSTS)[path]
    await ask(site, path, fields, token=token)
    arrived = leader_of(site).called(path)[-1]
    assert arrived.keys() <= set(kind.__struct_fields__)
    assert {name: str(arrived[name]) for name in fields} == {
        name: str(value) for name, value in fields.items()
    }
    makes_groups = path in ("/offsets/commit", "/messages/receive")
    assert arrived.get("token") == (token if makes_groups else None)


@pytest.mark.parametrize("path", [*GETS, *POSTS])
async def test_only_registered_clients_of_the_topic_are_passed_on(site, path):
    await registered(site)
    other = await registered(site, topic="other")
    _, fields = (GETS | POSTS)[path]
    for token in ({}, {"token": "forged"}, {"token": other}):
        answer = await ask(site, path, fields, status=401, **token)
        assert answer["code"] == "UNAUTHORIZED"
    gone = ClientToken("consumer", 9_999, "logs", site.runtime.now_ms)
    answer = await ask(site, path, fields, status=401, token=sign_client(site.runtime.secret, gone))
    assert answer["code"] == "UNAUTHORIZED"
    assert leader_of(site).called(path) == []


@pytest.mark.parametrize("path", list(POSTS))
async def test_producers_neither_commit_nor_work(site, path):
    token = await registered(site, "producer")
    await ask(site, path, POSTS[path][1], status=401, token=token)


async def test_what_is_read_comes_as_it_is_asked_for(site):
    token = await registered(site)
    producer = await site.producer()
    await site.produce(producer, "text", partition=1)
    leader = leader_of(site)
    leader.cluster.group("logs", 1).records.append(Record(b"\xff", None, {"h": b"\xfe"}, 5))

    answer = await ask(site, "/fetch", {**WHERE, "offset": 0}, token=token)
    assert [one["message"] for one in answer["messages"]] == ["text", None]
    assert answer["messages"][1]["message_base64"] == "/w=="
    assert (answer["next_offset"], answer["high_watermark"]) == (2, 2)

    target = f"/fetch?topic=logs&partition=1&offset=0&token={token}"
    packed = await site.send("GET", target, headers={"accept": "application/msgpack"})
    assert msgspec.msgpack.decode(packed.body)["messages"][1]["message"] == b"\xff"

    stored = await site.send("GET", target, headers={"accept": BATCH})
    assert stored.headers["content-type"] == BATCH
    assert stored.body == leader.passing.stored("logs", 1, 0)
    assert stored.headers["x-high-watermark"] == "2"
    assert stored.headers["x-next-offset"] == "2"


@pytest.mark.parametrize("accept", ["application/json", BATCH])
async def test_what_a_leader_refuses_is_refused(site, accept):
    token = await registered(site)
    target = f"/fetch?topic=logs&partition=1&offset=7&token={token}"
    answer = await site.send("GET", target, headers={"accept": accept})
    assert answer.status == 416
    assert answer.json["code"] == "OFFSET_OUT_OF_RANGE"
    assert answer.json["high_watermark"] == 0


@pytest.mark.parametrize("path", ["/fetch", "/messages/receive"])
async def test_a_call_that_waits_is_held_by_the_leader_and_counted_apart(site, path):
    token = await registered(site)
    producer = await site.producer()
    _, fields = (GETS | POSTS)[path]
    waiting = asyncio.create_task(ask(site, path, fields, token=token, wait_ms=5_000))
    await eventually(lambda: leader_of(site).called(path), "the leader is asked")
    assert (site.runtime.waiting_calls, site.runtime.open_calls) == (1, 0)
    await site.produce(producer, "now", partition=1)
    assert [one["message"] for one in (await waiting)["messages"]] == ["now"]
    assert site.runtime.waiting_calls == 0


async def test_a_record_batch_goes_to_the_leader_as_it_is(any_site):
    site = any_site
    await site.create_topic(partitions=2)
    registration = await site.post("/producer/register", {"topic": "logs"})
    batch = encode_batch([Record("x" * (1 << 20), None, None, 5)], producer_id=7, base_sequence=0)
    target = f"/producer/produce?topic=logs&partition=1&producer_id={registration['producer_id']}"
    headers = {"content-type": BATCH, "authorization": f"Bearer {registration['token']}"}
    answer = await site.send("POST", target, body=batch, headers=headers)
    assert (answer.status, answer.json["base_offset"]) == (200, 0)
    assert leader_of(site).batches == [batch]

    answer = await site.send("POST", target, body=b"no batch", headers=headers)
    assert (answer.status, answer.json["code"]) == (400, "CORRUPT_BATCH")
    headers["authorization"] = "Bearer forged"
    assert (await site.send("POST", target, body=batch, headers=headers)).status == 401
    assert len(leader_of(site).batches) == 1
