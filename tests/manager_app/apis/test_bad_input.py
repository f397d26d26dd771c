"""Whatever comes in: the answer is a 4xx in the one failure shape, and the next call works."""

from __future__ import annotations

import msgspec
import pytest

JSON = {"content-type": "application/json"}
CALLS = [
    ("POST", "/topics", {"topic": "fresh"}),
    ("PATCH", "/topics/logs", {"retention_ms": 5}),
    ("POST", "/brokers", {"broker_address": "http://h:1"}),
    ("POST", "/producer/register", {"topic": "logs"}),
    ("POST", "/consumer/register", {"topic": "logs"}),
    ("POST", "/producer/produce", {"topic": "logs", "producer_id": 1, "message": "x"}),
    ("POST", "/consumer/consume", {"topic": "logs", "consumer_id": 1, "max_messages": 1}),
    ("GET", "/consumer/consume", {"topic": "logs", "consumer_id": 1, "max_messages": 1}),
    ("POST", "/cursors/reset", {"topic": "logs", "consumer_id": 1, "partition": 1, "offset": 0}),
    ("POST", "/groups/billing/join", {"topics": ["nowhere"]}),
    ("POST", "/groups/billing/heartbeat", {"member_id": "x", "generation": 1, "owned": {}}),
    ("GET", "/size", {"topic": "logs", "consumer_id": 1}),
    ("GET", "/health", {"type": 0, "key": 1}),
    ("DELETE", "/producers/1", {"token": "x"}),
    ("DELETE", "/consumers/1", {"token": "x"}),
    ("DELETE", "/topics/nowhere", {}),
    ("DELETE", "/brokers/77", {}),
    ("PATCH", "/brokers/77", {"draining": False}),
    ("DELETE", "/groups/nowhere", {}),
]
BODIES = [
    b"{",
    b"nonsense",
    b"\xff\xfe",
    b'{"topic": "\xff"}',
    b'{"topic": "\\ud800"}',
    b"[]",
    b'"text"',
    b"1",
    b"null" * 2,
    b"[" * 50_000,
    b'{"topic": "logs", "nonsense": 1}',
    b'{"topic": "logs", "topic_name": "other"}',
    b'{"topic": null}',
    b'{"topic": 5}',
    b'{"topic": {}}',
    b'{"": ""}',
    b"{" + b" " * (1 << 20) + b"}",
]


async def refused(site, method, target, *, body=b"", headers=JSON):
    answer = await site.send(method, target, body=body, headers=headers)
    assert 400 <= answer.status < 500, (method, target, body[:80], answer)
    fields = answer.json
    assert fields["status"] == "failure"
    assert isinstance(fields["code"], str)
    assert isinstance(fields["message"], str)
    assert "Traceback" not in fields["message"]
    return fields


@pytest.fixture
async def busy_site(any_site):
    await any_site.create_topic("logs", partitions=2)
    assert await any_site.producer() == 1
    assert await any_site.consumer() == 1
    return any_site


def tried(site, examples):
    """Return the examples for a site: all, or one when Django's handler, a slow one, is tried too.

    Both ways end in the same views, which look at the values.
    """
    return examples if site.app is site.hot_app else examples[:1]


async def test_malformed_bodies_are_refused_everywhere(busy_site):
    for method, target, _ in CALLS:
        for body in tried(busy_site, BODIES):
            await refused(busy_site, method, target, body=body)
    await busy_site.produce(1, "the next good call works")


async def test_bodies_of_other_types_are_refused(busy_site):
    for method, target, _ in CALLS:
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
            await refused(busy_site, method, target, body=b"a=b", headers={"content-type": kind})
        packed = {"content-type": "application/msgpack"}
        for body in (b"\xc1", b"\x81", b"\xdd\xff\xff\xff\xff", msgspec.msgpack.encode([1])):
            await refused(busy_site, method, target, body=body, headers=packed)
    await busy_site.produce(1, "the next good call works")


