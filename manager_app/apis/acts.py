"""Events of what is asked for through the API, and that every change of it has one."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import transaction

from http_base.writes import DATABASE_FAILURES
from manager_app.models import Event, EventKind, EventOutcome
from manager_app.proxy.primary import speaker_of
from manager_app.services.events import OBJECTS, about_all, event_store, person_named
from myqueue.contract.errors import OUTCOME_UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rest_framework.response import Response

    from http_base.views import ApiRequest

logger = logging.getLogger(__name__)

DETAIL_LENGTH_MAX = 2_000
"""Of a text that a call sent: longer ones are left out of the event."""
ALREADY_REPORTED = HTTPStatus.ALREADY_REPORTED
"""The lowest status of a call that changed nothing."""


class Act(NamedTuple):
    """What one handler changes, in an event's words."""

    kind: EventKind
    action: str


def configures(action: str) -> Act:
    """Return an act that changes topics."""
    return Act(EventKind.CONFIGURATION, action)


def operates(action: str) -> Act:
    """Return an act that has the cluster do something."""
    return Act(EventKind.ACTION, action)


def note_act(act: Act, request: ApiRequest, response: Response, parts: Mapping[str, Any]) -> None:
    """Store the event of a call that was answered; one that surely changed nothing is none.

    What was done stays done when the event cannot be stored: then the log says so.

    Args:
        act: what the call does.
        request: the call.
        response: its answer, whose data are not rendered yet.
        parts: of the path, by name.
    """
    said = response.data
    outcome = _outcome_of(response.status_code, said)
    if outcome is None:
        return
    message = said.get("message", "") if isinstance(said, dict) else getattr(said, "message", "")
    event = Event(
        kind=act.kind,
        action=act.action,
        text=message if outcome == EventOutcome.DONE and message else _text(act, parts, message),
        about=about_all(_objects(parts, said)),
        person=person_named(request.caller),
        origin=speaker_of(request),
        outcome=outcome,
        details={"asked": _asked(request)} if outcome == EventOutcome.DONE else {},
    )
    try:
        with transaction.atomic():
            event_store(event)
    except DATABASE_FAILURES as error:
        logger.warning("no event says that there was %s: %s", act.action, error)


def _outcome_of(status: int, said: object) -> EventOutcome | None:
    if status < ALREADY_REPORTED:
        return EventOutcome.DONE
    is_unknown = isinstance(said, dict) and said.get("outcome") == OUTCOME_UNKNOWN
    return EventOutcome.UNKNOWN if is_unknown else None


def _text(act: Act, parts: Mapping[str, Any], message: str) -> str:
    named = " ".join(str(part) for part in parts.values())
    said = f"{act.action[:1].upper()}{act.action[1:]}"
    return f"{said}{f' {named}' if named else ''}{f': {message}' if message else ''}"


def _objects(parts: Mapping[str, Any], said: object) -> Iterator[tuple[str, object]]:
    for field, kind in OBJECTS.items():
        name = parts.get(field, getattr(said, field, None))
        if name is not None:
            yield kind, name


def _asked(request: ApiRequest) -> dict[str, Any]:
    """Return the fields of a call, without tokens and what is long."""
    data = request.data
    if not isinstance(data, dict):
        return {}
    return {
        str(name): value
        for name, value in data.items()
        if name != "token" and len(repr(value)) <= DETAIL_LENGTH_MAX
    }
