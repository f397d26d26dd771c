from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from msgspec import structs

from http_base.access import MANAGE, Role, TopicRight
from http_base.apidoc import doc_of
from manager_app import selectors
from manager_app.apis import acts
from manager_app.inputs import EventsQuery
from manager_app.services.access import token_create
from manager_app.urls import urlpatterns
from myqueue.contract.errors import OUTCOME_UNKNOWN, Internal

STORES_ITS_EVENT = {("GroupOffsetsApi", "PUT"), ("PurgeApi", "POST")}
STORES_ITS_EVENT |= {("ProducerApi", "DELETE"), ("ConsumerApi", "DELETE")}
"""Calls whose services store the event before anything is changed; or, of clients that are
forgotten, where it was not their own will."""


async def events(site, **asked):
    return (await site.in_database(selectors.events_list, EventsQuery(**asked))).rows


def changing_handlers():
    """Return class and method of each call that changes something by a role or right to manage."""
    for pattern in urlpatterns:
        view = pattern.callback.view_class
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            doc = doc_of(view, method)
            if doc is not None and (doc.access.role > Role.VIEWER or doc.access.right == MANAGE):
                yield view, method


@pytest.mark.parametrize(
    ("view", "method"), list(changing_handlers()), ids=lambda one: getattr(one, "__name__", one)
)
def test_no_call_that_changes_something_by_a_role_is_without_an_event(view, method):
    assert (method in view.acts) != ((view.__name__, method) in STORES_ITS_EVENT)


def test_there_are_such_calls():
    assert len(list(changing_handlers())) >= 9


async def test_what_is_changed_is_told_with_what_was_asked(site):
    await site.create_topic("orders", partitions=2)
    await site.ask("PATCH", "/topics/orders", {"retention_ms": 5_000})
    await site.ask("PATCH", "/topics/orders", {"number_of_partitions": 1}, status=400)
    await site.ask("DELETE", "/topics/orders")
    told = await events(site, kind="configuration", about="topic:orders")
    assert [event.action for event in told] == ["topic deleted", "topic changed", "topic created"]
    assert told[2].text == "Topic 'orders' created successfully"
    assert told[2].details["asked"] == {"topic": "orders", "number_of_partitions": 2}
    assert {(event.person, event.outcome) for event in told} == {("", "done")}


async def test_a_topic_that_a_producer_makes_is_told_once(site):
    await site.producer("clicks")
    await site.producer("clicks")
    (told,) = await events(site, kind="configuration")
    assert (told.text, told.things) == (
        "Topic 'clicks' was created for its first producer",
        [("topic", "clicks")],
    )


async def test_what_brokers_are_asked_for_is_told(site):
    await site.ask("DELETE", "/brokers/3", status=202)
    await site.ask("POST", "/rebalance", {"paused": True})
    told = await events(site, kind="action")
    assert [event.action for event in told] == ["rebalance set", "broker drained"]
    assert told[1].things == [("broker", "3")]


async def test_it_is_told_who_asked_and_what_was_refused_for_want_of_a_right(site, settings):
    settings.QUEUE = structs.replace(settings.QUEUE, auth="required")
    await site.in_database(User.objects.create_superuser, "ada")
    rights = [TopicRight("mine*", (MANAGE,))]
    _, text = await site.in_database(lambda: token_create("ci", "ada", rights=rights))
    await site.in_database(site.runtime.metadata.refresh)
    header = {"authorization": f"Bearer {text}"}
    await site.ask("POST", "/topics", {"topic": "mine"}, status=201, **header)
    await site.ask("DELETE", "/topics/theirs", status=403, **header)
    await site.ask("DELETE", "/topics/theirs", status=401)
    (done,) = await events(site, person="'ci'")
    assert [event.pk for event in await events(site, kind="configuration")] == [done.pk]
    assert (done.person, done.outcome) == ("API token 'ci'", "done")
    (refused,) = [one for one in await events(site, kind="access") if one.outcome == "refused"]
    assert refused.text == (
        "DELETE /topics/theirs was refused: the API token 'ci' lacks the role"
        " administrator or the right manage to the topic, here 'theirs'"
    )
    assert (refused.action, refused.things) == ("topic deleted", [("topic", "theirs")])


async def test_many_refusals_do_not_become_as_many_events(site, settings, monkeypatch):
    monkeypatch.setattr(acts, "REFUSALS_MAX", 2)
    monkeypatch.setattr(acts, "_refusals", acts.Refusals())
    settings.QUEUE = structs.replace(settings.QUEUE, auth="required")
    await site.in_database(User.objects.create_superuser, "ada")
    _, text = await site.in_database(lambda: token_create("ci", "ada", rights=[]))
    await site.in_database(site.runtime.metadata.refresh)
    for _ in range(4):
        await site.ask("POST", "/rebalance", {}, status=403, authorization=f"Bearer {text}")
    told = [one for one in await events(site, kind="access") if one.outcome == "refused"]
    assert [one.action for one in told] == ["rebalance set"] * 2


def test_refusals_are_let_through_again_with_how_many_were_left_out():
    refusals = acts.Refusals()
    assert [refusals.take(100.0) for _ in range(acts.REFUSALS_MAX)] == [0] * acts.REFUSALS_MAX
    assert [refusals.take(159.0) for _ in range(5)] == [None] * 5
    assert refusals.take(100.0 + acts.REFUSALS_WINDOW_S) == 5
    assert refusals.take(161.0) == 0


async def test_a_call_that_may_have_changed_something_is_told_as_unknown(site, monkeypatch):
    def fail(*_, **__):
        raise Internal("lost", outcome=OUTCOME_UNKNOWN)

    monkeypatch.setattr("manager_app.apis.topics.delete_topic", fail)
    await site.ask("DELETE", "/topics/mine", status=500)
    (told,) = await events(site, kind="configuration")
    assert (told.outcome, told.things) == ("unknown", [("topic", "mine")])
    assert told.text == "Topic deleted mine: lost"


async def test_what_was_done_is_answered_though_no_event_can_be_stored(site, monkeypatch, caplog):
    from django.db import OperationalError

    def fail(_):
        raise OperationalError("no room")

    monkeypatch.setattr(acts, "event_store", fail)
    await site.ask("POST", "/rebalance", {"paused": True})
    assert "no event says that there was rebalance set: no room" in caplog.text