async def test_chunked_bodies_are_read_and_capped(site):
    await site.create_topic("logs", partitions=2)
    await site.producer()
    good = msgspec.json.encode({"topic": "logs", "producer_id": 1, "message": "in pieces"})
    answer = await site.send("POST", "/producer/produce", body=[good[:10], b"", good[10:]])
    assert answer.status == 200
    for method, target, _ in CALLS:
        fields = await refused(site, method, target, body=[b'{"topic": "', b"x" * (1 << 20), b'"}'])
        assert fields["code"] == "MESSAGE_TOO_LARGE"
    await site.produce(1, "the next good call works")


WRONG = [
    ("topic", ["", "x" * 10_000, "a\0b", "🙂", 5, None, [], {}, True]),
    ("name", ["other"]),
    ("producer_id", ["x", 1.5, [], -1, 2**63, 2**64, 10**30, True]),
    ("consumer_id", ["x", 1.5, [], -1, 2**63, 2**64, 10**30, True]),
    ("partition", [-1, 2, 2**63, 10**30, "x", 1.5, [], True]),
    ("partition_key", [1.5, [], {}, True]),
    ("message", [5, None, [], {}, True, "\ud800", "x" * ((1 << 20) + 1)]),
    ("messages", [[], [5], [None], [{}], [{"message": 1}], [{"message": "x", "y": 1}], "x", 5]),
    ("key", [5, [], {}, True, "k" * 9_000]),
    ("headers", ["x", 5, [], {"h": 5}, {"h": "v" * 9_000}, {str(n): "" for n in range(65)}]),
    ("timestamp", ["x", -1, 2**63, 1.5]),
    ("request_id", ["", "x" * 65, 5, [], "\ud800"]),
    ("producer_epoch", [0, -1, "x"]),
    ("base_sequence", [0, -1, "x"]),
    ("timeout_ms", [0, -1, 60_001, 2**63, "x", None]),
    ("wait_ms", [-1, 30_001, 2**63, "x", None]),
    ("max_messages", [0, -1, 10_001, 2**63, "x"]),
    ("max_bytes", [0, -1, (8 << 20) + 1, "x"]),
    ("number_of_partitions", [0, -1, 1_025, 2**63, 10**30, "x", 1.5, True, None]),
    ("replication_factor", [0, -1, 100, 2**63, "x", None]),
    ("retention_ms", [0, -1, 2**63, 10**30, "x", 1.5]),
    ("retention_bytes", [0, -1, 2**63, 10**30, "x", 1.5]),
    ("broker_address", ["", "x", "http://h", 5, None, "http://h:1/" + "x" * 10_000, "h\0:1"]),
    ("type", [3, -1, "x", None, 2**63, 1.5, True]),
    ("key", [None, [], {}, 1.5, True, 2**63, 10**30, "\ud800", "x" * 100_000]),
    ("token", [5, [], True, "x" * 5_000, "ä", "\ud800", "a:b:c"]),
    ("start", ["middle", "", 5, None]),
    ("topics", [[], ["\0"], ["x" * 10_000], [5], "logs", {}, 5, None, True]),
    ("member_id", ["", "x" * 100_000, "\ud800", "a\0b", 5, [], True]),
    ("generation", [-1, 2**63, 10**30, "x", 1.5, True, None]),
    ("owned", [[], "x", {"logs": 5}, {"logs": ["x"]}, {"logs": [2**63]}, None]),
    ("session_timeout_ms", [0, -1, 999, 600_001, 2**63, "x", None]),
    ("draining", [True, "x", 5, None]),
]


def encoded(fields):
    """Encode as JSON; a lone surrogate, which no encoder writes, as an escape."""
    text = msgspec.json.encode(
        {
            name: value.replace("\ud800", "@@surrogate@@") if isinstance(value, str) else value
            for name, value in fields.items()
        }
    )
    return text.replace(b"@@surrogate@@", b"\\ud800")


