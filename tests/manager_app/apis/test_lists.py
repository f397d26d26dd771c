"""Lists: pages, also while rows come and go, filters, and what is refused."""

from __future__ import annotations

from itertools import chain, count
from urllib.parse import urlencode

import pytest
from django.utils import timezone

from manager_app.models import Broker, BrokerState, Consumer, ConsumerGroup, Producer, Topic
from manager_app.services.cluster import fenced
from tests.manager_app.apis.test_remembered import no_database
from tests.manager_app.group_twin import CommittedTwin
from tests.manager_app.writing import change

LISTS = ("topics", "brokers", "producers", "consumers", "groups")
_NUMBERS = count()


def make_topic(name, **fields):
    defaults = {"partitions_at_creation": 1, "replication_factor": 1}
    return Topic.objects.create(name=name, **defaults | fields)


def make_broker(number, **fields):
    defaults = {"incarnation": f"{number:032x}", "state": BrokerState.ALIVE}
    return Broker.objects.create(address=f"http://h:{number}", **defaults | fields)


def make_client(model, topic="of-clients", **fields):
    topic = Topic.objects.filter(name=topic).first() or make_topic(topic)
    return model.objects.create(topic=topic, last_heartbeat=timezone.now(), **fields)


MAKERS = {
    "topics": lambda: make_topic(f"t-{next(_NUMBERS)}"),
    "brokers": lambda: make_broker(next(_NUMBERS)),
    "producers": lambda: make_client(Producer),
    "consumers": lambda: make_client(Consumer),
    "groups": lambda: ConsumerGroup.objects.create(name=f"g-{next(_NUMBERS):06}"),
}
"""One more row of each list; it is the last of it."""
SHOWN = {
    "topics": lambda row: row.name,
    "brokers": lambda row: row.address,
    "producers": lambda row: row.pk,
    "consumers": lambda row: row.pk,
    "groups": lambda row: row.name,
}


def shown_of(answer, kind):
    return [
        row if isinstance(row, str) else row[f"{kind.removesuffix('s')}_id"] for row in answer[kind]
    ]


async def store(site, make, number=1):
    """Store rows as the manager writes its own."""

    def write():
        with fenced():
            return [make() for _ in range(number)]

    return await site.in_database(write)


def exchange(kind, rows):
    """Delete rows and store another one, which is returned."""
    with fenced():
        for row in rows:
            row.delete()
        return MAKERS[kind]()


async def walk(site, kind, /, **query):
    """Return all pages of a list."""
    pages, after = [], ""
    while after is not None:
        answer = await site.get(f"/{kind}?{urlencode({**query, 'after': after})}")
        pages.append(shown_of(answer, kind))
        after = answer["next"]
    return pages


@pytest.mark.parametrize("kind", LISTS)
async def test_pages_have_every_row_once_and_a_hundred_where_nothing_is_said(empty_site, kind):
    rows = await store(empty_site, MAKERS[kind], 120)
    expected = [SHOWN[kind](row) for row in rows]
    pages = await walk(empty_site, kind)
    assert [len(page) for page in pages] == [100, 20]
    assert [*chain(*pages)] == expected
    assert await walk(empty_site, kind, limit=60) == [expected[:60], expected[60:]]
    assert await walk(empty_site, kind, limit=1_000) == [expected]


@pytest.mark.parametrize("kind", LISTS)
async def test_a_walk_sees_each_row_once_that_is_there_while_others_come_and_go(empty_site, kind):
    rows = await store(empty_site, MAKERS[kind], 12)
    kept, gone = rows[::2], rows[1::2]
    seen, after = [], ""
    while after is not None:
        answer = await empty_site.get(f"/{kind}?limit=3&after={after}")
        seen += shown_of(answer, kind)
        after = answer["next"]
        if gone:
            kept.append(await empty_site.in_database(exchange, kind, {*gone[:1], *gone[-1:]}))
            del gone[:1], gone[-1:]
    assert len(seen) == len(set(seen))
    assert [one for one in map(SHOWN[kind], kept) if one not in seen] == []


async def test_a_page_that_cannot_be_is_refused_by_the_name_of_the_field(empty_site):
    pages = {"limit": ("0", "1001", "-1", "many", ""), "after": ("a/b", "x" * 300, "\0")}
    wrong = [(kind, field, value) for kind in LISTS for field in pages for value in pages[field]]
    for kind, field, value in wrong:
        answer = await empty_site.get(f"/{kind}?{urlencode({field: value})}", status=400)
        assert (answer["code"], answer["field"]) == ("INVALID_REQUEST", field), (kind, value)


async def test_after_the_last_of_all_ids_there_is_nothing(empty_site):
    for kind in LISTS:
        await store(empty_site, MAKERS[kind])
        after = "zzz" if kind == "groups" else "9" * 18
        answer = await empty_site.get(f"/{kind}?after={after}")
        assert (answer[kind], answer["next"]) == ([], None)


async def test_topics_are_chosen_by_the_beginning_of_their_names(empty_site):
    for name in ("logs-a", "Logs-b", "other", "logs-c", "log"):
        await store(empty_site, lambda name=name: make_topic(name))
    assert await walk(empty_site, "topics", prefix="logs-") == [["logs-a", "logs-c"]]
    assert await walk(empty_site, "topics", prefix="logs-", limit=1) == [["logs-a"], ["logs-c"]]
    detail = await empty_site.get("/topics?prefix=other&detail=1")
    assert [row["topic"] for row in detail["topics"]] == ["other"]
    assert (await empty_site.get("/topics?prefix=%00", status=400))["field"] == "prefix"


