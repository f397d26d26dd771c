"""Events of what people change in the admin, beside its own history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from manager_app.models import ApiToken, Event, EventKind, EventOutcome, Topic
from manager_app.services.events import about, event_store

if TYPE_CHECKING:
    from django.db.models import Model, QuerySet
    from django.http import HttpRequest

_TYPES = {"apitoken": "token", "user": "person", "topic": "topic"}
"""Model -> type of what an event is about."""


def admin_event(request: HttpRequest, action: str, thing: Model, *, more: str = "") -> None:
    """Store that a person changed something in the admin.

    Args:
        request: of the person.
        action: what was done, as `API token added`.
        thing: what it was done to.
        more: which fields.
    """
    name = request.user.get_username()
    kind = EventKind.CONFIGURATION if isinstance(thing, Topic) else EventKind.ACCESS
    named = _TYPES.get(thing._meta.model_name or "")
    event = Event(
        kind=kind,
        action=action,
        text=f"{action[:1].upper()}{action[1:]}: {thing}{f' ({more})' if more else ''}",
        about="" if named is None else about(**{named: str(thing)}),
        person=f"user {name!r}",
        origin=str(request.META.get("REMOTE_ADDR", "")),
        outcome=EventOutcome.DONE,
    )
    event_store(event)


class TellsEvents:
    """Pages of the admin on which each change is an event as well."""

    def log_addition(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        """Note that something was added."""
        admin_event(request, f"{_noun(obj)} added", obj)
        return super().log_addition(request, obj, message)  # type: ignore[misc]

    def log_change(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        """Note that something was changed."""
        admin_event(request, f"{_noun(obj)} changed", obj, more=_fields(message))
        return super().log_change(request, obj, message)  # type: ignore[misc]

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        """Note that things are about to be deleted, in the transaction that does it."""
        for obj in queryset:
            admin_event(request, f"{_noun(obj)} deleted", obj)
        return super().log_deletions(request, queryset)  # type: ignore[misc]


def _noun(obj: Model) -> str:
    return "API token" if isinstance(obj, ApiToken) else str(obj._meta.verbose_name)


def _fields(message: Any) -> str:
    """Return the names of the fields that were changed, of Django's description of a change."""
    if not isinstance(message, list):
        return str(message)
    names: list[str] = []
    for one in message:
        for what, said in one.items():
            names += said.get("fields", []) or [f"{what} {said.get('name', '')}".strip()]
    return ", ".join(names)
