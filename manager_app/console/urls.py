"""URLs of the console; included at `admin/` before the admin's own.

A module of `pages/` is imported by the first request for one of its pages, so that the start of a
manager waits for none.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from django.urls import path

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from django.http import HttpRequest, HttpResponse
    from django.http.response import HttpResponseBase
    from django.urls import URLPattern

    from manager_app.console.actions import Action

app_name = "console"


def show(route: str, module: str, function: str, *, name: str) -> URLPattern:
    """Return the URL of a page.

    Args:
        route: under `/admin/`.
        module: of the page.
        function: in it.
        name: of the URL in this namespace.
    """

    def find() -> Callable[..., HttpResponse]:
        found: Callable[..., HttpResponse] = getattr(import_module(module), function)
        return found

    def view(request: HttpRequest, **parts: Any) -> HttpResponse:
        return find()(request, **parts)

    view.page = find  # type: ignore[attr-defined]  # for the test of who may see it
    return path(route, view, name=name)


def act(route: str, module: str, action: str, *, name: str) -> URLPattern:
    """Return the URL of an action.

    Args:
        route: under `/admin/`.
        module: of the page where it starts.
        action: its class there.
        name: of the URL in this namespace.
    """

    def find() -> type[Action]:
        found: type[Action] = getattr(import_module(module), action)
        return found

    def view(request: HttpRequest, **parts: Any) -> HttpResponse:
        return find().view(request, **parts)

    view.action = find  # type: ignore[attr-defined]  # for the tag that shows its button
    return path(route, view, name=name)


OVERVIEW = "manager_app.console.pages.overview"
BROKERS = "manager_app.console.pages.brokers"
CLIENTS = "manager_app.console.pages.clients"
EVENTS = "manager_app.console.pages.events"
GROUPS = "manager_app.console.pages.groups"
LETTERS = "manager_app.console.pages.dead_letters"
REBALANCE = "manager_app.console.pages.rebalance"
RECORDS = "manager_app.console.pages.records"
TOPICS = "manager_app.console.pages.topics"
MESSAGES = "manager_app.console.pages.messages"

TOPIC = "topics/<str:topic>"
MESSAGE = f"{TOPIC}/messages/<int:partition>/<int:offset>"


def _download() -> Callable[..., Awaitable[HttpResponseBase]]:
    module = import_module("manager_app.console.pages.message_download")
    found: Callable[..., Awaitable[HttpResponseBase]] = module.download
    return found


async def download(request: HttpRequest, **parts: Any) -> HttpResponseBase:
    """Answer piece by piece, which a view in a thread cannot."""
    return await _download()(request, **parts)


download.page = _download  # type: ignore[attr-defined]  # as `show` does

DEAD = "groups/<str:group>/dead-letters/<str:topic>/"

urlpatterns = [
    show("", OVERVIEW, "overview", name="overview"),
    show("brokers/", BROKERS, "brokers", name="brokers"),
    show("brokers/<int:broker_id>/", BROKERS, "broker", name="broker"),
    act("brokers/<int:broker_id>/drain/", BROKERS, "DrainBroker", name="broker_drain"),
    act("brokers/<int:broker_id>/hand-over/", BROKERS, "HandOver", name="broker_hand_over"),
    act("brokers/<int:broker_id>/undrain/", BROKERS, "UndrainBroker", name="broker_undrain"),
    show("clients/", CLIENTS, "clients", name="clients"),
    show("events/", EVENTS, "events", name="events"),
    show("groups/", GROUPS, "groups", name="groups"),
    show("groups/<str:group>/", GROUPS, "one_group", name="group"),
    show(DEAD, LETTERS, "dead_letters", name="dead_letters"),
    act(f"{DEAD}redrive/", LETTERS, "RedriveLetters", name="letters_redrive"),
    act(f"{DEAD}purge/", LETTERS, "PurgeLetters", name="letters_purge"),
    act("groups/<str:group>/move/", GROUPS, "MoveGroup", name="group_move"),
    act("groups/<str:group>/forget/", GROUPS, "ForgetGroup", name="group_forget"),
    show("topics/", TOPICS, "topics", name="topics"),
    act("create-topic/", TOPICS, "CreateTopic", name="topic_create"),
    show(f"{TOPIC}/", TOPICS, "topic", name="topic"),
    show(f"{TOPIC}/settings/", TOPICS, "settings", name="topic_settings"),
    act(f"{TOPIC}/settings/retention/", TOPICS, "ChangeRetention", name="topic_retention"),
    act(f"{TOPIC}/settings/partitions/", TOPICS, "GrowTopic", name="topic_grow"),
    act(f"{TOPIC}/settings/purge/", TOPICS, "PurgeTopic", name="topic_purge"),
    act(f"{TOPIC}/settings/delete/", TOPICS, "DeleteTopic", name="topic_delete"),
    act(f"{TOPIC}/publish/", MESSAGES, "PublishMessage", name="topic_publish"),
    show(f"{TOPIC}/messages/", MESSAGES, "messages", name="topic_messages"),
    path(f"{TOPIC}/messages/download/", download, name="topic_download"),
    show(f"{MESSAGE}/", MESSAGES, "message", name="message"),
    act(f"{MESSAGE}/republish/", MESSAGES, "RepublishMessage", name="message_republish"),
    show("rebalance/", REBALANCE, "rebalance", name="rebalance"),
    act("rebalance/start/", REBALANCE, "StartRebalance", name="rebalance_start"),
    act("rebalance/pause/", REBALANCE, "PauseRebalance", name="rebalance_pause"),
    act("rebalance/cancel/", REBALANCE, "CancelRebalance", name="rebalance_cancel"),
    show("records/", RECORDS, "records", name="records"),
]
