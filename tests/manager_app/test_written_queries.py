"""Queries whose SQL is written once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from manager_app.models import Topic
from manager_app.written_queries import WrittenGet, WrittenQuery, WrittenUpdate

if TYPE_CHECKING:
    from django.db.models import QuerySet

pytestmark = pytest.mark.django_db


def named(name: str, least: int) -> object:
    found = Topic.objects.filter(name__gt=name, replication_factor__gte=least)
    return found.order_by("name").values_list("name", "replication_factor")


def make_topics() -> None:
    for name, factor in (("a", 1), ("b", 3), ("c", 3), ("d", 5)):
        Topic.objects.create(name=name, partitions_at_creation=1, replication_factor=factor)


def test_rows_are_those_of_the_values_that_are_given_each_time() -> None:
    make_topics()
    query = WrittenQuery(named)
    assert query.rows("a", 3) == [("b", 3), ("c", 3), ("d", 5)]
    assert query.rows("b", 4) == [("d", 5)]
    assert query.rows("d", 1) == []


def test_rows_are_those_that_are_there_now() -> None:
    query = WrittenQuery(named)
    assert query.rows("", 1) == []
    make_topics()
    assert len(query.rows("", 1)) == 4


def test_the_query_set_is_made_once() -> None:
    made = []

    def counted(name: str, least: int) -> object:
        made.append(name)
        return named(name, least)

    query = WrittenQuery(counted)
    with CaptureQueriesContext(connection) as queries:
        for name in "abc":
            query.rows(name, 1)
    assert made == ["a"]
    assert len(queries) == 3


def test_a_query_with_parameters_of_its_own_is_refused() -> None:
    query = WrittenQuery(lambda name: Topic.objects.filter(name=name, pk=7).values_list("name"))
    with pytest.raises(AssertionError, match="not the values alone"):
        query.rows("a")


def test_the_one_model_is_found_as_django_finds_it() -> None:
    make_topics()
    query = WrittenGet(lambda name: Topic.objects.filter(name=name).order_by())
    for name in "acd":
        found, expected = query.get(name), Topic.objects.get(name=name)
        for field in Topic._meta.concrete_fields:
            assert getattr(found, field.attname) == getattr(expected, field.attname), field.name
        assert not found._state.adding, "it is of the database"
    with pytest.raises(Topic.DoesNotExist):
        query.get("z")


def test_the_query_of_a_model_is_made_once_and_has_no_parameters_of_its_own() -> None:
    make_topics()
    made = []

    def counted(name: str) -> QuerySet[Topic]:
        made.append(name)
        return Topic.objects.filter(name=name)

    query = WrittenGet(counted)
    with CaptureQueriesContext(connection) as queries:
        assert [query.get(name).replication_factor for name in "abcd"] == [1, 3, 3, 5]
    assert made == ["a"]
    assert len(queries) == 4
    with pytest.raises(AssertionError, match="not the values alone"):
        WrittenGet(lambda name: Topic.objects.filter(name=name, pk=7)).get("a")


def test_an_update_changes_the_rows_of_the_values_and_counts_them() -> None:
    make_topics()
    made = []

    def raised(by: int, least: int) -> tuple[QuerySet[Topic], dict[str, object]]:
        made.append(by)
        found = Topic.objects.filter(replication_factor__gte=least)
        return found, {"replication_factor": F("replication_factor") + by}

    update = WrittenUpdate(Topic, raised)
    assert [update.count(1, 4), update.count(2, 3), update.count(1, 99)] == [1, 3, 0]
    factors = Topic.objects.order_by("name").values_list("replication_factor", flat=True)
    assert list(factors) == [1, 5, 5, 8]
    assert made == [1]


def test_an_update_with_parameters_of_its_own_is_refused() -> None:
    make_topics()
    update = WrittenUpdate(
        Topic, lambda name: (Topic.objects.filter(name=name), {"retention_ms": 7})
    )
    with pytest.raises(AssertionError, match="not the values alone"):
        update.count("a")
    assert not Topic.objects.filter(retention_ms=7).exists()