async def test_brokers_are_chosen_by_the_state_that_is_shown_and_by_rack(empty_site):
    made = await store(
        empty_site,
        lambda: [
            make_broker(1, rack="a"),
            make_broker(2, rack="b", state=BrokerState.DEAD),
            make_broker(3, rack="a"),
            make_broker(4, state=BrokerState.REPLACED),
        ],
    )
    one, dead, silent, replaced = (broker.address for broker in made[0])
    runtime = empty_site.runtime
    runtime.broker_heartbeats.beat(made[0][2].pk, runtime.monotonic_s())
    empty_site.clock.seconds += runtime.suspect_after_s + 1
    runtime.broker_heartbeats.beat(made[0][0].pk, runtime.monotonic_s())
    await empty_site.in_database(runtime.metadata.refresh)

    async def chosen(**query):
        detail = await empty_site.get(f"/brokers?{urlencode({'detail': 1, **query})}")
        return [row["address"] for row in detail["brokers"]]

    assert await walk(empty_site, "brokers") == [[one, dead, silent]]
    assert await chosen() == [one, dead, silent, replaced]
    assert await walk(empty_site, "brokers", state="alive") == [[one]]
    expected = {"alive": one, "suspect": silent, "dead": dead, "replaced": replaced}
    assert {state: await chosen(state=state) for state in expected} == {
        state: [address] for state, address in expected.items()
    }
    assert await chosen(rack="a") == [one, silent]
    assert await chosen(rack="a", state="suspect", limit=1) == [silent]
    assert (await empty_site.get("/brokers?state=ill", status=400))["field"] == "state"
    assert (await empty_site.get("/brokers?rack=%00", status=400))["field"] == "rack"


async def test_clients_are_chosen_by_topic_and_state(empty_site):
    for topic, state in (("a", "alive"), ("b", "alive"), ("a", "expired"), ("a", "revoked")):
        await store(
            empty_site, lambda topic=topic, state=state: make_client(Producer, topic, state=state)
        )
    assert await walk(empty_site, "producers") == [[1, 2, 3]]
    assert await walk(empty_site, "producers", topic="a") == [[1, 3]]
    assert await walk(empty_site, "producers", topic="a", limit=1) == [[1], [3]]
    assert await walk(empty_site, "producers", state="expired") == [[3]]
    assert await walk(empty_site, "producers", topic="b", state="expired") == [[]]
    assert (await empty_site.get("/producers?state=revoked", status=400))["field"] == "state"
    assert (await empty_site.get("/consumers?topic=c", status=404))["code"] == "TOPIC_NOT_FOUND"


async def test_groups_of_both_kinds_are_on_the_same_pages_in_the_order_of_bytes(site):
    await site.create_topic("logs", partitions=2)
    await site.create_topic("mails", partitions=1)
    await store(
        site,
        lambda: [
            ConsumerGroup.objects.create(name=name, topics={topic: [2, 1]})
            for name, topic in (("b", "logs"), ("B", "logs"), ("a.b", "mails"), ("a-b", "logs"))
        ],
    )
    for name, topic in (("a_b", "logs"), ("C", "mails"), ("b", "logs")):
        site.twins.group(topic, 0).offsets[name] = CommittedTwin(0, unsettled=1)
    names = ["B", "C", "a-b", "a.b", "a_b", "b"]
    assert await walk(site, "groups", limit=1) == [[name] for name in names]
    assert await walk(site, "groups", limit=4) == [names[:4], names[4:]]
    assert await walk(site, "groups", kind="consumers", limit=3) == [["B", "a-b", "a.b"], ["b"]]
    assert await walk(site, "groups", kind="workers", prefix="a") == [["a_b"]]
    assert await walk(site, "groups", prefix="a", limit=2) == [["a-b", "a.b"], ["a_b"]]
    assert await walk(site, "groups", topic="mails") == [["C", "a.b"]]
    assert (await site.get("/groups?kind=others", status=400))["field"] == "kind"


async def test_groups_of_consumers_alone_are_listed_without_asking_a_broker(site, monkeypatch):
    await store(site, MAKERS["groups"])
    monkeypatch.setattr(site.runtime.standings, "ask", None)
    assert len((await site.get("/groups?kind=consumers"))["groups"]) == 1


async def test_from_memory_lists_have_the_same_pages_and_filters(site, monkeypatch):
    for name in ("logs-1", "other", "logs-2"):
        await site.create_topic(name, partitions=1)
    await site.in_database(lambda: change(Broker.objects.filter(pk=2), state=BrokerState.DEAD))
    await site.in_database(site.runtime.metadata.refresh)
    await site.stop_polling()

    async def all_pages():
        return [
            await walk(site, "topics", limit=2),
            await walk(site, "topics", limit=1, prefix="logs-"),
            await walk(site, "brokers", limit=2),
            await walk(site, "brokers", state="dead"),
            [
                [row["broker_id"] for row in (await site.get(f"/brokers?{query}"))["brokers"]]
                for query in ("detail=1&limit=2", "detail=1&after=2", "detail=1&state=alive")
            ],
            [
                [row["topic"] for row in (await site.get(f"/topics?{query}"))["topics"]]
                for query in ("detail=1&limit=2", "detail=1&prefix=other")
            ],
        ]

    stored = await all_pages()
    assert stored[0] == [["logs-1", "other"], ["logs-2"]]
    with no_database(monkeypatch):
        assert await all_pages() == stored
        answer = await site.get("/brokers?rack=a", status=503)
    assert answer["code"] == "DATABASE_UNAVAILABLE"
