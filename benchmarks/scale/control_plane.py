"""Times what a manager does on a database of a size; Django is set up before this is imported.

What counts is the processor time of the thread that does the work, database calls included (SQLite
runs in it), so that other programs on the machine do not count.
"""

from __future__ import annotations

from functools import partial
from itertools import count
from typing import TYPE_CHECKING

import msgspec
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.test.utils import override_settings
from django.utils import timezone

from benchmarks.measurement import Figure
from benchmarks.scale.cluster_size import ClusterSize
from benchmarks.scale.database import make_database, report_of
from benchmarks.scale.manager_costs import seconds
from manager_app import selectors
from manager_app.apis.rendering import partition_detail
from manager_app.inputs import BrokersQuery, ClientsQuery, TopicsQuery
from manager_app.models import Broker, ConsumerGroup, Producer, Replica, ReplicaState, Topic
from manager_app.placement.balance_round import plan_balance
from manager_app.placement.partition_facts import partitions_to_heal
from manager_app.placement.rules import choose_transfers
from manager_app.selectors import ClientKey
from manager_app.services.broker import brokers_remove_drained
from manager_app.services.client import heartbeats_record, producer_create
from manager_app.services.report import broker_report
from manager_app.services.topic import topic_create

if TYPE_CHECKING:
    from collections.abc import Callable

WIDE_TOPIC = 50
TOPIC_PARTITIONS = 10
BROKERS = 30
CLIENTS_PER_PARTITION = 2
PAGES = ("topic", "partition", "replica", "broker", "producer", "consumer", "consumergroup")
"""Of the admin, each with its rows as they are, searched, and from the middle."""
GROUPS = 500
CONSOLE = (
    "/admin/",
    "/admin/topics/",
    "/admin/topics/?after=topic-00005",
    "/admin/topics/?name=0005",
    "/admin/topics/topic-00005/",
    "/admin/topics/wide-0/",
    "/admin/topics/topic-00005/settings/",
    "/admin/topics/topic-00005/settings/delete/",
    "/admin/brokers/",
    "/admin/brokers/{broker}/",
    "/admin/clients/",
    "/admin/events/",
)
"""Pages that show what is stored, without a running manager."""
FOLLOWING_SHARE = 100
"""One of so many replicas has changed where a report follows another."""


def size_of(partitions: int) -> ClusterSize:
    """Return the cluster that is made: three replicas, topics of ten, two clients a partition."""
    return ClusterSize(
        brokers=BROKERS,
        partitions=partitions,
        topic_partitions=TOPIC_PARTITIONS,
        clients=CLIENTS_PER_PARTITION * partitions,
        members=0,
    )


def measure_control_plane(partitions: int) -> dict[Figure, float]:
    """Fill the database that Django is set up with, and return what everything takes."""
    size = size_of(partitions)
    make_database(size)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")  # as databases do by themselves after a while
    return {**_lists(), **_topics(), **_rounds(), **_reports(size), **_clients(), **_pages()}


def _milliseconds(work: Callable[[], object]) -> float:
    return seconds(work) * 1000


