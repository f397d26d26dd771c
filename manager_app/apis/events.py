"""What happened: /events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from http_base.access import VIEW
from http_base.apidoc import describe
from manager_app import selectors
from manager_app.answers import EventFacts, EventList
from manager_app.apis.base import ManagerView
from manager_app.inputs import EventsQuery

if TYPE_CHECKING:
    from rest_framework.response import Response

    from http_base.views import ApiRequest
    from manager_app.models import Event

_EXAMPLE = EventFacts(
    id=7,
    at=1_700_000_000_000,
    kind="configuration",
    action="topic created",
    text="Topic 'logs' created successfully",
    about=["topic:logs"],
    person="user 'ada'",
    origin="127.0.0.1",
    outcome="done",
    details={"asked": {"topic": "logs"}},
)


class EventsApi(ManagerView):
    """The stream of events."""

    @describe(
        summary="List what happened, the newest first",
        access=VIEW,
        input=EventsQuery,
        answer=EventList(events=[_EXAMPLE], next=None),
        tags=["events"],
        query=True,
    )
    def get(self, request: ApiRequest) -> Response:
        """Return elections, brokers dead and back, moves, log-ins and what people changed.

        All filters that are given have to fit. Events are kept for 30 days, and 20,000 of each kind
        at most.
        """
        page = selectors.events_list(self.read(request, EventsQuery)).map(_facts)
        return self.respond(EventList(events=page.rows, next=page.next))


def _facts(event: Event) -> EventFacts:
    return EventFacts(
        id=event.pk,
        at=int(event.at.timestamp() * 1000),
        kind=event.kind,
        action=event.action,
        text=str(event),
        about=[f"{kind}:{name}" for kind, name in event.things],
        person=event.person,
        origin=event.origin,
        outcome=event.outcome,
        details=event.details,
    )
