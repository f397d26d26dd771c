"""The manager while its database does not answer, and right after."""

from __future__ import annotations

import inspect
from contextlib import contextmanager

import pytest
from django.db import OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from http_base.paging import Page
from manager_app import selectors
from manager_app.placement import topic_changes


@contextmanager
def no_database(monkeypatch):
    """Let no thread connect; each loses the connection that it kept."""
    wrapper = connections["default"]

    def refuse(self, params):
        raise wrapper.Database.OperationalError("connection refused")

    with monkeypatch.context() as patch:
        patch.setattr(type(wrapper), "get_new_connection", refuse)
        patch.setattr(
            BaseDatabaseWrapper, "close_if_unusable_or_obsolete", BaseDatabaseWrapper.close
        )
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
        caller = inspect.stack(0)[1].frame.f_globals["__name__"]
        if caller != topic_changes.__name__:  # reports refresh as well, at any time
            refresh()
            return
        with no_database(monkeypatch):
            connections["default"].close()
            refresh()

    with monkeypatch.context() as patch:
        patch.setattr(site.runtime.metadata, "refresh", refresh_without_database)
        answer = await site.ask("PATCH", "/topics/logs", {"retention_ms": 5}, status=503)
    assert (answer["code"], answer["outcome"]) == ("DATABASE_UNAVAILABLE", "unknown")
    await site.in_database(refresh)  # as the next poll does, which may be a second away
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


@pytest.mark.parametrize(
    "target", ["/topics", "/topics?detail=1", "/topics/logs", "/brokers", "/brokers?detail=1"]
)
async def test_reads_are_answered_from_memory_and_say_how_old_that_is(site, monkeypatch, target):
    await site.create_topic(partitions=3)
    await site.create_topic("other", partitions=1)
    await site.in_database(site.runtime.metadata.refresh)
    before = await site.get(target)
    site.clock.seconds += 7
    with no_database(monkeypatch):
        answer = await site.send("GET", target)
    assert answer.status == 200
    assert int(answer.headers["x-metadata-age-ms"]) >= 0
    assert _without_what_is_unknown(answer.json) == _at(before, answer.json)
    await site.in_database(site.runtime.metadata.poll)
    assert "x-metadata-age-ms" not in (await site.send("GET", target)).headers


def _without_what_is_unknown(value):
    """Leave out what is null."""
    if isinstance(value, dict):
        return {
            name: _without_what_is_unknown(one) for name, one in value.items() if one is not None
        }
    return [_without_what_is_unknown(one) for one in value] if isinstance(value, list) else value


def _at(value, shape):
    """Leave out of an answer what is null in another of the same shape, or in itself."""
    if isinstance(value, dict):
        assert value.keys() == shape.keys()
        return {
            name: _at(one, shape[name])
            for name, one in value.items()
            if shape[name] is not None and one is not None
        }
    if isinstance(value, list):
        return [_at(one, of) for one, of in zip(value, shape, strict=True)]
    return value


async def test_a_topic_that_memory_does_not_have_may_be_in_the_database(site, monkeypatch):
    with no_database(monkeypatch):
        answer = await site.get("/topics/nobody", status=503)
    assert answer["code"] == "DATABASE_UNAVAILABLE"
    await site.in_database(site.runtime.metadata.poll)
    assert (await site.get("/topics/nobody", status=404))["code"] == "TOPIC_NOT_FOUND"


async def test_without_the_database_the_leader_is_the_one_that_says_so_itself(site, monkeypatch):
    await site.create_topic(partitions=1)
    group = site.twins.group("logs", 0)
    site.twins.elect(group, group.leader % 3 + 1)
    with no_database(monkeypatch):
        partition = (await site.get("/topics/logs"))["partitions"][0]
    assert partition["leader"]["broker_id"] == group.leader
    assert partition["term"] == group.term
    assert partition["high_watermark"] == 0


async def test_a_database_that_did_not_answer_once_is_not_waited_for_again(site, monkeypatch):
    await site.create_topic(partitions=1)
    await site.stop_polling()
    assert not site.runtime.metadata.is_silent
    with no_database(monkeypatch):
        assert (await site.get("/topics"))["topics"] == ["logs"]
    asked = []
    monkeypatch.setattr(
        selectors, "topic_names", lambda query: asked.append(1) or Page(["logs"], None)
    )
    answer = await site.send("GET", "/topics")
    assert (answer.json["topics"], asked) == (["logs"], [])
    assert "x-metadata-age-ms" in answer.headers
    await site.in_database(site.runtime.metadata.poll)
    await site.get("/topics")
    assert asked == [1]


async def test_while_the_database_is_known_to_be_away_nothing_waits_for_it(site, monkeypatch):
    await site.create_topic(partitions=1)
    await site.stop_polling()
    with no_database(monkeypatch), pytest.raises(OperationalError):
        await site.in_database(site.runtime.metadata.poll)
    for method, target, fields in WRITES:
        answer = await site.ask(method, target, fields, status=503)
        assert answer["code"] == "DATABASE_UNAVAILABLE"
        assert answer["retry_after_ms"] == 1_000
        assert "outcome" not in answer
    ready = await site.get("/readyz", status=503)
    assert "the database does not answer" in ready["reasons"]
    await site.in_database(site.runtime.metadata.poll)
    await site.get("/readyz")
    await site.create_topic("more", partitions=1)
