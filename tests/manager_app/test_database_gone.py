"""The manager while its database does not answer, and right after."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper


@contextmanager
def no_database(monkeypatch):
    """Let no thread connect; each connects anew for each of its calls."""
    wrapper = connections["default"]

    def refuse(self, params):
        raise wrapper.Database.OperationalError("connection refused")

    with monkeypatch.context() as patch:
        patch.setattr(type(wrapper), "get_new_connection", refuse)
        patch.setattr(BaseDatabaseWrapper, "is_usable", lambda self: False)
        yield


WRITES = [
    ("POST", "/topics", {"topic": "more"}),
    ("PATCH", "/topics/logs", {"retention_ms": 5}),
    ("DELETE", "/topics/logs", None),
    ("POST", "/brokers", {"broker_address": "http://127.0.0.1:1"}),
    ("DELETE", "/brokers/1", None),
    ("POST", "/producer/register", {"topic": "logs"}),
    ("POST", "/consumer/register", {"topic": "logs"}),
    ("POST", "/groups/billing/join", {"topics": ["logs"]}),
]


@pytest.mark.parametrize(("method", "target", "fields"), WRITES)
async def test_a_write_says_that_nothing_happened_and_when_to_try_again(
    site, monkeypatch, method, target, fields
):
    await site.create_topic()
    with no_database(monkeypatch):
        answer = await site.ask(method, target, fields, status=503)
    assert answer["code"] == "DATABASE_UNAVAILABLE"
    assert answer["retry_after_ms"] == 1_000
    assert "outcome" not in answer
    assert (await site.get("/topics"))["topics"] == ["logs"]


@pytest.mark.parametrize("target", ["/producers", "/consumers", "/groups", "/groups/billing"])
async def test_what_only_the_database_knows_is_answered_with_the_same_code(
    site, monkeypatch, target
):
    with no_database(monkeypatch):
        answer = await site.get(target, status=503)
    assert answer["code"] == "DATABASE_UNAVAILABLE"


async def test_a_write_whose_database_went_away_half_way_may_have_happened(site, monkeypatch):
    await site.create_topic()
    refresh = site.runtime.metadata.refresh

    def refresh_without_database():
        with no_database(monkeypatch):
            connections["default"].close()
            refresh()

    with monkeypatch.context() as patch:
        patch.setattr(site.runtime.metadata, "refresh", refresh_without_database)
        answer = await site.ask("PATCH", "/topics/logs", {"retention_ms": 5}, status=503)
    assert (answer["code"], answer["outcome"]) == ("DATABASE_UNAVAILABLE", "unknown")
    assert (await site.get("/topics?detail=1"))["topics"][0]["retention_ms"] == 5


async def test_a_client_that_is_not_in_memory_hears_that_its_message_was_not_sent(
    site, monkeypatch
):
    await site.create_topic()
    producer = await site.producer()
    await site.restart_manager()
    fields = {"topic": "logs", "producer_id": producer, "message": "m"}
    with no_database(monkeypatch):
        answer = await site.post("/producer/produce", fields, status=503)
    assert answer["code"] == "DATABASE_UNAVAILABLE"
    assert "outcome" not in answer
    await site.post("/producer/produce", fields)
