"""The stream of events: what happened last night, and who did what?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.urls import NoReverseMatch, reverse
from msgspec import structs

from manager_app import selectors
from manager_app.console.page import page
from manager_app.inputs import EventsQuery
from manager_app.models import Event, EventKind, EventOutcome
from manager_app.services.events import DAYS_KEPT, EVENTS_PER_KIND_MAX
from myqueue.contract.errors import InvalidRequest
from myqueue.contract.inputs import read_input

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.http import HttpRequest

PAGE_SIZE = 100
"""Events of one page."""
THINGS_SHOWN_MAX = 6
"""Links of one event; the others are counted."""
TIME_FORMAT = "%Y-%m-%dT%H:%M"
"""Of browsers' fields for a moment."""
ICONS = {
    EventKind.ELECTION: "how_to_vote",
    EventKind.BROKER: "dns",
    EventKind.MOVE: "move_down",
    EventKind.LEASE: "workspace_premium",
    EventKind.CONFIGURATION: "tune",
    EventKind.ACTION: "bolt",
    EventKind.ACCESS: "key",
    EventKind.LOGIN: "login",
}
TONES = {
    EventOutcome.DONE: "good",
    EventOutcome.REFUSED: "warn",
    EventOutcome.FAILED: "bad",
    EventOutcome.UNKNOWN: "bad",
}
_WRONG = ("broker dead", "leader lost", "replicas lost")
"""Actions of events that are trouble."""
_PAGES = {
    "topic": ("console:topic", "topic"),
    "broker": ("console:broker", "broker_id"),
    "group": ("console:group", "group"),
}
"""Type -> name of the URL of its page, and the part of that which names it."""
_LISTS = {"token": "admin:manager_app_apitoken_changelist", "person": "admin:auth_user_changelist"}


@dataclass(frozen=True, slots=True)
class Thing:
    """Something that an event is about."""

    kind: str
    name: str

    @property
    def url(self) -> str:
        """Its page; empty where it has none."""
        if self.name == "*":
            return ""
        try:
            if self.kind in _LISTS:
                return f"{reverse(_LISTS[self.kind])}?{urlencode({'q': self.name})}"
            if self.kind not in _PAGES:
                return ""
            name, part = _PAGES[self.kind]
            return reverse(name, kwargs={part: self.name})
        except NoReverseMatch:
            return ""

    @property
    def text(self) -> str:
        """It in words."""
        return "further topics" if self.name == "*" else f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Shown:
    """An event as the page shows it."""

    event: Event

    @property
    def things(self) -> list[Thing]:
        """The first things that it is about, but for whoever did it."""
        return [
            Thing(kind, name)
            for kind, name in self.event.things[:THINGS_SHOWN_MAX]
            if kind != "person" or self.event.person != f"user {name!r}"
        ]

    @property
    def more(self) -> int:
        """How many more things it is about."""
        return max(0, len(self.event.things) - THINGS_SHOWN_MAX)

    @property
    def icon(self) -> str:
        """Symbol of its kind."""
        return ICONS.get(EventKind(self.event.kind), "circle")

    @property
    def is_wrong(self) -> bool:
        """True for trouble."""
        return self.event.action in _WRONG

    @property
    def tone(self) -> str:
        """Colour of its outcome."""
        return TONES.get(EventOutcome(self.event.outcome), "plain") if self.event.outcome else ""

    @property
    def details(self) -> list[tuple[str, Any]]:
        """What else is known, as (name, value)."""
        return [(name.replace("_", " "), value) for name, value in self.event.details.items()]


@page("console/events.html", title="Events")
def events(request: HttpRequest) -> dict[str, Any]:
    """Show what happened, the newest first."""
    asked, problem = _asked(request.GET)
    found = selectors.events_list(asked) if not problem else None
    shown = [Shown(event) for event in found.rows] if found else []
    days = groupby(shown, key=lambda one: one.event.at.astimezone(UTC).date())
    return {
        "days": [(day, list(rows)) for day, rows in days],
        "next": found.next if found else None,
        "problem": problem,
        "kinds": EventKind.choices,
        "asked": request.GET,
        "is_filtered": any(request.GET.get(name) for name in _FIELDS),
        "days_kept": DAYS_KEPT,
        "per_kind_max": EVENTS_PER_KIND_MAX,
    }


_FIELDS = ("kind", "about", "person", "from", "until")


def _asked(given: Mapping[str, str]) -> tuple[EventsQuery, str]:
    """Return what is asked for, and what is wrong with it."""
    fields = {name: given[name].strip() for name in ("kind", "about", "person") if given.get(name)}
    fields |= {"after": given["after"]} if given.get("after") else {}
    try:
        for name, field in (("from", "since"), ("until", "until")):
            if text := given.get(name):
                fields[field] = str(_milliseconds(text))
        return structs.replace(read_input(EventsQuery, {}, fields), limit=PAGE_SIZE), ""
    except InvalidRequest as error:
        return EventsQuery(), error.message


def _milliseconds(text: str) -> int:
    """Return a moment of a browser's field, in UTC.

    Raises:
        InvalidRequest: it is none.
    """
    try:
        moment = datetime.strptime(text[:16], TIME_FORMAT)  # noqa: DTZ007 - the next line
    except ValueError as error:
        raise InvalidRequest(f"{text[:40]!r} is no time, such as 2026-01-31T18:00") from error
    return int(moment.replace(tzinfo=UTC).timestamp() * 1000)
