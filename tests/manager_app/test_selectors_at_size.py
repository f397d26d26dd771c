"""What lists cost in a large cluster: a fixed number of queries, and rows as many as they show."""

from __future__ import annotations

import time

import pytest
from django.db import connection, transaction

from manager_app import selectors
from manager_app.inputs import BrokersQuery, TopicsQuery
from tests.manager_app.many_partitions import BROKERS, PER_TOPIC, READS, REPLICAS, make_cluster

pytestmark = pytest.mark.django_db

TOPICS = 1_000
LIMIT_S = 1.0
"""For a list that takes some milliseconds; with every replica paired with every partition led it
took half a minute."""


@pytest.fixture(scope="module")
def large_cluster(django_db_setup, django_db_blocker):
    """Ten thousand partitions, made once for the module; rolled back after it."""
    with django_db_blocker.unblock(), transaction.atomic():
        if connection.vendor == "postgresql":  # else it takes this for a manager that vanished
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        make_cluster(TOPICS)
        yield
        transaction.set_rollback(True)


@pytest.fixture
def counted(large_cluster, django_assert_num_queries):
    """Call a selector in one query, within the time; return its rows."""

    def call(selector):
        with django_assert_num_queries(1):
            begin_s = time.perf_counter()
            page = selector()
            assert time.perf_counter() - begin_s < LIMIT_S
        return page.rows

    return call


def test_brokers_are_listed_with_their_counts(counted):
    brokers = counted(lambda: selectors.brokers_with_counts(BrokersQuery()))
    partitions = TOPICS * PER_TOPIC
    assert len(brokers) == BROKERS
    assert sum(broker.replica_count for broker in brokers) == partitions * REPLICAS
    assert sum(broker.leader_count for broker in brokers) == partitions


def test_addresses_of_brokers_are_listed_without_looking_at_replicas(counted):
    with connection.execute_wrapper(_refuse_tables_of_partitions):
        assert len(counted(lambda: selectors.broker_addresses(BrokersQuery()))) == BROKERS


def test_names_of_topics_are_listed_without_looking_at_partitions(counted):
    with connection.execute_wrapper(_refuse_tables_of_partitions):
        listed = counted(lambda: selectors.topic_names(TopicsQuery(limit=1_000)))
        assert listed[::999] == ["t0", "t999"]


def test_topics_are_listed_with_their_counts(counted):
    topics = counted(lambda: selectors.topics_with_counts(TopicsQuery(limit=1_000)))
    assert {topic.number_of_partitions for topic in topics} == {PER_TOPIC}
    assert [topic.name for topic in topics[:2]] == ["t0", "t1"]


@pytest.mark.parametrize("name", READS)
def test_a_large_cluster_is_read_in_as_many_queries_as_a_small_one(
    large_cluster, django_assert_num_queries, name
):
    read, queries = READS[name]
    with django_assert_num_queries(queries):
        read()


def _refuse_tables_of_partitions(execute, sql, params, many, context):
    assert "manager_app_replica" not in sql
    assert "manager_app_partition" not in sql
    return execute(sql, params, many, context)
