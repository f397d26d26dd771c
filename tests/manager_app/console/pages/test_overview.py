from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from http_base.cluster import BrokerStanding
from manager_app.console.pages.overview import url_of
from manager_app.health.problems import BAD, Problem, To
from manager_app.models import Broker, Partition, Replica, Topic
from tests.manager_app.many_partitions import make_cluster


@pytest.mark.django_db
@pytest.mark.parametrize(("role", "status"), [("", 403), ("viewer", 200), ("superuser", 200)])
def test_viewers_see_the_overview(log_in, role, status):
    assert log_in(role).get("/admin/").status_code == status


@pytest.mark.django_db
def test_before_the_first_look_the_database_says_how_it_is(log_in):
    assert b"No broker has registered." in log_in("viewer").get("/admin/").content
    make_cluster(1)
    shown = log_in("operator").get("/admin/").content
    assert b"10 partitions with leaders and all replicas" in shown


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/admin/", "/admin/brokers/", "/admin/brokers/{broker}/"])
def test_a_page_takes_as_many_statements_however_many_partitions_there_are(log_in, path):
    browser = log_in("viewer")

    def statements():
        with CaptureQueriesContext(connection) as asked:
            assert browser.get(path.format(broker=broker.pk)).status_code == 200
        return len(asked)

    make_cluster(1)
    broker = Broker.objects.order_by("pk")[0]
    few = statements()
    for number in range(3):
        topic = Topic.objects.create(
            name=f"more-{number}", partitions_at_creation=1, replication_factor=1
        )
        partition = Partition.objects.create(topic=topic, index=0, leader=broker)
        Replica.objects.create(partition=partition, broker=broker, position=0, bootstrap=True)
    assert statements() == few


async def test_problems_are_named_with_what_to_do_and_a_link(site, log_in_at):
    await site.create_topic(partitions=2)
    site.twins.by_id(2).standing = BrokerStanding(disk_full=True)
    await site.runtime.watch.look()
    shown = (await (await log_in_at("viewer")).get("/admin/")).body.decode()
    assert 'data-health="bad"' in shown
    assert "The disk of broker 2 has less free space than its reserve" in shown
    assert "Shorten the retention" in shown
    assert 'href="/admin/brokers/2/"' in shown
    for chart in ("messages", "bytes", "latency", "lag"):
        assert f'id="chart-{chart}-title"' in shown


def test_a_page_that_is_not_there_makes_no_link():
    problem = Problem(key="k", severity=BAD, text="t", advice="a", to=To("x", "console:nowhere"))
    assert url_of(problem) == ""
    assert url_of(Problem(key="k", severity=BAD, text="t", advice="a")) == ""
