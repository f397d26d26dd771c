"""The stream of events: what happened in the cluster, and what people and programs changed.

An event is stored where it happens, in the transaction of what it tells of where there is one. It
is no metadata: it decides nothing and is never changed by another manager, so that one who is not
the primary stores the log-ins that it sees.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from django.utils import timezone

from manager_app.models import Event, EventKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime
    from typing import Any

    from http_base.guard import Caller

DAYS_KEPT = 30
"""After which an event is forgotten, in days."""
EVENTS_PER_KIND_MAX = 20_000
"""Newest events of each kind that are kept: a night of elections does not push out who did what."""
NAMED_MAX = 20
"""Topics that one event names; beyond them it is about `topic:*`."""
OBJECTS = {"topic": "topic", "group": "group", "broker_id": "broker", "token_name": "token"}
"""Part of a path, or field of an answer -> type of what it names."""
TEXT_LENGTH_MAX = 1_000
ACTION_LENGTH_MAX = 64
PERSON_LENGTH_MAX = 255
ORIGIN_LENGTH_MAX = 64


def about(**objects: object) -> str:
    """Return what an event is about, as it is stored: `about(topic="orders", broker=3)`."""
    return about_all(objects.items())


def about_all(objects: Iterable[tuple[str, object]]) -> str:
    """Return what an event is about from pairs of type and name; at most `NAMED_MAX` topics."""
    lines: dict[str, None] = {}
    topics = 0
    for kind, name in objects:
        line = f"{kind}:{name}".replace("\n", " ").replace("\0", "")
        if line in lines:
            continue
        if kind == "topic":
            topics += 1
            line = line if topics <= NAMED_MAX else "topic:*"
        lines[line] = None
    return "\n".join(["", *lines, ""]) if lines else ""


def objects_of(parts: Mapping[str, Any]) -> list[tuple[str, object]]:
    """Return what the parts of a URL name, for `about_all`."""
    return [(kind, parts[field]) for field, kind in OBJECTS.items() if field in parts]


def person_named(caller: Caller | None) -> str:
    """Return how events name who makes a call; empty where nobody has to be known."""
    return "" if caller is None else caller.holder.name.removeprefix("the ")


def event_store(event: Event, **details: Any) -> None:
    """Store an event, new or again, with more details."""
    event.details = {**event.details, **details}
    _fit(event)
    event.save()


def events_store(events: Iterable[Event]) -> None:
    """Store new events with one statement, or none."""
    found = list(events)
    for event in found:
        _fit(event)
    if found:
        Event.objects.bulk_create(found)


def events_forget(now: datetime) -> int:
    """Delete the events that are older, or more of a kind, than are kept; return how many.

    Args:
        now: wall clock.
    """
    count = Event.objects.filter(at__lt=now - timedelta(days=DAYS_KEPT)).delete()[0]
    for kind in EventKind.values:
        rows = Event.objects.filter(kind=kind).order_by("-id")
        last = rows.values_list("id", flat=True)[EVENTS_PER_KIND_MAX : EVENTS_PER_KIND_MAX + 1]
        for event_id in last:
            count += Event.objects.filter(kind=kind, id__lte=event_id).delete()[0]
    return count


def _fit(event: Event) -> None:
    """Give an event its time, and cut what has no room in its columns."""
    event.at = event.at or timezone.now()
    event.text = _cut(event.text, TEXT_LENGTH_MAX)
    event.action = _cut(event.action, ACTION_LENGTH_MAX)
    event.person = _cut(event.person, PERSON_LENGTH_MAX)
    event.origin = _cut(event.origin, ORIGIN_LENGTH_MAX)


def _cut(text: str, length: int) -> str:
    text = text.replace("\0", "")
    return text if len(text) <= length else f"{text[: length - 1]}…"