def _lists() -> dict[Figure, float]:
    """Return what the slowest page of each list takes: the first, and one from the middle."""
    middle = str(Topic.objects.order_by("-pk")[Topic.objects.count() // 2].pk)
    clients = str(Producer.objects.order_by("-pk")[Producer.objects.count() // 2].pk)
    topics = [TopicsQuery(limit=1_000), TopicsQuery(detail=True), TopicsQuery(after=middle)]
    rows = [ClientsQuery(), ClientsQuery(after=clients), ClientsQuery(state="expired")]
    return {
        Figure.LIST_MS: max(
            *(_milliseconds(partial(selectors.topic_names, one)) for one in topics),
            *(_milliseconds(partial(selectors.topics_with_counts, one)) for one in topics[1:]),
            *(_milliseconds(partial(selectors.clients_list, "producer", one)) for one in rows),
        ),
        Figure.BROKERS_MS: max(
            _milliseconds(lambda: selectors.broker_addresses(BrokersQuery())),
            _milliseconds(lambda: selectors.brokers_with_counts(BrokersQuery())),
        ),
    }


def _topics() -> dict[Figure, float]:
    """Return what a new topic takes until its replicas can be ordered, and its description."""
    numbers = count()

    def create() -> None:
        name = f"wide-{next(numbers)}"
        topic_create(name=name, number_of_partitions=WIDE_TOPIC, replication_factor=3)
        selectors.metadata_load()
        selectors.replica_orders(Replica.objects.filter(partition__topic__name=name), 1)

    def describe() -> None:
        topic = selectors.topic_get("wide-0")
        details = [partition_detail(one, {}) for one in selectors.topic_partitions(topic)]
        assert len(details) == WIDE_TOPIC, details

    return {Figure.CREATE_MS: _milliseconds(create), Figure.TOPIC_MS: _milliseconds(describe)}


def _rounds() -> dict[Figure, float]:
    """Return what the rounds take that a manager makes when nothing is wrong."""
    Replica.objects.filter(state=ReplicaState.ORDERED).update(state=ReplicaState.RUNNING)
    brokers = set(Broker.objects.values_list("pk", flat=True))

    def reconcile() -> None:
        Replica.objects.filter(state=ReplicaState.ORDERED, leaving=False).exists()
        plan_balance()
        partitions_to_heal().count()
        brokers_remove_drained()

    def balance() -> None:
        choose_transfers(selectors.led_partitions(), brokers, at_most=100)

    return {
        Figure.RECONCILE_MS: _milliseconds(reconcile),
        Figure.LEADERS_MS: _milliseconds(balance),
        Figure.LOAD_MS: _milliseconds(selectors.metadata_load),
    }


def _reports(size: ClusterSize) -> dict[Figure, float]:
    """Return what a broker's reports take and weigh: a full one, and one of what changed."""
    replace = msgspec.structs.replace
    broker = Broker.objects.order_by("pk")[size.brokers // 2]
    full = replace(report_of(broker, 1_000), number=1)
    version = broker_report(full).orders.metadata_version
    changed = full.replicas[: max(1, len(full.replicas) // FOLLOWING_SHARE)]
    following = replace(full, full=False, metadata_version=version, replicas=changed)
    number = 1

    def follow() -> None:
        nonlocal number
        number += 1
        replicas = [replace(one, high_watermark=1_000 + number) for one in changed]
        report = replace(following, number=number, follows=number - 1, replicas=replicas)
        assert broker_report(report).orders.taken == number, "nothing is missing before it"

    took = _milliseconds(follow)
    return {
        Figure.FULL_REPORT_MS: _milliseconds(lambda: broker_report(full)),
        Figure.REPORT_MS: took,
        Figure.FULL_REPORT_KB: len(msgspec.json.encode(full)) / 1_000,
        Figure.REPORT_KB: len(msgspec.json.encode(following)) / 1_000,
    }


def _clients() -> dict[Figure, float]:
    """Return what a registration takes, and a look at all clients after their heartbeats."""
    heard = dict.fromkeys(
        (ClientKey("producer", one) for one in Producer.objects.values_list("pk", flat=True)),
        timezone.now(),
    )

    def look() -> None:
        heartbeats_record(heard)
        selectors.clients_alive("producer")

    return {
        Figure.CLIENTS_MS: _milliseconds(look),
        Figure.REGISTER_MS: _milliseconds(lambda: producer_create("wide-0")),
    }


def _make_groups() -> None:
    """Store groups that read a topic or two each."""
    names = list(Topic.objects.order_by("pk").values_list("name", flat=True)[:GROUPS])
    ConsumerGroup.objects.bulk_create(
        ConsumerGroup(
            name=f"group-{number:05}",
            topics={names[(number + one) % len(names)]: [TOPIC_PARTITIONS, 1] for one in (0, 7)},
        )
        for number in range(GROUPS)
    )


def _pages() -> dict[Figure, float]:
    """Return what the slowest list of the admin takes, and the slowest page of the console."""
    _make_groups()

    def get(path: str) -> None:
        # A small database has no fourth page, and the admin leads elsewhere.
        assert person.get(path).status_code in (200, 302), path

    with override_settings(ROOT_URLCONF="queuesite.urls_manager"):
        person = Client()
        person.force_login(get_user_model().objects.create_superuser("admin", "", "secret"))
        paths = [
            f"/admin/manager_app/{page}/{query}"
            for page in PAGES
            for query in ("", "?q=topic-00005", "?p=3")
        ]
        broker = Broker.objects.values_list("pk", flat=True).order_by("pk")[0]
        console = [page.format(broker=broker) for page in CONSOLE]
        return {
            Figure.PAGE_MS: max(_milliseconds(partial(get, path)) for path in paths),
            Figure.CONSOLE_MS: max(_milliseconds(partial(get, path)) for path in console),
        }