async def test_wrong_values_are_refused_by_every_call_that_knows_the_field(busy_site):
    for method, target, good in CALLS:
        for field, values in WRONG:
            for value in tried(busy_site, values):
                if value is None and field not in good:
                    continue  # null leaves an optional field out
                call = {**good, field: value}
                if field == "messages":
                    call.pop("message", None)
                if big(call):
                    continue
                fields = await refused(busy_site, method, target, body=encoded(call))
                if f"unknown field `{field}`" in fields["message"]:
                    break  # no other value makes it known
    await busy_site.produce(1, "the next good call works")
    await busy_site.post("/topics", {"topic": "fresh"}, status=201)
    await busy_site.twins.reported()


def big(call):
    return any(type(value) is int and value.bit_length() > 64 for value in call.values())


async def test_numbers_beyond_64_bits_are_refused_in_bodies_and_queries(busy_site):
    for method, target, good in CALLS:
        for field in good:
            text = msgspec.json.encode({**good, field: 0}).replace(
                f'"{field}":0'.encode(), f'"{field}":{10**30}'.encode()
            )
            await refused(busy_site, method, target, body=text)
    number = "9" * 5_000
    for target in (
        f"/size?topic=logs&consumer_id={number}",
        f"/size?topic=logs&consumer_id=1&partition={number}",
        f"/consumer/consume?topic=logs&consumer_id={number}",
        f"/consumer/consume?topic=logs&consumer_id=1&partition={number}",
        f"/health?type=0&key={number}",
        f"/health?type={number}&key=1",
    ):
        await refused(busy_site, "GET", target)
    for target in (f"/producers/{number}", f"/consumers/{number}", f"/brokers/{number}"):
        await refused(busy_site, "DELETE", target)


@pytest.mark.parametrize(
    "query",
    [
        "topic=logs&consumer_id=1&nonsense=1",
        "topic=logs&topic_name=other&consumer_id=1",
        "topic=logs&topic=other&consumer_id=1",
        "topic=%FF&consumer_id=1",
        "topic=%00&consumer_id=1",
        "topic=logs&consumer_id=",
        "topic=logs&consumer_id=1&partition=1&partition_key=x",
        "topic=logs",
        "consumer_id=1",
        "=",
        "&".join(f"a{number}=1" for number in range(200)),
        "topic=" + "x" * 50_000 + "&consumer_id=1",
    ],
)
async def test_wrong_queries_are_refused(busy_site, query):
    await refused(busy_site, "GET", f"/consumer/consume?{query}")
    await refused(busy_site, "GET", f"/topics?{query}")
    await busy_site.produce(1, "the next good call works")


async def test_unknown_urls_and_methods_have_the_same_shape(busy_site):
    for method, target, code in (
        ("GET", "/nowhere", "NOT_FOUND"),
        ("POST", "/topics/logs/x", "NOT_FOUND"),
        ("GET", "/topics/", "NOT_FOUND"),
        ("DELETE", "/producers/x", "NOT_FOUND"),
        ("DELETE", "/producers/-1", "NOT_FOUND"),
        ("PUT", "/topics", "METHOD_NOT_ALLOWED"),
        ("GET", "/producer/produce", "METHOD_NOT_ALLOWED"),
        ("DELETE", "/size", "METHOD_NOT_ALLOWED"),
        ("GET", "/groups/billing/join", "METHOD_NOT_ALLOWED"),
        ("GET", "/groups/", "NOT_FOUND"),
        ("GET", "/groups/nowhere", "GROUP_NOT_FOUND"),
        ("POST", "/healthz", "METHOD_NOT_ALLOWED"),
    ):
        assert (await refused(busy_site, method, target))["code"] == code
    answer = await refused(busy_site, "GET", "/topics", headers={"accept": "image/png"})
    assert answer["code"] == "NOT_ACCEPTABLE"


async def test_malformed_reports_of_brokers_are_refused(site):
    twin = site.twins.brokers[0]
    orders = await twin.report()
    headers = {**JSON, "authorization": f"Bearer {site.cluster_token}"}
    for body in BODIES:
        await refused(site, "POST", "/brokers/heartbeat", body=body, headers=headers)
    assert (await twin.report()) == orders
